//! The container's loopback interface, with the addresses that the tests speak to.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::Context as _;

use super::{answer, encode, socket};

/// Bytes of an interface's name in requests.
const NAME: usize = 16;
/// Bytes of what comes after it.
const UNION: usize = 24;
/// The index of every network namespace's loopback interface.
const LOOPBACK_INDEX: i32 = 1;

/// Brings it up: all of 10.0.0.0/8 is the machine's own then, and so are two IPv6 addresses. Does no harm a second time.
pub(super) fn up() -> anyhow::Result<()> {
    let ipv4 = socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    let flags = libc::IFF_UP | libc::IFF_RUNNING;
    request(&ipv4, libc::SIOCSIFFLAGS, &named("lo", &flags.to_ne_bytes())).context("cannot bring loopback up")?;
    for (what, address) in
        [(libc::SIOCSIFADDR, Ipv4Addr::new(10, 0, 0, 1)), (libc::SIOCSIFNETMASK, Ipv4Addr::new(255, 0, 0, 0))]
    {
        let value = encode(SocketAddr::new(address.into(), 0));
        request(&ipv4, what, &named("lo:0", &value)).context("cannot add an IPv4 address")?;
    }
    let ipv6 = socket(libc::AF_INET6, libc::SOCK_DGRAM, 0)?;
    for address in [Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 1)] {
        // Address, length of the prefix, interface.
        let value = [&address.octets()[..], &128_u32.to_ne_bytes(), &LOOPBACK_INDEX.to_ne_bytes()].concat();
        match request(&ipv6, libc::SIOCSIFADDR, &value) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.context("cannot add an IPv6 address")?,
        }
    }
    Ok(())
}

/// `struct ifreq`
fn named(name: &str, value: &[u8]) -> Vec<u8> {
    let mut request = name.as_bytes().to_vec();
    request.resize(NAME, 0);
    request.extend_from_slice(value);
    request.resize(NAME + UNION, 0);
    request
}

fn request(socket: &OwnedFd, number: libc::Ioctl, value: &[u8]) -> io::Result<()> {
    let mut value = value.to_vec();
    // SAFETY: the kernel reads and writes no more than the structure that the request number names, which the vector holds.
    answer(unsafe { libc::ioctl(socket.as_raw_fd(), number, value.as_mut_ptr()) })
}
