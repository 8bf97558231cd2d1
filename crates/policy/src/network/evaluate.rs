//! The reference for network decisions: the rules as they are written, one after the other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use plimsoll_abi::{Reason, Verdict, network::socket};

use super::{Cidr, Direction, Network, NetworkRule, Peers, Protocols};
use crate::{compile::CompiledPolicy, policy::Mode};

/// One thing that a task wants of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NetworkAccess {
    /// Connecting, sending, binding, listening, being connected to.
    Address {
        /// Which of them.
        direction: Direction,
        /// The far end, or, for `Bind`, the own one.
        address: IpAddr,
        /// The far end's port, or, but for `Egress`, the own one; 0 where the kernel has yet to choose it.
        port: u16,
        /// `IPPROTO_*` of the socket.
        protocol: u32,
    },
    /// Making a socket.
    Socket {
        /// `AF_*`
        family: u32,
        /// `SOCK_*`, without flags.
        kind: u32,
        /// `IPPROTO_*`, 0 for the family's own choice.
        protocol: u32,
    },
}

const TCP: u32 = 6;
const UDP: u32 = 17;
const MPTCP: u32 = 262;
const SCTP: u32 = 132;

/// Decides as the kernel does for a task of a workload under `policy`; the number is the index of the rule that allows it.
pub fn evaluate_network(policy: &CompiledPolicy, access: &NetworkAccess) -> (Verdict, Reason, Option<usize>) {
    let Some(network) = &policy.network else { return (Verdict::Allow, Reason::Listed, None) };
    let (allowed, rule) = match *access {
        NetworkAccess::Socket { family, kind, protocol } => {
            (socket_kind(family, kind, protocol).is_none_or(|bit| network.sockets & bit != 0), None)
        }
        NetworkAccess::Address { direction, address, port, protocol } => {
            address_rule(network, direction, address.to_canonical(), port, protocol)
        }
    };
    match (allowed, policy.mode) {
        (true, _) => (Verdict::Allow, Reason::Listed, rule),
        (false, Mode::Enforce) => (Verdict::Deny, Reason::NetworkRule, None),
        (false, Mode::Monitor) => (Verdict::Audit, Reason::NetworkRule, None),
    }
}

fn address_rule(
    network: &Network,
    direction: Direction,
    address: IpAddr,
    port: u16,
    protocol: u32,
) -> (bool, Option<usize>) {
    // Which kinds of sockets there may be is all that a policy says of other protocols.
    let Some(stream) = is_stream(protocol) else { return (network.sockets & kind_of_protocol(protocol) != 0, None) };
    // No address at all means the machine itself.
    let address = match address {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) if direction == Direction::Egress => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) if direction == Direction::Egress => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    let host = Cidr::host(address);
    let rule = network.rules.iter().position(|rule| {
        rule.direction == direction
            && rule.permits(port, stream)
            && rule.peers.prefixes().iter().any(|cidr| cidr.contains(&host))
    });
    (rule.is_some(), rule)
}

/// Whether a rule by name would allow it, if a resolver gave the address for that name.
pub(crate) fn may_be_a_names(network: &Network, access: &NetworkAccess) -> bool {
    let NetworkAccess::Address { direction: Direction::Egress, port, protocol, .. } = *access else { return false };
    let Some(stream) = is_stream(protocol) else { return false };
    network.rules.iter().any(|rule| matches!(rule.peers, Peers::Name(_)) && rule.permits(port, stream))
}

/// Whether a protocol is TCP, or UDP; rules know no other.
fn is_stream(protocol: u32) -> Option<bool> {
    match protocol {
        TCP | MPTCP => Some(true),
        UDP => Some(false),
        _ => None,
    }
}

impl NetworkRule {
    fn permits(&self, port: u16, stream: bool) -> bool {
        let protocol = match self.protocols {
            Protocols::Any => true,
            Protocols::Tcp => stream,
            Protocols::Udp => !stream,
        };
        protocol && (self.ports.is_empty() || self.ports.iter().any(|ports| (ports.first..=ports.last).contains(&port)))
    }
}

fn kind_of_protocol(protocol: u32) -> u64 {
    match protocol {
        1 | 58 => socket::ICMP,
        SCTP => socket::SCTP,
        _ => socket::RAW | socket::OTHER,
    }
}

/// What a policy must name before such a socket can be made; `None` if it need not.
fn socket_kind(family: u32, kind: u32, protocol: u32) -> Option<u64> {
    const STREAM: u32 = 1;
    const DATAGRAM: u32 = 2;
    const RAW: u32 = 3;
    const NETLINK_ROUTE: u32 = 0;
    match (family, kind, protocol) {
        // AF_UNIX, AF_INET and AF_INET6, AF_NETLINK
        (1, ..) | (2 | 10, STREAM, 0 | TCP) | (2 | 10, DATAGRAM, 0 | UDP) | (16, _, NETLINK_ROUTE) => None,
        (2 | 10, RAW, _) => Some(socket::RAW),
        (2 | 10, DATAGRAM, 1 | 58) => Some(socket::ICMP),
        (2 | 10, STREAM, MPTCP) => Some(socket::MPTCP),
        (2 | 10, _, SCTP) => Some(socket::SCTP),
        (16, ..) => Some(socket::NETLINK),
        // AF_PACKET, AF_ALG, AF_VSOCK, AF_XDP
        (17, ..) => Some(socket::PACKET),
        (38, ..) => Some(socket::ALG),
        (40, ..) => Some(socket::VSOCK),
        (44, ..) => Some(socket::XDP),
        _ => Some(socket::OTHER),
    }
}
