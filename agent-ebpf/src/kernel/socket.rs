//! Sockets, and what they are sent.

use core::mem::offset_of;

use aya_ebpf::bindings::bpf_sock_addr;

use super::{Cgroup, OFFSETS, frozen, load, probe};

kernel_types! {
    /// `struct socket`
    Socket,
    /// `struct sock`
    Sock,
    /// `struct request_sock`
    Request,
    /// `struct msghdr`
    Message,
    /// `struct bpf_sock_addr`: what a cgroup's hook is told of an address that a task hands to the kernel.
    Given,
}

/// `AF_INET`
pub const INET: u16 = 2;
/// `AF_INET6`
pub const INET6: u16 = 10;

/// The third word of an IPv6 address that has an IPv4 address in its fourth: `::ffff:a.b.c.d`.
pub const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

/// An address in memory order: what is IPv4 is in the first word alone.
#[derive(Clone, Copy)]
pub enum Address {
    V4(u32),
    V6([u32; 4]),
}

impl Given {
    /// As IPv4.
    #[inline(always)]
    pub fn ipv4(self) -> Address {
        Address::V4(load(self.0, offset_of!(bpf_sock_addr, user_ip4)))
    }

    /// As IPv6.
    #[inline(always)]
    pub fn ipv6(self) -> Address {
        Address::V6(words(self.0, offset_of!(bpf_sock_addr, user_ip6)))
    }

    /// In the host's byte order.
    #[inline(always)]
    pub fn port(self) -> u16 {
        u16::from_be(load::<u32>(self.0, offset_of!(bpf_sock_addr, user_port)) as u16)
    }

    /// `IPPROTO_*` of the socket.
    #[inline(always)]
    pub fn protocol(self) -> u32 {
        load(self.0, offset_of!(bpf_sock_addr, protocol))
    }
}

impl Socket {
    /// The protocol's side of it. Those that hooks hand over have one; the verifier does not know it.
    #[inline(always)]
    pub fn sock(self) -> Option<Sock> {
        let sock: *const u8 = load(self.0, offset!(socket_sk));
        (!sock.is_null()).then_some(Sock(sock))
    }
}

impl Sock {
    /// `AF_*`
    #[inline(always)]
    pub fn family(self) -> u16 {
        load(self.0, offset!(sk_family))
    }

    /// Whether addresses and ports are IP's.
    #[inline(always)]
    pub fn is_inet(self) -> bool {
        matches!(self.family(), INET | INET6)
    }

    /// `IPPROTO_*`
    #[inline(always)]
    pub fn protocol(self) -> u32 {
        u32::from(load::<u16>(self.0, offset!(sk_protocol)))
    }

    /// The own port in the host's byte order, 0 if there is none yet.
    #[inline(always)]
    pub fn port(self) -> u16 {
        load(self.0, offset!(sk_num))
    }

    /// The own address.
    #[inline(always)]
    pub fn address(self) -> Address {
        if self.family() == INET6 {
            Address::V6(words(self.0, offset!(sk_address6)))
        } else {
            Address::V4(load(self.0, offset!(sk_address)))
        }
    }

    /// The cgroup that it was made in.
    #[inline(always)]
    pub fn cgroup(self) -> Cgroup {
        Cgroup(load(self.0, offset!(sk_cgroup)))
    }
}

impl Request {
    /// Who wants to connect.
    #[inline(always)]
    pub fn peer(self) -> Address {
        // It begins as a `struct sock` does. An IPv6 listener has requests of both families.
        if load::<u16>(self.0, offset!(sk_family)) == INET6 {
            Address::V6(words(self.0, offset!(peer_address6)))
        } else {
            Address::V4(load(self.0, offset!(peer_address)))
        }
    }
}

impl Message {
    /// Address and length of the control messages; the kernel has copied them from the task by now.
    #[inline(always)]
    pub fn control(self) -> (ControlMessages, usize) {
        (ControlMessages(load(self.0, offset!(msg_control))), load::<u64>(self.0, offset!(msg_control_len)) as usize)
    }
}

/// Control messages, one after the other.
#[derive(Clone, Copy)]
pub struct ControlMessages(*const u8);

/// `struct cmsghdr`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ControlHeader {
    pub length: u64,
    pub level: u32,
    pub kind: u32,
}

impl ControlMessages {
    /// The header at `offset`; `None` if memory cannot be read.
    #[inline(always)]
    pub fn header(self, offset: usize) -> Option<ControlHeader> {
        probe(self.0, offset)
    }
}

/// An IPv6 address.
#[inline(always)]
fn words(base: *const u8, offset: usize) -> [u32; 4] {
    [load(base, offset), load(base, offset + 4), load(base, offset + 8), load(base, offset + 12)]
}
