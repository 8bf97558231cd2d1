//! Ways to send a datagram, and to choose the way it goes.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
};

use anyhow::{Context as _, bail};

use super::{ALLOWED, connect, encode, family, length, mapped, set_option, socket, socket_for};
use crate::Attempt;

/// With an address of its own.
pub(super) fn to(address: SocketAddr) -> Attempt {
    Ok(send(&socket_for(address, libc::SOCK_DGRAM)?, b"x", &encode(address), 0))
}

/// Over IPv6, to an IPv4 address.
pub(super) fn to_mapped(address: SocketAddr) -> Attempt {
    Ok(send(&socket(libc::AF_INET6, libc::SOCK_DGRAM, 0)?, b"x", &encode(mapped(address)), 0))
}

/// With an address of its own, from a socket that is connected to an allowed one.
pub(super) fn to_while_connected(address: SocketAddr) -> Attempt {
    let client = socket_for(address, libc::SOCK_DGRAM)?;
    connect(&client, &encode(ALLOWED)).context("cannot connect where it is allowed")?;
    Ok(send(&client, b"x", &encode(address), 0))
}

/// With an address whose family is none; the kernel takes it for IPv4.
pub(super) fn to_without_family(address: SocketAddr) -> Attempt {
    let whole = encode(address);
    let (_family, rest) = whole.split_at_checked(2).context("an address without a family")?;
    let address = [&family(libc::AF_UNSPEC)[..], rest].concat();
    Ok(send(&socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?, b"x", &address, 0))
}

/// Two in one call, the first of them to an allowed address.
pub(super) fn many(address: SocketAddr) -> Attempt {
    let client = socket_for(address, libc::SOCK_DGRAM)?;
    let mut addresses = [encode(ALLOWED), encode(address)];
    let mut payload = *b"x";
    let mut vector = libc::iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: payload.len() };
    let mut messages = addresses
        .each_mut()
        .map(|address| libc::mmsghdr { msg_hdr: header(address, &mut vector, &mut []), msg_len: 0 });
    // SAFETY: each header points at an address, a vector and a payload that outlive the call.
    let sent = unsafe { libc::sendmmsg(client.as_raw_fd(), messages.as_mut_ptr(), 2, 0) };
    match sent {
        2 => Ok(Ok(())),
        // The kernel says how many went out, and keeps the error for the next call.
        1 => Ok(send(&client, b"x", &encode(address), 0)),
        _ => bail!("sendmmsg sent {sent}: {}", io::Error::last_os_error()),
    }
}

/// By way of `hop`, as an option of the socket.
pub(super) fn route_option(hop: SocketAddr) -> Attempt {
    let client = socket_for(hop, libc::SOCK_DGRAM)?;
    Ok(set_option(&client, libc::SOL_IP, libc::IP_OPTIONS, &source_route(hop)?))
}

/// By way of `hop`, as a control message of one datagram to an allowed address.
pub(super) fn route_control(hop: SocketAddr) -> Attempt {
    let client = socket_for(hop, libc::SOCK_DGRAM)?;
    let route = source_route(hop)?;
    let head = size_of::<libc::cmsghdr>() + route.len();
    let mut control =
        [&head.to_ne_bytes()[..], &libc::SOL_IP.to_ne_bytes(), &libc::IP_RETOPTS.to_ne_bytes(), &route].concat();
    let (mut address, mut payload) = (encode(ALLOWED), *b"x");
    let mut vector = libc::iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: payload.len() };
    let message = header(&mut address, &mut vector, &mut control);
    // SAFETY: the header points at an address, a vector and control messages that outlive the call.
    let sent = unsafe { libc::sendmsg(client.as_raw_fd(), &raw const message, 0) };
    Ok(if sent == 1 { Ok(()) } else { Err(io::Error::last_os_error()) })
}

/// By way of an IPv6 segment, as an option of the socket.
pub(super) fn route_header(hop: SocketAddr) -> Attempt {
    const IPV6_RTHDR: i32 = 57;
    let IpAddr::V6(segment) = hop.ip() else { bail!("not an IPv6 address") };
    // Next header, length in eights after the first, type 4, segments left, last entry, flags, tag, segments.
    let header = [&[0, 2, 4, 0, 0, 0, 0, 0][..], &segment.octets()].concat();
    let client = socket_for(hop, libc::SOCK_DGRAM)?;
    Ok(set_option(&client, libc::SOL_IPV6, IPV6_RTHDR, &header))
}

/// Sends with an address, and wants all of it to be taken.
pub(super) fn send(socket: &impl AsRawFd, payload: &[u8], address: &[u8], flags: i32) -> io::Result<()> {
    let (data, size) = (payload.as_ptr().cast(), payload.len());
    // SAFETY: both pointers and lengths describe slices.
    let sent = unsafe { libc::sendto(socket.as_raw_fd(), data, size, flags, address.as_ptr().cast(), length(address)) };
    if usize::try_from(sent) == Ok(size) { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A loose source route: type, length, pointer, one address, and the end of options.
fn source_route(hop: SocketAddr) -> anyhow::Result<Vec<u8>> {
    let IpAddr::V4(hop) = hop.ip() else { bail!("not an IPv4 address") };
    Ok([&[131, 7, 4][..], &hop.octets(), &[0]].concat())
}

fn header(address: &mut [u8], vector: &mut libc::iovec, control: &mut [u8]) -> libc::msghdr {
    // SAFETY: a header of zeros is one that points at nothing.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = address.as_mut_ptr().cast();
    header.msg_namelen = length(address);
    header.msg_iov = vector;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = control.len();
    header
}
