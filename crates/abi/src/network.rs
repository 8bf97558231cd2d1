//! Network rules, as the enforcer writes them and the kernel matches against them.
//!
//! A rule's ports lie under the prefix of its addresses. The compiler has merged the rules of enclosing prefixes into
//! every prefix, so that the longest match alone decides.

use crate::ADDRESS_LEN;

/// Port ranges that one prefix may have, those of enclosing prefixes included.
pub const MAX_PORT_RANGES: usize = 32;
/// Prefixes that a node can hold, over all policies.
pub const MAX_PREFIXES: u32 = 1 << 18;
/// Bits of an [`AddressKey`] before its address, all of which must match.
pub const SCOPE_BITS: u32 = 64;
/// [`PortRange::rule`] and an event's rule where no rule covers the address.
pub const NO_RULE: u16 = u16::MAX;
/// Operand of an event about a route that the sender wants to choose itself.
pub const SOURCE_ROUTE: u64 = 1;
/// Operand of an event about a socket that was made in another cgroup.
pub const FOREIGN_SOCKET: u64 = 2;
/// Events that connections from outside may leave on one CPU in one second; a peer must not bury other events.
pub const PEER_EVENTS_PER_SECOND: u64 = 100;

/// What a rule is about, in [`AddressKey::scope`]; IPv6 has its own, since `::/0` does not mean IPv4.
pub mod scope {
    /// The far end of what the workload connects or sends to.
    pub const EGRESS: u32 = 0;
    /// The own end that a socket is bound to, or listens on.
    pub const BIND: u32 = 1;
    /// The far end of a connection that comes in; the port is the own one.
    pub const INGRESS: u32 = 2;
    /// A resolver whose answers count: its own address. Ports are of no account.
    pub const RESOLVER: u32 = 3;
    /// Added for IPv6.
    pub const IPV6: u32 = 1 << 8;
}

/// Bits of [`PortRange::protocols`].
pub mod protocol {
    /// TCP, and MPTCP, whose subflows are TCP.
    pub const TCP: u16 = 1;
    /// UDP.
    pub const UDP: u16 = 2;
}

/// Kinds of sockets that a policy must name before they can be made: what they send, no rule sees.
pub mod socket {
    /// `SOCK_RAW` of IPv4 and IPv6.
    pub const RAW: u64 = 1;
    /// Echo requests without raw sockets.
    pub const ICMP: u64 = 1 << 1;
    /// SCTP.
    pub const SCTP: u64 = 1 << 2;
    /// Multipath TCP.
    pub const MPTCP: u64 = 1 << 3;
    /// `AF_PACKET`.
    pub const PACKET: u64 = 1 << 4;
    /// `AF_NETLINK`, but for routes and addresses, which the C library reads.
    pub const NETLINK: u64 = 1 << 5;
    /// `AF_VSOCK`.
    pub const VSOCK: u64 = 1 << 6;
    /// `AF_ALG`.
    pub const ALG: u64 = 1 << 7;
    /// `AF_XDP`.
    pub const XDP: u64 = 1 << 8;
    /// Everything else.
    pub const OTHER: u64 = 1 << 9;
}

/// A prefix of addresses in one scope of one allowlist; its length is counted from the key's beginning.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressKey {
    /// Allowlist id.
    pub allowlist: u32,
    /// One of [`scope`], with [`scope::IPV6`] for IPv6.
    pub scope: u32,
    /// IPv6, or IPv4 mapped into it.
    pub address: [u8; ADDRESS_LEN],
}

/// Ports of one rule.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRange {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
    /// Bits of [`protocol`].
    pub protocols: u16,
    /// The rule, for events.
    pub rule: u16,
}

/// What a prefix permits; of several ranges that match, the first one counts.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRanges {
    /// How many of `ranges` are in use.
    pub count: u32,
    /// Always zero.
    pub reserved: u32,
    /// The rest are zeros, which match nothing.
    pub ranges: [PortRange; MAX_PORT_RANGES],
}

const _: () = {
    assert!(size_of::<AddressKey>() == 24);
    assert!(size_of::<PortRange>() == 8);
    assert!(size_of::<PortRanges>() == 8 + MAX_PORT_RANGES * 8);
};
