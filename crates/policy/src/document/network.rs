//! `spec.network`: rules for addresses, names and ports, and kinds of sockets.

use std::net::IpAddr;

use super::{
    Limits,
    fields::{Fields, choose, quoted, wrong_type},
    report::{Report, Reported},
    shape::{self, Shape},
    source::Span,
    tree::{Field, Node, Value},
};
use crate::network::{
    Cidr, Direction, InvalidCidr, InvalidName, MAX_RANGES, NamePattern, Network, NetworkRule, Peers, Ports, Protocols,
    SOCKET_KINDS,
};

/// Entries of a rule's `ports`.
pub(super) const MAX_PORTS: usize = 16;

/// Entries of `resolvers`.
pub(super) const MAX_RESOLVERS: usize = 8;
/// The port at which resolvers are asked.
const DNS: u16 = 53;

/// Whether loopback needs rules.
const LOOPBACK: [(&str, bool); 2] = [("Allow", true), ("Deny", false)];
const PROTOCOLS: [(&str, Protocols); 2] = [("TCP", Protocols::Tcp), ("UDP", Protocols::Udp)];

/// Reads the whole of it.
pub(super) fn network(field: &Field, limits: &Limits, report: &mut Report<'_>) -> Result<Network, Reported> {
    let fields = Fields::open(&field.node, field.key_span, &shape::NETWORK, report)?;
    let loopback = fields.optional("loopback").map(|field| field.choice(&LOOPBACK, report)).transpose();
    let sockets = fields.optional("sockets").map(|field| sockets(field, report)).transpose();
    let resolvers = fields.optional("resolvers").map(|field| resolvers(field, report)).transpose();
    let lists = Direction::ALL.map(|direction| {
        let list = fields.optional(direction.name());
        list.map_or_else(|| Ok(Vec::new()), |field| rules(field, direction, limits, report))
    });
    let (loopback, sockets, resolvers) =
        (loopback?.unwrap_or(true), sockets?.unwrap_or(0), resolvers?.unwrap_or_default());
    let written: Result<Vec<_>, Reported> = lists.into_iter().collect();
    let written: Vec<_> = written?.into_iter().flatten().collect();
    some_resolver(&written, &resolvers, report)?;
    let implied = resolvers.iter().copied().map(resolver_rule);
    let implied = implied.chain(Direction::ALL.into_iter().filter(|_| loopback).map(loopback_rule));
    let rules = written.into_iter().chain(implied.map(|rule| (rule, field.key_span)));
    let (rules, spans): (Vec<_>, Vec<_>) = rules.unzip();
    Network::new(rules, resolvers, sockets).map_err(|error| {
        let span = spans.get(error.rule).copied().unwrap_or(field.key_span);
        let message =
            format!("this rule and those around its addresses come to more than {MAX_RANGES} ranges of ports");
        report.error(span, message, "merge neighbouring ports into ranges, or allow all ports of the addresses")
    })
}

fn loopback_rule(direction: Direction) -> NetworkRule {
    NetworkRule { direction, peers: Peers::Loopback, ports: Vec::new(), protocols: Protocols::Any, place: None }
}

/// Asking it is allowed without a rule.
fn resolver_rule(resolver: IpAddr) -> NetworkRule {
    NetworkRule {
        direction: Direction::Egress,
        peers: Peers::Cidr(Cidr::host(resolver)),
        ports: vec![Ports { first: DNS, last: DNS }],
        protocols: Protocols::Any,
        place: None,
    }
}

/// Nothing gives a name addresses unless somebody's answers count.
fn some_resolver(rules: &[(NetworkRule, Span)], resolvers: &[IpAddr], report: &mut Report<'_>) -> Result<(), Reported> {
    let named = rules.iter().find(|(rule, _)| matches!(rule.peers, Peers::Name(_)));
    match named {
        Some((_, span)) if resolvers.is_empty() => {
            let help = "write `resolvers: [ADDRESS]` into `spec.network`: the resolver that is in the workload's /etc/resolv.conf";
            Err(report.error(*span, "a rule by name, and no resolver whose answers count", help))
        }
        _ => Ok(()),
    }
}

fn resolvers(field: &Field, report: &mut Report<'_>) -> Result<Vec<IpAddr>, Reported> {
    let items = field.list(report)?;
    if items.len() > MAX_RESOLVERS {
        let message = format!("`resolvers` has {} entries, the limit is {MAX_RESOLVERS}", items.len());
        return Err(report.error(field.key_span, message, "name those that are in the workload's /etc/resolv.conf"));
    }
    let outcomes: Vec<_> = items.iter().map(|item| resolver(item, report)).collect();
    outcomes.into_iter().collect()
}

fn resolver(item: &Node, report: &mut Report<'_>) -> Result<IpAddr, Reported> {
    let Value::Scalar(scalar) = &item.value else {
        return Err(wrong_type(item, item.span, "an entry of `resolvers`", "an address", report));
    };
    let text = quoted(&scalar.text);
    match scalar.text.parse::<IpAddr>() {
        Ok(address) if address.to_canonical().is_loopback() || address.is_unspecified() => {
            let help = "name one that the workload asks elsewhere: on its own loopback it could answer itself";
            Err(report.error(item.span, format!("{text} is the workload itself"), help))
        }
        Ok(address) => Ok(address.to_canonical()),
        Err(_) => Err(report.error(item.span, format!("{text} is not an address"), "write for example `10.96.0.10`")),
    }
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
    let name = fields.optional("dns").map(|field| name(field, report)).transpose();
    if let (Some(_), Some(field)) = (fields.optional("cidr"), fields.optional("dns")) {
        let help = "write two entries; what one of them allows is allowed";
        return Err(report.error(field.key_span, "`cidr` and `dns` in one rule", help));
    }
    let (peers, list, protocols) = (peers?.map(Peers::Cidr).or(name?.map(Peers::Name)), list?, protocols?);
    if peers.is_none() && list.is_none() && protocols.is_none() {
        let help = "name a `cidr`, or `ports`; to allow every address, write `cidr: 0.0.0.0/0` and `cidr: \"::/0\"`";
        return Err(fields.empty("an empty rule", help, report));
    }
    Ok(NetworkRule {
        direction,
        peers: peers.unwrap_or(Peers::Any),
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

fn name(field: &Field, report: &mut Report<'_>) -> Result<NamePattern, Reported> {
    let text = field.string(report)?;
    text.parse().map_err(|error: InvalidName| {
        let help = match &error {
            InvalidName::Address => "write `cidr` for an address or a network".to_owned(),
            InvalidName::Wildcard => "write `*.example.com` for every name below `example.com`".to_owned(),
            InvalidName::Everything => {
                "name a domain; to allow every address, write `cidr: 0.0.0.0/0` and `cidr: \"::/0\"`".to_owned()
            }
            InvalidName::Spelling(name) => format!("write {}", quoted(name)),
            InvalidName::Syntax => {
                "write for example `api.example.com`: letters, digits, `-` and `_`, up to 63 of them between dots"
                    .to_owned()
            }
        };
        report.error(field.value_span(), format!("{} is not a rule's name: {error}", quoted(text)), help)
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
