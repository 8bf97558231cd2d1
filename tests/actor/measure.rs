//! What operations cost: nanoseconds of processor time of each, which under an instruction-counting emulator are guest instructions.
//! Time that other processes take meanwhile does not count; time of this process's children does.

use std::{
    ffi::CString,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{fd::AsRawFd as _, unix::ffi::OsStrExt as _},
    path::Path,
    time::Duration,
};

/// Runs `operation` as often as asked, after a tenth as many times for warmth, and prints the mean.
fn measure(times: u32, mut operation: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    for _ in 0..times.div_ceil(10) {
        operation()?;
    }
    let before = processor_time()?;
    for _ in 0..times {
        operation()?;
    }
    println!("{}", processor_time()?.saturating_sub(before).as_nanos() / u128::from(times.max(1)));
    Ok(())
}

/// What this process and its children that have ended have taken so far.
fn processor_time() -> io::Result<Duration> {
    let mut total = Duration::ZERO;
    for who in [libc::RUSAGE_SELF, libc::RUSAGE_CHILDREN] {
        // SAFETY: zeros are a valid value of this structure of integers.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: `usage` is valid for writes.
        if unsafe { libc::getrusage(who, &raw mut usage) } != 0 {
            return Err(io::Error::last_os_error());
        }
        for time in [usage.ru_utime, usage.ru_stime] {
            let micros = u64::try_from(time.tv_sec * 1_000_000 + time.tv_usec).map_err(io::Error::other)?;
            total += Duration::from_micros(micros);
        }
    }
    Ok(total)
}

/// `fork`, `execve` of `program` under the name of `true`, its `exit`, and `wait`.
pub(crate) fn fork_exec(program: &Path, times: u32) -> io::Result<()> {
    let path = CString::new(program.as_os_str().as_bytes())?;
    let arguments = [c"true".as_ptr(), std::ptr::null()];
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
