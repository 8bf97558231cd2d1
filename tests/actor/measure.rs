//! What operations cost: nanoseconds of processor time of each, which under an instruction-counting emulator are guest instructions.
//! Time that other processes take meanwhile does not count; time of this process's children does. Behind it stands the time that
//! went by, in which everything counts that the machine did meanwhile.

use std::{
    ffi::{CStr, CString},
    io,
    marker::PhantomData,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{fd::AsRawFd as _, unix::ffi::OsStrExt as _},
    path::Path,
    time::{Duration, Instant},
};

/// Runs `operation` as often as asked, after a tenth as many times for warmth, and prints the means.
fn measure(times: u32, mut operation: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    for _ in 0..times.div_ceil(10) {
        operation()?;
    }
    timed(times, || (0..times).try_for_each(|_| operation()))
}

/// Runs `operation` once, and prints what each of the `times` parts that it has took.
fn timed(times: u32, operation: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let (processor, clock) = (processor_time()?, Instant::now());
    operation()?;
    let (clock, processor) = (clock.elapsed(), processor_time()?.saturating_sub(processor));
    let mean = |time: Duration| time.as_nanos() / u128::from(times.max(1));
    println!("{} {}", mean(processor), mean(clock));
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
    measure(times, || execute(&path, &[c"true"]))
}

/// The same for every file of a directory in turn, each once for warmth.
pub(crate) fn fork_exec_each(directory: &Path) -> io::Result<()> {
    let paths = std::fs::read_dir(directory)?.map(|entry| Ok(CString::new(entry?.path().as_os_str().as_bytes())?));
    let paths: Vec<CString> = paths.collect::<io::Result<_>>()?;
    let pass = || paths.iter().try_for_each(|path| execute(path, &[c"true"]));
    pass()?;
    timed(u32::try_from(paths.len()).map_err(io::Error::other)?, pass)
}

/// A command with arguments, from start to end.
pub(crate) fn run(times: u32, command: &[&str]) -> io::Result<()> {
    let words: Vec<CString> = command.iter().map(|word| CString::new(*word)).collect::<Result<_, _>>()?;
    let words: Vec<&CStr> = words.iter().map(CString::as_c_str).collect();
    let program = *words.first().ok_or(io::ErrorKind::InvalidInput)?;
    measure(times, || execute(program, &words))
}

/// `fork`, `exit` and `wait`.
pub(crate) fn spawn(times: u32) -> io::Result<()> {
    measure(times, || fork_and(|| 0))
}

/// A process that replaces itself by this program, again and again.
pub(crate) fn chain(times: u32) -> io::Result<()> {
    let once = |times: u32| {
        let count = CString::new(times.to_string())?;
        execute(c"/proc/self/exe", &[c"plimsoll-actor", c"measure-link", &count])
    };
    once(times.div_ceil(10))?;
    timed(times, || once(times))
}

/// One process of such a chain; `left` come after it.
pub(crate) fn link(left: u32) -> io::Result<()> {
    let Some(left) = left.checked_sub(1) else { return Ok(()) };
    let count = CString::new(left.to_string())?;
    Err(replace(c"/proc/self/exe", &Arguments::new(&[c"plimsoll-actor", c"measure-link", &count])))
}

/// `dlopen` and `dlclose`.
pub(crate) fn load(library: &Path, times: u32) -> io::Result<()> {
    let path = CString::new(library.as_os_str().as_bytes())?;
    measure(times, || {
        // SAFETY: the path is a C string; the library's constructors are those of a listed package.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
        if handle.is_null() {
            return Err(io::Error::other(format!("{path:?} cannot be loaded")));
        }
        // SAFETY: the handle of the call above, which nothing refers to.
        if unsafe { libc::dlclose(handle) } == 0 { Ok(()) } else { Err(io::Error::other("it stays loaded")) }
    })
}

/// A child process that becomes `program`, and its end.
fn execute(program: &CStr, arguments: &[&CStr]) -> io::Result<()> {
    let arguments = Arguments::new(arguments);
    fork_and(|| {
        let _error = replace(program, &arguments);
        127
    })
}

/// Runs `child`, which may make system calls and nothing else, in a child process; its answer is the exit status.
fn fork_and(child: impl FnOnce() -> i32) -> io::Result<()> {
    // SAFETY: this process has one thread, so that the child may do what this one may.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let status = child();
            // SAFETY: ends the child.
            unsafe { libc::_exit(status) }
        }
        child => wait(child),
    }
}

/// Pointers to arguments, with a null behind them.
struct Arguments<'a>(Vec<*const libc::c_char>, PhantomData<&'a CStr>);

impl<'a> Arguments<'a> {
    fn new(words: &[&'a CStr]) -> Self {
        Self(words.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect(), PhantomData)
    }
}

/// `execve` without an environment; comes back only with an error.
fn replace(program: &CStr, arguments: &Arguments<'_>) -> io::Error {
    let environment = [std::ptr::null()];
    // SAFETY: the arrays end with null, and what they point to outlives the call.
    unsafe { libc::execve(program.as_ptr(), arguments.0.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
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
