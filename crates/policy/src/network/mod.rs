//! Network rules: what a policy says of addresses and ports, and the prefixes that the kernel matches instead.

mod cidr;
mod evaluate;
mod name;
mod prefixes;

use std::{fmt, net::IpAddr};

use plimsoll_abi::network::{AddressKey, MAX_PORT_RANGES, PortRanges, protocol, scope, socket};
use serde::{Serialize, Serializer};

pub(crate) use self::evaluate::may_be_a_names;
pub use self::{
    cidr::{Cidr, InvalidCidr},
    evaluate::{NetworkAccess, evaluate_network},
    name::{InvalidName, Name, NamePattern},
    prefixes::Prefix,
};
use crate::diagnostic::Place;

/// What a workload may do with the network. Without one, it is not restricted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Network {
    /// Every rule; the index is what events name.
    pub rules: Vec<NetworkRule>,
    /// Kinds of sockets allowed beside the usual ones; bits of [`plimsoll_abi::network::socket`].
    pub sockets: u64,
    /// Whose answers say which addresses a name has.
    pub resolvers: Vec<IpAddr>,
    /// Names in rules as the kernel holds them.
    #[serde(skip)]
    pub names: Vec<Name>,
    /// The rules as the kernel holds them, in the order of scope and prefix.
    #[serde(skip)]
    pub prefixes: Vec<Prefix>,
}

/// A rule needs more port ranges for one prefix than the kernel keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyRanges {
    /// Index of the rule that was one too many.
    pub(crate) rule: usize,
}

impl Network {
    /// Merges enclosing rules into every prefix.
    pub(crate) fn new(rules: Vec<NetworkRule>, resolvers: Vec<IpAddr>, sockets: u64) -> Result<Self, TooManyRanges> {
        let (prefixes, names) = (prefixes::merge(&rules)?, name::merge(&rules)?);
        Ok(Self { rules, sockets, resolvers, names, prefixes })
    }

    /// Resolvers as the kernel holds them under `allowlist`: bits that count, key, value.
    pub fn kernel_resolvers(&self, allowlist: u32) -> impl Iterator<Item = (u32, AddressKey, PortRanges)> {
        self.resolvers.iter().map(move |resolver| {
            let host = Cidr::host(*resolver);
            let key = AddressKey { allowlist, scope: scope::RESOLVER | host.family(), address: host.octets() };
            (host.key_bits(), key, prefixes::kernel_ranges(&[]))
        })
    }
}

/// Addresses and ports that are allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NetworkRule {
    /// What it is about.
    pub direction: Direction,
    /// Which addresses.
    pub peers: Peers,
    /// Which ports; none given is all of them.
    pub ports: Vec<Ports>,
    /// Which protocols.
    pub protocols: Protocols,
    /// Where it stands; the rules for loopback are not written down.
    pub place: Option<Place>,
}

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Connecting and sending; address and port are the far end's.
    Egress,
    /// Binding and listening; address and port are the own ones.
    Bind,
    /// Connections that come in: the far end's address, the own port.
    Ingress,
}

impl Direction {
    /// Every direction.
    pub const ALL: [Self; 3] = [Self::Egress, Self::Bind, Self::Ingress];

    /// The number that the kernel knows it by.
    pub fn scope(self) -> u32 {
        match self {
            Self::Egress => scope::EGRESS,
            Self::Bind => scope::BIND,
            Self::Ingress => scope::INGRESS,
        }
    }

    /// Its name in policies.
    pub fn name(self) -> &'static str {
        match self {
            Self::Egress => "egress",
            Self::Bind => "bind",
            Self::Ingress => "ingress",
        }
    }
}

/// Which addresses a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peers {
    /// All of them.
    Any,
    /// Those in a prefix.
    Cidr(Cidr),
    /// Those that a resolver has given for a name.
    Name(NamePattern),
    /// The machine itself, as its loopback interface has it.
    Loopback,
}

impl Peers {
    /// The prefixes that make it up; a name's addresses are not known before they are asked for.
    fn prefixes(&self) -> Vec<Cidr> {
        match self {
            Self::Any => vec![Cidr::EVERY_IPV4, Cidr::EVERY_IPV6],
            Self::Cidr(cidr) => vec![*cidr],
            Self::Name(_) => Vec::new(),
            Self::Loopback => vec![Cidr::LOOPBACK_IPV4, Cidr::LOOPBACK_IPV6],
        }
    }
}

/// A port, or a range of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ports {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

impl Ports {
    /// Every port, and the one that a socket has before it has any.
    pub(crate) const ALL: Self = Self { first: 0, last: u16::MAX };
}

impl Serialize for Ports {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Which protocols a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Protocols {
    /// Both.
    Any,
    /// TCP.
    #[serde(rename = "TCP")]
    Tcp,
    /// UDP.
    #[serde(rename = "UDP")]
    Udp,
}

impl Protocols {
    /// Bits of [`plimsoll_abi::network::protocol`].
    fn bits(self) -> u16 {
        match self {
            Self::Any => protocol::TCP | protocol::UDP,
            Self::Tcp => protocol::TCP,
            Self::Udp => protocol::UDP,
        }
    }
}

/// Kinds of sockets that no rule can restrict, by the names that policies give them.
pub const SOCKET_KINDS: [(&str, u64); 10] = [
    ("raw", socket::RAW),
    ("icmp", socket::ICMP),
    ("sctp", socket::SCTP),
    ("mptcp", socket::MPTCP),
    ("packet", socket::PACKET),
    ("netlink", socket::NETLINK),
    ("vsock", socket::VSOCK),
    ("alg", socket::ALG),
    ("xdp", socket::XDP),
    ("other", socket::OTHER),
];

/// Port ranges that the rules for one prefix may come to.
pub(crate) const MAX_RANGES: usize = MAX_PORT_RANGES;

impl fmt::Display for NetworkRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "network {} {}", self.direction.name(), self.peers)?;
        for (index, ports) in self.ports.iter().enumerate() {
            write!(f, "{}{ports}", if index == 0 { " ports " } else { ", " })?;
        }
        match self.protocols {
            Protocols::Any => Ok(()),
            Protocols::Tcp => f.write_str(" TCP"),
            Protocols::Udp => f.write_str(" UDP"),
        }
    }
}

impl fmt::Display for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any address"),
            Self::Cidr(cidr) => cidr.fmt(f),
            Self::Name(pattern) => pattern.fmt(f),
            Self::Loopback => f.write_str("loopback"),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}
