//! Ways to use the network. A connection counts once the other side has it, a datagram once the kernel took it.

mod connecting;
mod interface;
mod sending;
mod serving;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsRawFd, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, bail};

use crate::Attempt;

/// Where policies of the tests let datagrams go.
const ALLOWED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 1, 0, 1)), 7000);

/// Tries what the arguments say.
pub(crate) fn attempt(arguments: &[&str]) -> Attempt {
    match *arguments {
        ["up"] => interface::up().map(Ok),
        ["socket", family, kind, protocol] => Ok(socket(family.parse()?, kind.parse()?, protocol.parse()?).map(drop)),
        ["listen-unbound"] => Ok(serving::listen_unbound()),
        ["netlink-addresses"] => Ok(socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE).map(drop)),
        ["accept", from, to] => serving::accept(from.parse()?, to.parse()?),
        ["connect-descriptor", number, to] => Ok(connect_raw(number.parse()?, &encode(to.parse()?))),
        ["connect-received", to] => connecting::received(to.parse()?),
        [technique, address] => at_address(technique, address.parse()?),
        _ => bail!("unknown network technique, or wrong number of arguments: {arguments:?}"),
    }
}

fn at_address(technique: &str, address: SocketAddr) -> Attempt {
    match technique {
        "tcp" => connecting::tcp(address),
        "tcp-mapped" => connecting::tcp_mapped(address),
        "tcp-short" => connecting::tcp_short(address),
        "fast-open" => connecting::fast_open(address),
        "fast-open-connect" => connecting::fast_open_connect(address),
        "ring-connect" => connecting::by_ring(address),
        "inherited" => connecting::inherited(address),
        "passed" => connecting::passed(address),
        "namespace" => connecting::in_new_namespace(address),
        "udp-connect" => connecting::udp(address),
        "udp-reconnect" => connecting::udp_again(address),
        "udp-mixed" => connecting::udp_of_other_family(address),
        "sendto" => sending::to(address),
        "sendto-mapped" => sending::to_mapped(address),
        "sendto-connected" => sending::to_while_connected(address),
        "sendto-unspecified" => sending::to_without_family(address),
        "sendmmsg" => sending::many(address),
        "route-option" => sending::route_option(address),
        "route-control" => sending::route_control(address),
        "route-header" => sending::route_header(address),
        "bind-tcp" => serving::bind(address, libc::SOCK_STREAM),
        "bind-udp" => serving::bind(address, libc::SOCK_DGRAM),
        "bind-free" => serving::bind_free(address),
        "listen-anywhere" => serving::listen_anywhere(address),
        _ => bail!("unknown network technique `{technique}`"),
    }
}

fn socket(family: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: three numbers are handed over, nothing else.
    let number = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) };
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn socket_for(address: SocketAddr, kind: i32) -> anyhow::Result<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    socket(family, kind, 0).context("cannot make a socket")
}

/// `struct sockaddr_in` or `struct sockaddr_in6`.
fn encode(address: SocketAddr) -> Vec<u8> {
    let port = address.port().to_be_bytes();
    match address.ip() {
        IpAddr::V4(ip) => [&family(libc::AF_INET)[..], &port, &ip.octets(), &[0; 8]].concat(),
        IpAddr::V6(ip) => [&family(libc::AF_INET6)[..], &port, &[0; 4], &ip.octets(), &[0; 4]].concat(),
    }
}

fn family(family: i32) -> [u8; 2] {
    u16::try_from(family).unwrap_or_default().to_ne_bytes()
}

/// The same address inside IPv6.
fn mapped(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    SocketAddr::new(ip.into(), address.port())
}

/// Every address of the family.
fn anywhere(address: SocketAddr) -> SocketAddr {
    let ip: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    SocketAddr::new(ip, address.port())
}

fn connect(socket: &impl AsRawFd, address: &[u8]) -> io::Result<()> {
    connect_raw(socket.as_raw_fd(), address)
}

fn connect_raw(socket: i32, address: &[u8]) -> io::Result<()> {
    // SAFETY: address and length describe a slice.
    answer(unsafe { libc::connect(socket, address.as_ptr().cast(), length(address)) })
}

fn set_option(socket: &impl AsRawFd, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    // SAFETY: value and length describe a slice.
    answer(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value.as_ptr().cast(), length(value)) })
}

fn length(bytes: &[u8]) -> libc::socklen_t {
    libc::socklen_t::try_from(bytes.len()).unwrap_or_default()
}

fn answer(code: i32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
