//! The decision on addresses, ports and kinds of sockets: map lookups and integers, the same in every hook and under test.

use aya_ebpf::maps::lpm_trie::Key;
use plimsoll_abi::{
    ADDRESS_LEN, Reason, Verdict,
    network::{AddressKey, MAX_PORT_RANGES, NO_RULE, PortRanges, SCOPE_BITS, protocol, scope, socket},
    state,
};

use crate::{
    decide::{Decision, deviation},
    kernel::socket::{Address, MAPPED},
    maps::{ADDRESSES, SOCKETS},
};

const TCP: u32 = 6;
pub(super) const UDP: u32 = 17;
const SCTP: u32 = 132;
const MPTCP: u32 = 262;
const ICMP: u32 = 1;
const ICMPV6: u32 = 58;

/// Bits of a key whose whole address is given.
pub(super) const HOST: u32 = SCOPE_BITS + 8 * ADDRESS_LEN as u32;

/// One end of a connection, as rules speak of it.
#[derive(Clone, Copy)]
pub struct Flow {
    /// One of [`scope`], with the family's bit.
    pub scope: u32,
    /// IPv6, or IPv4 mapped into it.
    pub address: [u8; ADDRESS_LEN],
    /// In the host's byte order; 0 where the kernel has yet to choose it.
    pub port: u16,
    /// `IPPROTO_*`
    pub protocol: u32,
}

impl Flow {
    /// Brings an address into the one spelling that rules know: IPv4 inside IPv6 is IPv4, and a far end without an address is
    /// the machine itself.
    #[inline(always)]
    pub fn new(direction: u32, address: Address, port: u16, protocol: u32) -> Self {
        let (family, mut words) = match address {
            Address::V4(address) | Address::V6([0, 0, MAPPED, address]) => (0, [0, 0, MAPPED, address]),
            Address::V6(words) => (scope::IPV6, words),
        };
        if direction == scope::EGRESS && words[3] == 0 && words[0] == 0 && words[1] == 0 {
            if family == 0 {
                words[3] = u32::from_ne_bytes([127, 0, 0, 1]);
            } else if words[2] == 0 {
                words[3] = u32::from_ne_bytes([0, 0, 0, 1]);
            }
        }
        Self { scope: direction | family, address: bytes(words), port, protocol }
    }
}

#[inline(always)]
fn bytes(words: [u32; 4]) -> [u8; ADDRESS_LEN] {
    // SAFETY: both are sixteen bytes of which any value is valid.
    unsafe { core::mem::transmute(words) }
}

/// Decides on an address and a port. `rule` is the one that allows it, or else the first that covers the address, or
/// [`NO_RULE`].
#[inline(always)]
pub fn decide(state: u64, flow: &Flow) -> Decision {
    let Some(protocols) = protocols(flow.protocol) else { return permitted_kind(state, kind_of(flow.protocol)) };
    let address = AddressKey { allowlist: state::allowlist(state), scope: flow.scope, address: flow.address };
    let Some(ranges) = ADDRESSES.get(Key::new(HOST, address)) else { return denied(state, NO_RULE) };
    match matching(ranges, flow.port, protocols) {
        Some(rule) => Decision { verdict: Verdict::Allow, reason: Reason::Listed, rule: u32::from(rule) },
        None => denied(state, ranges.ranges[0].rule),
    }
}

/// The protocol as rules name it; `None` for those that they do not know.
#[inline(always)]
pub(super) fn protocols(protocol: u32) -> Option<u16> {
    match protocol {
        TCP | MPTCP => Some(protocol::TCP),
        UDP => Some(protocol::UDP),
        _ => None,
    }
}

#[inline(always)]
pub(super) fn matching(ranges: &PortRanges, port: u16, protocols: u16) -> Option<u16> {
    for index in 0..MAX_PORT_RANGES {
        if index >= ranges.count as usize {
            return None;
        }
        let range = ranges.ranges.get(index)?;
        if range.first <= port && port <= range.last && range.protocols & protocols != 0 {
            return Some(range.rule);
        }
    }
    None
}

/// Decides whether a socket may be made. `kind` is one of `SOCK_*` without flags.
#[inline(always)]
pub fn decide_socket(state: u64, family: u32, kind: u32, protocol: u32) -> Decision {
    match needed(family, kind, protocol) {
        0 => Decision { verdict: Verdict::Allow, reason: Reason::Listed, rule: u32::from(NO_RULE) },
        bit => permitted_kind(state, bit),
    }
}

/// What a deviation from the network rules comes to.
#[inline(always)]
pub fn denied(state: u64, rule: u16) -> Decision {
    Decision { verdict: deviation(state), reason: Reason::NetworkRule, rule: u32::from(rule) }
}

/// Allows what the policy names one of; a policy that names none has no entry.
#[inline(always)]
fn permitted_kind(state: u64, kinds: u64) -> Decision {
    // SAFETY: the value is copied out at once; entries are removed only after no workload names their allowlist.
    let permitted = unsafe { SOCKETS.get(state::allowlist(state)) }.copied().unwrap_or(0);
    if permitted & kinds == 0 {
        return denied(state, NO_RULE);
    }
    Decision { verdict: Verdict::Allow, reason: Reason::Listed, rule: u32::from(NO_RULE) }
}

/// Which kinds of sockets speak a protocol that rules do not know.
#[inline(always)]
fn kind_of(protocol: u32) -> u64 {
    match protocol {
        ICMP | ICMPV6 => socket::ICMP,
        SCTP => socket::SCTP,
        _ => socket::RAW | socket::OTHER,
    }
}

/// What a policy must name before such a socket can be made; 0 if it need not.
#[inline(always)]
pub fn needed(family: u32, kind: u32, protocol: u32) -> u64 {
    const UNIX: u32 = 1;
    const INET: u32 = 2;
    const INET6: u32 = 10;
    const NETLINK: u32 = 16;
    const ROUTE: u32 = 0;
    match family {
        UNIX => 0,
        INET | INET6 => needed_inet(kind, protocol),
        NETLINK if protocol == ROUTE => 0,
        NETLINK => socket::NETLINK,
        17 => socket::PACKET,
        38 => socket::ALG,
        40 => socket::VSOCK,
        44 => socket::XDP,
        _ => socket::OTHER,
    }
}

#[inline(always)]
fn needed_inet(kind: u32, protocol: u32) -> u64 {
    const STREAM: u32 = 1;
    const DATAGRAM: u32 = 2;
    const RAW: u32 = 3;
    match (kind, protocol) {
        (STREAM, 0 | TCP) | (DATAGRAM, 0 | UDP) => 0,
        (RAW, _) => socket::RAW,
        (DATAGRAM, ICMP | ICMPV6) => socket::ICMP,
        (STREAM, MPTCP) => socket::MPTCP,
        (_, SCTP) => socket::SCTP,
        _ => socket::OTHER,
    }
}
