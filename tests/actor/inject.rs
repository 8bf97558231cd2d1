//! Ways to put code into memory that no mapping check sees, and to look into other processes.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::{fd::FromRawFd as _, unix::fs::FileExt as _},
};

use anyhow::{Context as _, bail};

use crate::{
    Attempt,
    child::{Child, answer, died_for_it, plain},
    ring::{self, Request},
};

/// Attaches to a child.
pub(crate) fn attach(request: &str) -> Attempt {
    let child = Child::waiting()?;
    let request = match request {
        "attach" => libc::PTRACE_ATTACH,
        "seize" => libc::PTRACE_SEIZE,
        _ => bail!("no such request"),
    };
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: neither request reads or writes memory of this process.
    Ok(answer(unsafe { libc::ptrace(request, child.id(), nothing, nothing) }))
}

/// A child lets itself be traced, and its code is changed.
pub(crate) fn trace_me() -> Attempt {
    let nothing = std::ptr::null_mut::<libc::c_void>();
    let child = Child::fork(|| match plain(libc::SYS_ptrace, [libc::PTRACE_TRACEME.into(), 0, 0, 0, 0]) {
        Ok(_) => plain(libc::SYS_kill, [std::process::id().into(), libc::SIGSTOP.into(), 0, 0, 0]).map_or(255, |_| 0),
        Err(error) => error.raw_os_error().unwrap_or(255),
    })?;
    let status = child.status()?;
    if libc::WIFEXITED(status) {
        return Ok(Err(io::Error::from_raw_os_error(libc::WEXITSTATUS(status))));
    }
    let code = trace_me as *const () as usize & !7;
    // SAFETY: the child is stopped and traced, and the address is of code that it shares with this program.
    let word = unsafe { libc::ptrace(libc::PTRACE_PEEKTEXT, child.id(), code, nothing) };
    // SAFETY: as above; the same word is written back, into a page of the child's own.
    Ok(answer(unsafe { libc::ptrace(libc::PTRACE_POKETEXT, child.id(), code, word) }))
}

/// Writes into a child's memory, or reads from it.
pub(crate) fn process_memory(write: bool) -> Attempt {
    let mut there = 0_u64;
    let mut here = 7_u64;
    let child = Child::waiting()?;
    let local = libc::iovec { iov_base: (&raw mut here).cast(), iov_len: 8 };
    let remote = libc::iovec { iov_base: (&raw mut there).cast(), iov_len: 8 };
    let call = if write { libc::SYS_process_vm_writev } else { libc::SYS_process_vm_readv };
    // SAFETY: both vectors name eight bytes, and the child's copy of the stack has the same address.
    let count =
        unsafe { libc::syscall(call, child.id(), &raw const local, 1_usize, &raw const remote, 1_usize, 0_usize) };
    Ok(answer(count))
}

/// Opens a child's memory for writing.
pub(crate) fn memory_of_child() -> Attempt {
    let child = Child::waiting()?;
    let file = OpenOptions::new().write(true).open(format!("/proc/{}/mem", child.id()));
    Ok(match file {
        // Procfs has one answer for whatever kept it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(io::Error::from_raw_os_error(libc::EPERM)),
        other => other.map(drop),
    })
}

/// Takes a descriptor out of a child.
pub(crate) fn descriptor_of_child() -> Attempt {
    let child = Child::waiting()?;
    let pidfd = plain(libc::SYS_pidfd_open, [child.id().into(), 0, 0, 0, 0]).context("pidfd_open")?;
    Ok(plain(libc::SYS_pidfd_getfd, [pidfd, 0, 0, 0, 0]).map(drop))
}

/// Changes code of this program, in a child, through its own `/proc/self/mem`.
pub(crate) fn own_memory() -> Attempt {
    died_for_it(|| {
        let memory = OpenOptions::new().write(true).open("/proc/self/mem")?;
        change_code(&memory)
    })
}

/// The same through a descriptor that is opened by an io_uring worker or the ring's submitter.
pub(crate) fn own_memory_by_ring() -> Attempt {
    died_for_it(|| {
        let about = Request::about(ring::OPENAT, c"/proc/self/mem");
        let request = Request { flags: ring::ASYNC, operation_flags: libc::O_WRONLY, ..about };
        let number = ring::outcome(ring::submit(request)?)?;
        // SAFETY: the kernel just made it, and nothing else owns it.
        change_code(&unsafe { File::from_raw_fd(number) })
    })
}

/// The first byte of a function nobody calls, written as it is: only a copy of the page makes that possible.
fn change_code(memory: &File) -> io::Result<()> {
    let code = never_called as *const () as u64;
    memory.write_all_at(&[0x90], code)?;
    // SAFETY: the address is of code in this program.
    if unsafe { std::ptr::read_volatile(code as *const u8) } == 0x90 {
        Ok(())
    } else {
        Err(io::Error::other("no change"))
    }
}

#[inline(never)]
extern "C" fn never_called() -> u64 {
    std::hint::black_box(0x1234_5678)
}

/// What must go on working: looking at processes as `ps` does, and reading one's own memory.
pub(crate) fn look() -> Attempt {
    let child = Child::waiting()?;
    for name in ["stat", "status", "cmdline", "environ", "maps"] {
        let path = format!("/proc/{}/{name}", child.id());
        let read = std::fs::read(&path);
        if let Err(error) = read {
            return Ok(Err(error));
        }
    }
    Ok(File::open("/proc/self/mem").and_then(|memory| {
        let mut byte = [0];
        memory.read_exact_at(&mut byte, never_called as *const () as u64)
    }))
}

/// Says something on standard error, for a person who looks at a failure.
pub(crate) fn say(text: &str) {
    let _nobody_listens = io::stderr().write_all(text.as_bytes());
}
