//! Ways to be reached.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsRawFd, OwnedFd},
};

use anyhow::{Context as _, bail};

use super::{connect, connecting::listener, encode, length, set_option, socket, socket_for};
use crate::Attempt;

/// Milliseconds that an answer may take: a peer that is refused gets none.
const PATIENCE: i32 = 2_000;

/// Binds.
pub(super) fn bind(address: SocketAddr, kind: i32) -> Attempt {
    let server = socket_for(address, kind)?;
    // Connections that ended not long ago may still have the port.
    set_option(&server, libc::SOL_SOCKET, libc::SO_REUSEADDR, &1_i32.to_ne_bytes()).context("SO_REUSEADDR")?;
    Ok(bind_to(&server, address))
}

/// Binds to an address that need not be the machine's own.
pub(super) fn bind_free(address: SocketAddr) -> Attempt {
    let server = socket_for(address, libc::SOCK_STREAM)?;
    set_option(&server, libc::SOL_IP, libc::IP_FREEBIND, &1_i32.to_ne_bytes()).context("IP_FREEBIND")?;
    Ok(bind_to(&server, address))
}

/// Listens without binding, so that the kernel chooses the port.
pub(super) fn listen_unbound() -> io::Result<()> {
    listen(&socket(libc::AF_INET, libc::SOCK_STREAM, 0)?)
}

/// Binds as clients do, then listens.
pub(super) fn listen_anywhere(address: SocketAddr) -> Attempt {
    let server = socket_for(address, libc::SOCK_STREAM)?;
    bind_to(&server, SocketAddr::new(address.ip(), 0)).context("cannot bind without a port")?;
    Ok(listen(&server))
}

/// Connects from one of the machine's own addresses, and takes the connection. No answer is what a peer gets that is refused, so
/// it counts as a denial; whether Plimsoll gave it, its event tells.
pub(super) fn accept(from: SocketAddr, to: SocketAddr) -> Attempt {
    let server = listener(to)?;
    let client = socket_for(from, libc::SOCK_STREAM | libc::SOCK_NONBLOCK)?;
    bind_to(&client, from).context("cannot bind the client")?;
    match connect(&client, &encode(to)) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error).context("cannot connect"),
        Ok(()) | Err(_) => {}
    }
    if !becomes_ready(&client, libc::POLLOUT)? {
        return Ok(Err(io::Error::from_raw_os_error(libc::EPERM)));
    }
    // The client hears of the connection before the server does.
    becomes_ready(&server, libc::POLLIN)?;
    match server.accept() {
        Ok((_, peer)) if peer.ip() == from.ip() => Ok(Ok(())),
        Ok((_, peer)) => bail!("somebody else connected: {peer}"),
        Err(error) => Err(error).context("the client connected, but not to the server"),
    }
}

fn bind_to(socket: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    let address = encode(address);
    // SAFETY: address and length describe a slice.
    super::answer(unsafe { libc::bind(socket.as_raw_fd(), address.as_ptr().cast(), length(&address)) })
}

fn listen(socket: &OwnedFd) -> io::Result<()> {
    // SAFETY: two numbers are handed over, nothing else.
    super::answer(unsafe { libc::listen(socket.as_raw_fd(), 1) })
}

/// Whether a socket gets ready for `event`, without an error.
pub(super) fn becomes_ready(socket: &impl AsRawFd, event: i16) -> io::Result<bool> {
    let mut entry = libc::pollfd { fd: socket.as_raw_fd(), events: event, revents: 0 };
    // SAFETY: one entry, which is valid for writes.
    match unsafe { libc::poll(&raw mut entry, 1, PATIENCE) } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(false),
        _ => Ok(entry.revents & libc::POLLERR == 0),
    }
}
