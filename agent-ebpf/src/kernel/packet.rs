//! Packets on their way to a socket, from their IP header on.

use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::{bpf_skb_cgroup_id, bpf_skb_load_bytes},
    programs::SkBuffContext,
};

use super::{
    opaque,
    socket::{Address, MAPPED},
};

const UDP: u8 = 17;
/// Bytes of an IPv6 header; what has more headers before UDP is no resolver's answer.
const IPV6_HEADER: u32 = 40;
const UDP_HEADER: u32 = 8;
/// The loopback interface's number in every network namespace.
const LOOPBACK: u32 = 1;

/// A packet that a socket is about to get.
pub struct Packet<'a>(pub &'a SkBuffContext);

/// A UDP datagram in it.
#[derive(Clone, Copy)]
pub struct Datagram {
    /// Who says to have sent it: IPv6, or IPv4 mapped into it. Never the other form, whose unset words verifiers refuse.
    pub source: Address,
    /// Where its payload begins.
    pub offset: u32,
    /// Bytes of the payload.
    pub length: u32,
}

#[repr(C)]
struct Ipv4 {
    version: u8,
    _service: u8,
    _length: u16,
    _id: u16,
    _fragment: u16,
    _hops: u8,
    protocol: u8,
    _sum: u16,
    source: u32,
}

#[repr(C)]
struct Ipv6 {
    _version: u32,
    _length: u16,
    next: u8,
    _hops: u8,
    source: [u32; 4],
}

#[repr(C)]
struct Udp {
    source: u16,
    _target: u16,
    length: u16,
    _sum: u16,
}

impl Packet<'_> {
    /// The datagram, if it is one from `port`.
    #[inline(always)]
    pub fn datagram_from(&self, port: u16) -> Option<Datagram> {
        let version = self.0.load::<u8>(0).ok()? >> 4;
        let (source, header) = match version {
            4 => self.ipv4()?,
            6 => self.ipv6()?,
            _ => return None,
        };
        let udp: Udp = self.0.load(header as usize).ok()?;
        let length = u32::from(u16::from_be(udp.length));
        if u16::from_be(udp.source) != port || length < UDP_HEADER {
            return None;
        }
        Some(Datagram { source, offset: header + UDP_HEADER, length: length - UDP_HEADER })
    }

    #[inline(always)]
    fn ipv4(&self) -> Option<(Address, u32)> {
        let ip: Ipv4 = self.0.load(0).ok()?;
        (ip.protocol == UDP).then_some((Address::V6([0, 0, MAPPED, ip.source]), u32::from(ip.version & 0xf) * 4))
    }

    #[inline(always)]
    fn ipv6(&self) -> Option<(Address, u32)> {
        let ip: Ipv6 = self.0.load(0).ok()?;
        (ip.next == UDP).then_some((Address::V6(ip.source), IPV6_HEADER))
    }

    /// Whether it comes from the machine itself.
    #[inline(always)]
    pub fn is_from_loopback(&self) -> bool {
        // SAFETY: the program's own context.
        let skb = unsafe { &*self.0.skb.skb };
        skb.ifindex == LOOPBACK
    }

    /// The cgroup that its socket was made in.
    #[inline(always)]
    pub fn cgroup(&self) -> u64 {
        // SAFETY: the program's own context.
        unsafe { bpf_skb_cgroup_id(self.0.skb.skb) }
    }

    /// Copies `length` bytes from `offset` on; `false` if there are not as many, or the buffer is smaller.
    #[inline(always)]
    pub fn copy<const N: usize>(&self, offset: u32, length: u32, buffer: &mut [u8; N]) -> bool {
        let last = last_of(length);
        if last >= N as u64 {
            return false;
        }
        // SAFETY: the buffer has as many bytes; the helper checks the packet.
        let outcome = unsafe {
            bpf_skb_load_bytes(self.0.as_ptr().cast_const(), offset, buffer.as_mut_ptr().cast(), last as u32 + 1)
        };
        outcome == 0
    }
}

/// One less than a length: verifiers before Linux 6.8 do not take `not 0` for `at least 1`, so this is what is compared.
#[inline(always)]
pub fn last_of(length: u32) -> u64 {
    opaque(u64::from(length).wrapping_sub(1))
}
