//! `spec.network`: rules for addresses and ports, and kinds of sockets.

use super::{
    Limits,
    fields::{Fields, choose, quoted, wrong_type},
    report::{Report, Reported},
    shape::{self, Shape},
    source::Span,
    tree::{Field, Node, Value},
};
use crate::network::{
    Cidr, Direction, InvalidCidr, MAX_RANGES, Network, NetworkRule, Peers, Ports, Protocols, SOCKET_KINDS,
};

/// Entries of a rule's `ports`.
pub(super) const MAX_PORTS: usize = 16;

/// Whether loopback needs rules.
const LOOPBACK: [(&str, bool); 2] = [("Allow", true), ("Deny", false)];
const PROTOCOLS: [(&str, Protocols); 2] = [("TCP", Protocols::Tcp), ("UDP", Protocols::Udp)];

/// Reads the whole of it.
pub(super) fn network(field: &Field, limits: &Limits, report: &mut Report<'_>) -> Result<Network, Reported> {
    let fields = Fields::open(&field.node, field.key_span, &shape::NETWORK, report)?;
    let loopback = fields.optional("loopback").map(|field| field.choice(&LOOPBACK, report)).transpose();
    let sockets = fields.optional("sockets").map(|field| sockets(field, report)).transpose();
    let lists = Direction::ALL.map(|direction| {
        let list = fields.optional(direction.name());
        list.map_or_else(|| Ok(Vec::new()), |field| rules(field, direction, limits, report))
    });
    let (loopback, sockets) = (loopback?.unwrap_or(true), sockets?.unwrap_or(0));
    let written: Result<Vec<_>, Reported> = lists.into_iter().collect();
    let written = written?.into_iter().flatten();
    let loopback = Direction::ALL.into_iter().filter(|_| loopback).map(loopback_rule);
    let (rules, spans): (Vec<_>, Vec<_>) = written.chain(loopback.map(|rule| (rule, field.key_span))).unzip();
    Network::new(rules, sockets).map_err(|error| {
        let span = spans.get(error.rule).copied().unwrap_or(field.key_span);
        let message =
            format!("this rule and those around its addresses come to more than {MAX_RANGES} ranges of ports");
        report.error(span, message, "merge neighbouring ports into ranges, or allow all ports of the addresses")
    })
}

fn loopback_rule(direction: Direction) -> NetworkRule {
    NetworkRule { direction, peers: Peers::Loopback, ports: Vec::new(), protocols: Protocols::Any, place: None }
}

fn rules(
    field: &Field,
    direction: Direction,
    limits: &Limits,
    report: &mut Report<'_>,
) -> Result<Vec<(NetworkRule, Span)>, Reported> {
    let items = field.list(report)?;
    if items.len() > limits.max_network_rules {
        let message = format!("`{}` has {} entries, the limit is {}", field.key, items.len(), limits.max_network_rules);
        return Err(report.error(
            field.key_span,
            message,
            "name larger networks, or put several `ports` into one entry",
        ));
    }
    let outcomes: Vec<_> =
        items.iter().map(|item| rule(item, direction, report).map(|rule| (rule, item.span))).collect();
    outcomes.into_iter().collect()
}

fn rule(item: &Node, direction: Direction, report: &mut Report<'_>) -> Result<NetworkRule, Reported> {
    let fields = Fields::open(item, item.span, shape_of(direction), report)?;
    let peers = fields.optional("cidr").map(|field| cidr(field, report)).transpose();
    let list = fields.optional("ports").map(|field| ports(field, report)).transpose();
    let protocols = fields.optional("protocol").map(|field| protocol(field, direction, report)).transpose();
    if let Some(field) = fields.optional("dns") {
        let message = "rules by DNS name are not supported by this version";
        return Err(report.error(field.key_span, message, "allow the service's addresses by `cidr`"));
    }
    let (peers, list, protocols) = (peers?, list?, protocols?);
    if peers.is_none() && list.is_none() && protocols.is_none() {
        let help = "name a `cidr`, or `ports`; to allow every address, write `cidr: 0.0.0.0/0` and `cidr: \"::/0\"`";
        return Err(fields.empty("an empty rule", help, report));
    }
    Ok(NetworkRule {
        direction,
        peers: peers.map_or(Peers::Any, Peers::Cidr),
        ports: list.unwrap_or_default(),
        protocols: protocols.unwrap_or(Protocols::Any),
        place: Some(report.source().place(item.span)),
    })
}

