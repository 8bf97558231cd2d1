//! Processes that live longer than one attempt.

use std::{
    io,
    mem::MaybeUninit,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
};

use anyhow::bail;

use crate::Attempt;

/// Sleeps until SIGTERM. As a container's first process it also collects children that others left behind.
pub(crate) fn wait() -> Attempt {
    let mut awaited = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the call fills the set it is given.
    unsafe { libc::sigemptyset(awaited.as_mut_ptr()) };
    // SAFETY: initialised above.
    let mut awaited = unsafe { awaited.assume_init() };
    for signal in [libc::SIGTERM, libc::SIGCHLD] {
        // SAFETY: the set is valid, and so are the signals.
        unsafe { libc::sigaddset(&raw mut awaited, signal) };
    }
    // SAFETY: the set is valid; the old one is not asked for.
    if unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const awaited, std::ptr::null_mut()) } != 0 {
        bail!("cannot block signals: {}", io::Error::last_os_error());
    }
    loop {
        let mut signal = 0;
        // SAFETY: the set is valid, and `signal` may be written to.
        match unsafe { libc::sigwait(&raw const awaited, &raw mut signal) } {
            0 if signal == libc::SIGTERM => return Ok(Ok(())),
            0 => collect_children(),
            code => bail!("sigwait: {}", io::Error::from_raw_os_error(code)),
        }
    }
}

fn collect_children() {
    // SAFETY: no status is asked for, so nothing is written.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0 {}
}

/// Has children, at most `count` at a time, until the kernel refuses one; prints how many there were and why there are no more.
pub(crate) fn fork_until_refused(count: usize) -> io::Result<()> {
    let mut children = Vec::new();
    let mut refusal = None;
    while children.len() < count && refusal.is_none() {
        // SAFETY: the child waits for its end and touches nothing.
        match unsafe { libc::fork() } {
            -1 => refusal = io::Error::last_os_error().raw_os_error(),
            0 => loop {
                // SAFETY: waits for a signal, and none but SIGKILL comes.
                unsafe { libc::pause() };
            },
            child => children.push(child),
        }
    }
    let why = match refusal {
        Some(libc::ENOMEM) => "ENOMEM".to_owned(),
        Some(other) => format!("error {other}"),
        None => "enough".to_owned(),
    };
    println!("{} {why}", children.len());
    for child in children {
        // SAFETY: no memory is involved.
        if unsafe { libc::kill(child, libc::SIGKILL) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: no status is asked for, so nothing is written.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    }
    Ok(())
}

/// Executes `file` and connects to `address`, in turns, until `stop` exists; prints the tally. Whatever is not answered with
/// `EPERM` counts as a success: the policy was not in force.
pub(crate) fn deny_loop(file: &str, address: SocketAddr, stop: &Path) {
    let (mut executed, mut connected, mut denied) = (0_u64, 0_u64, 0_u64);
    let is_denied = |error: &io::Error| error.raw_os_error() == Some(libc::EPERM);
    while !stop.exists() {
        match Command::new(file).status() {
            Err(error) if is_denied(&error) => denied += 1,
            Ok(_) | Err(_) => executed += 1,
        }
        match TcpStream::connect(address) {
            Err(error) if is_denied(&error) => denied += 1,
            Ok(_) | Err(_) => connected += 1,
        }
    }
    println!("executed={executed} connected={connected} denied={denied}");
}

/// Executes `file` `count` times and prints the tally.
pub(crate) fn fork_exec_loop(file: &str, count: u64) {
    let (mut succeeded, mut denied, mut other) = (0_u64, 0_u64, 0_u64);
    for _ in 0..count {
        match Command::new(file).status() {
            Ok(status) if status.success() => succeeded += 1,
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => denied += 1,
            Ok(_) | Err(_) => other += 1,
        }
    }
    println!("succeeded={succeeded} eperm={denied} other={other}");
}
