//! What network hooks' records say.

use plimsoll_abi::{
    Hook,
    network::{FOREIGN_SOCKET, NO_RULE, SOURCE_ROUTE},
};
use plimsoll_policy::CompiledPolicy;
use plimsoll_proto::v1;

use crate::event::Decoded;

/// The socket's far or own address, for hooks that have one.
pub(super) fn network(event: &Decoded) -> Option<v1::Network> {
    let protocol = match event.raw.protocol {
        0 => return None,
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        132 => "sctp".to_owned(),
        262 => "mptcp".to_owned(),
        number => number.to_string(),
    };
    let address = std::net::Ipv6Addr::from(event.raw.address).to_canonical();
    Some(v1::Network { address: address.to_string(), port: event.raw.port, protocol })
}

/// What was asked for, where an address does not say it.
pub(super) fn operation(event: &Decoded) -> String {
    let operand = event.raw.operand;
    match (event.hook, operand) {
        (Hook::Socket, _) => socket(operand),
        (_, SOURCE_ROUTE) => "source-route".to_owned(),
        (_, FOREIGN_SOCKET) => "socket-of-another-cgroup".to_owned(),
        _ => String::new(),
    }
}

/// `AF_*`, `SOCK_*` and protocol, as the kernel packs them; the families a person meets by name.
fn socket(operand: u64) -> String {
    let (family, kind, protocol) = (operand >> 32, operand >> 24 & 0xff, operand & 0x00ff_ffff);
    let family = match family {
        2 => "inet".to_owned(),
        10 => "inet6".to_owned(),
        16 => "netlink".to_owned(),
        17 => "packet".to_owned(),
        38 => "alg".to_owned(),
        40 => "vsock".to_owned(),
        44 => "xdp".to_owned(),
        number => format!("family {number}"),
    };
    let kind = match kind {
        1 => "stream".to_owned(),
        2 => "dgram".to_owned(),
        3 => "raw".to_owned(),
        5 => "seqpacket".to_owned(),
        number => format!("type {number}"),
    };
    format!("{family} {kind} protocol {protocol}")
}

/// What a policy would need for this to be allowed.
pub(super) fn missing_rule(event: &Decoded, policy: &CompiledPolicy) -> String {
    if event.raw.operand != 0 {
        return String::new();
    }
    let covering = u16::try_from(event.raw.rule).ok().filter(|rule| *rule != NO_RULE);
    let covering = covering.and_then(|rule| policy.network.as_ref()?.rules.get(usize::from(rule)));
    match (covering, event.hook) {
        (Some(rule), _) => format!("{rule}: covers the address, but not the port"),
        (None, Hook::Connect | Hook::Send) => "no `network.egress` rule covers the address".to_owned(),
        (None, Hook::Bind | Hook::Listen) => "no `network.bind` rule covers the address".to_owned(),
        (None, Hook::Accept) => "no `network.ingress` rule covers the address".to_owned(),
        (None, _) => String::new(),
    }
}