fn shape_of(direction: Direction) -> &'static Shape {
    match direction {
        Direction::Egress => &shape::EGRESS,
        Direction::Bind => &shape::BIND,
        Direction::Ingress => &shape::INGRESS,
    }
}

fn cidr(field: &Field, report: &mut Report<'_>) -> Result<Cidr, Reported> {
    let text = field.string(report)?;
    text.parse().map_err(|error: InvalidCidr| {
        let help = match error {
            InvalidCidr::NoLength if text.contains(':') => {
                format!("write {} for one address", quoted(&format!("{text}/128")))
            }
            InvalidCidr::NoLength => format!("write {} for one address", quoted(&format!("{text}/32"))),
            InvalidCidr::HostBits(network) => format!("write {} for the network", quoted(&network.to_string())),
            InvalidCidr::Mapped => "write it as IPv4; it means both spellings".to_owned(),
            InvalidCidr::Address | InvalidCidr::Length => {
                "write for example `10.0.0.0/8` or `2001:db8::/32`".to_owned()
            }
        };
        report.error(field.value_span(), format!("{} is not a CIDR: {error}", quoted(text)), help)
    })
}

fn protocol(field: &Field, direction: Direction, report: &mut Report<'_>) -> Result<Protocols, Reported> {
    if let Value::Scalar(scalar) = &field.node.value
        && scalar.text.eq_ignore_ascii_case("sctp")
    {
        let help = "SCTP's addresses are not checked; where all of it may be used, write `sockets: [sctp]`";
        return Err(report.error(field.value_span(), "rules know TCP and UDP only", help));
    }
    let protocol = field.choice(&PROTOCOLS, report)?;
    if direction == Direction::Ingress && protocol == Protocols::Udp {
        let help = "remove the rule; who may receive datagrams is said by `bind`";
        return Err(report.error(field.value_span(), "`ingress` is about connections, and UDP has none", help));
    }
    Ok(protocol)
}

fn ports(field: &Field, report: &mut Report<'_>) -> Result<Vec<Ports>, Reported> {
    let items = field.list(report)?;
    let problem = match items.len() {
        0 => Some(("`ports` is empty".to_owned(), "name a port, or remove the field for all ports")),
        count if count > MAX_PORTS => {
            Some((format!("`ports` has {count} entries, the limit is {MAX_PORTS}"), "write ranges, as `\"8000-8100\"`"))
        }
        _ => None,
    };
    if let Some((message, help)) = problem {
        return Err(report.error(field.key_span, message, help));
    }
    let outcomes: Vec<_> = items.iter().map(|item| port(item, report)).collect();
    outcomes.into_iter().collect()
}

/// A port, or two with `-` between them; YAML may take a port for a number.
fn port(item: &Node, report: &mut Report<'_>) -> Result<Ports, Reported> {
    let Value::Scalar(scalar) = &item.value else {
        return Err(wrong_type(item, item.span, "an entry of `ports`", "a port", report));
    };
    let (first, last) = scalar.text.split_once('-').unwrap_or((&scalar.text, &scalar.text));
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok(Ports { first, last }),
        (Some(_), Some(_)) => {
            let help = format!("write `\"{last}-{first}\"`");
            Err(report.error(item.span, format!("{} ends before it begins", quoted(&scalar.text)), help))
        }
        _ => {
            let help = "write a port from 1 to 65535, or a range in quotes, as `\"8000-8100\"`";
            Err(report.error(item.span, format!("{} is not a port", quoted(&scalar.text)), help))
        }
    }
}

fn number(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|digit| digit.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| plain)
}

fn sockets(field: &Field, report: &mut Report<'_>) -> Result<u64, Reported> {
    let kinds: Vec<_> = field.list(report)?.iter().map(|item| choose(item, "sockets", &SOCKET_KINDS, report)).collect();
    kinds.into_iter().try_fold(0, |kinds, kind| Ok(kinds | kind?))
}
