//! Ways to connect.

use std::{
    io::{self, IoSlice, IoSliceMut, Write as _},
    mem::MaybeUninit,
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    process::{Command, ExitStatus, Stdio},
};

use anyhow::{Context as _, bail};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

use super::{ALLOWED, anywhere, connect, encode, interface, mapped, serving, set_option, socket, socket_for};
use crate::{
    Attempt, DENIED,
    ring::{self, Request},
};

/// TCP.
pub(super) fn tcp(address: SocketAddr) -> Attempt {
    let listener = listener(address)?;
    let client = socket_for(address, libc::SOCK_STREAM)?;
    reached(&listener, connect(&client, &encode(address)))
}

/// TCP over IPv6, to an IPv4 address.
pub(super) fn tcp_mapped(address: SocketAddr) -> Attempt {
    let listener = listener(address)?;
    let client = socket(libc::AF_INET6, libc::SOCK_STREAM, 0)?;
    reached(&listener, connect(&client, &encode(mapped(address))))
}

/// TCP over IPv6, with an address that ends before its scope.
pub(super) fn tcp_short(address: SocketAddr) -> Attempt {
    let listener = listener(address)?;
    let client = socket_for(address, libc::SOCK_STREAM)?;
    let whole = encode(address);
    let (short, _scope) = whole.split_at_checked(24).context("not an IPv6 address")?;
    reached(&listener, connect(&client, short))
}

/// TCP, by sending: `connect` is never called.
pub(super) fn fast_open(address: SocketAddr) -> Attempt {
    let listener = listener(address)?;
    let client = socket_for(address, libc::SOCK_STREAM)?;
    reached(&listener, super::sending::send(&client, b"x", &encode(address), libc::MSG_FASTOPEN))
}

/// TCP, where `connect` only notes the address and the first write connects.
pub(super) fn fast_open_connect(address: SocketAddr) -> Attempt {
    const TCP_FASTOPEN_CONNECT: i32 = 30;
    let listener = listener(address)?;
    let client = socket_for(address, libc::SOCK_STREAM)?;
    set_option(&client, libc::SOL_TCP, TCP_FASTOPEN_CONNECT, &1_i32.to_ne_bytes()).context("TCP_FASTOPEN_CONNECT")?;
    let connected = connect(&client, &encode(address)).and_then(|()| TcpStream::from(client).write_all(b"x"));
    reached(&listener, connected)
}

/// TCP, by io_uring.
pub(super) fn by_ring(address: SocketAddr) -> Attempt {
    let listener = listener(address)?;
    let client = socket_for(address, libc::SOCK_STREAM)?;
    let (descriptor, address) = (client.as_raw_fd(), encode(address));
    let (offset, place) = (address.len() as u64, address.as_ptr().addr() as u64);
    let request = Request { operation: ring::CONNECT, descriptor, offset, address: place, ..Request::default() };
    reached(&listener, ring::outcome(ring::submit(request)?).map(drop))
}

/// TCP, with a socket that another program made.
pub(super) fn inherited(address: SocketAddr) -> Attempt {
    let listener = listener(address)?;
    let client = socket_for(address, libc::SOCK_STREAM)?;
    let number = client.as_raw_fd();
    let mut command = myself(&["connect-descriptor", &number.to_string(), &address.to_string()])?;
    let keep = move || {
        // SAFETY: one system call on a number.
        super::answer(unsafe { libc::fcntl(number, libc::F_SETFD, 0) })
    };
    // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(keep) };
    let status = command.status().context("cannot start this program again")?;
    reached(&listener, outcome(status)?)
}

/// TCP, with a socket that another process passed over a Unix socket.
pub(super) fn passed(address: SocketAddr) -> Attempt {
    let listener = listener(address)?;
    let client = socket_for(address, libc::SOCK_STREAM)?;
    let (ours, theirs) = UnixStream::pair().context("socketpair")?;
    let mut command = myself(&["connect-received", &address.to_string()])?;
    let mut child = command.stdin(Stdio::from(OwnedFd::from(theirs))).spawn().context("cannot start this program")?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [client.as_fd()];
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        bail!("no room for one descriptor");
    }
    rustix::net::sendmsg(&ours, &[IoSlice::new(b"x")], &mut control, SendFlags::empty()).context("cannot pass it")?;
    reached(&listener, outcome(child.wait()?)?)
}

/// The other side of [`passed`]: the socket comes by standard input.
pub(super) fn received(address: SocketAddr) -> Attempt {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    rustix::net::recvmsg(io::stdin(), &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::empty())?;
    let descriptors = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(connect(&descriptors.context("no descriptor came")?, &encode(address)))
}

/// TCP, in a network namespace of its own.
pub(super) fn in_new_namespace(address: SocketAddr) -> Attempt {
    // SAFETY: the process has one thread.
    super::answer(unsafe { libc::unshare(libc::CLONE_NEWNET) }).context("cannot unshare the network")?;
    interface::up()?;
    tcp(address)
}

/// UDP.
pub(super) fn udp(address: SocketAddr) -> Attempt {
    Ok(connect(&socket_for(address, libc::SOCK_DGRAM)?, &encode(address)))
}

/// UDP, connected to an allowed address first.
pub(super) fn udp_again(address: SocketAddr) -> Attempt {
    let client = socket_for(address, libc::SOCK_DGRAM)?;
    connect(&client, &encode(ALLOWED)).context("cannot connect where it is allowed")?;
    Ok(connect(&client, &encode(address)))
}

/// UDP over IPv6, with an address of IPv4's own form.
pub(super) fn udp_of_other_family(address: SocketAddr) -> Attempt {
    Ok(connect(&socket(libc::AF_INET6, libc::SOCK_DGRAM, 0)?, &encode(address)))
}

/// A server for the address, bound to all addresses: policies restrict what it may be bound to as well.
pub(super) fn listener(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener =
        TcpListener::bind(anywhere(address)).with_context(|| format!("cannot listen at port {}", address.port()))?;
    // What was not connected is not waited for.
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A connection that the client thinks it has must have come to the server.
fn reached(listener: &TcpListener, connected: io::Result<()>) -> Attempt {
    if connected.is_ok() {
        // The client hears of the connection before the server does.
        serving::becomes_ready(listener, libc::POLLIN)?;
        listener.accept().context("the client connected, but not to the server")?;
    }
    Ok(connected)
}

fn myself(arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("network").args(arguments);
    Ok(command)
}

fn outcome(status: ExitStatus) -> Attempt {
    match status.code() {
        Some(0) => Ok(Ok(())),
        Some(code) if code == i32::from(DENIED) => Ok(Err(io::Error::from_raw_os_error(libc::EPERM))),
        _ => bail!("the other program ended with {status}"),
    }
}
