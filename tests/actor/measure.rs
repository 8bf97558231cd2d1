//! What operations cost: nanoseconds of each, which under an instruction-counting emulator are guest instructions.

use std::{
    ffi::CString,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{fd::AsRawFd as _, unix::ffi::OsStrExt as _},
    path::Path,
    time::{Duration, Instant},
};

/// Runs `operation` as often as asked, after a tenth as many times for warmth, and prints the mean.
fn measure(times: u32, mut operation: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    for _ in 0..times.div_ceil(10) {
        operation()?;
    }
    let start = Instant::now();
    for _ in 0..times {
        operation()?;
    }
    println!("{}", start.elapsed().as_nanos() / u128::from(times.max(1)));
    Ok(())
}

/// `fork`, `execve` of `program`, its `exit`, and `wait`.
pub(crate) fn fork_exec(program: &Path, times: u32) -> io::Result<()> {
    let path = CString::new(program.as_os_str().as_bytes())?;
    let arguments = [path.as_ptr(), std::ptr::null()];
    let environment = [std::ptr::null()];
    measure(times, || {
        // SAFETY: the child calls `execve` and `_exit` only; the arrays end with null and outlive the call.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                // SAFETY: as above.
                unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
                // SAFETY: ends the child.
                unsafe { libc::_exit(127) }
            }
            child => wait(child),
        }
    })
}

fn wait(child: i32) -> io::Result<()> {
    let mut status = 0;
    // SAFETY: `status` is valid for writes.
    if unsafe { libc::waitpid(child, &raw mut status, 0) } != child {
        return Err(io::Error::last_os_error());
    }
    if status == 0 { Ok(()) } else { Err(io::Error::other(format!("the program ended with {status}"))) }
}

/// `open` and `close`.
pub(crate) fn open_close(file: &Path, times: u32) -> io::Result<()> {
    measure(times, || std::fs::File::open(file).map(drop))
}

/// `mmap` of a page with PROT_EXEC, and `munmap`.
pub(crate) fn map_exec(file: &Path, times: u32) -> io::Result<()> {
    const PAGE: usize = 4096;
    let file = std::fs::File::open(file)?;
    let protection = libc::PROT_READ | libc::PROT_EXEC;
    measure(times, || {
        // SAFETY: a new mapping of the kernel's choosing.
        let page =
            unsafe { libc::mmap(std::ptr::null_mut(), PAGE, protection, libc::MAP_PRIVATE, file.as_raw_fd(), 0) };
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the mapping made above, which nothing refers to.
        if unsafe { libc::munmap(page, PAGE) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    })
}

/// A TCP connection to a listener of its own: `socket`, `connect`, `accept`, and both `close`s.
pub(crate) fn connect(address: SocketAddr, times: u32) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    measure(times, || {
        let client = TcpStream::connect(address)?;
        // A reset, so that no connection lingers and thousands of them do not run out of ports.
        rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO))?;
        listener.accept().map(drop)
    })
}

/// `connect` of a datagram socket, again and again: the kernel notes an address and a route, and sends nothing.
pub(crate) fn connect_udp(address: SocketAddr, times: u32) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    measure(times, || socket.connect(address))
}
