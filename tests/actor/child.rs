//! Children that live for one attempt.

use std::{io, process::exit};

use anyhow::{Context as _, bail};

use crate::Attempt;

/// A child; it is killed when dropped.
pub(crate) struct Child(libc::pid_t);

impl Child {
    /// Forks; the child ends with what `run` answers, an error number or 0.
    pub(crate) fn fork(run: impl FnOnce() -> i32) -> anyhow::Result<Self> {
        // SAFETY: this program has one thread, so the child may do whatever it could.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()).context("fork"),
            0 => exit(run()),
            child => Ok(Self(child)),
        }
    }

    /// One that waits to be killed.
    pub(crate) fn waiting() -> anyhow::Result<Self> {
        Self::fork(|| {
            loop {
                // SAFETY: no memory is involved.
                unsafe { libc::pause() };
            }
        })
    }

    pub(crate) fn id(&self) -> libc::pid_t {
        self.0
    }

    /// Waits until it stops or ends; its status as `waitpid(2)` has it.
    pub(crate) fn status(&self) -> anyhow::Result<i32> {
        let mut status = 0;
        // SAFETY: `status` may be written to.
        match unsafe { libc::waitpid(self.0, &raw mut status, libc::WUNTRACED) } {
            -1 => Err(io::Error::last_os_error()).context("waitpid"),
            _ => Ok(status),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: it is this program's child, and its number is taken until it is waited for.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
        // SAFETY: no status is asked for.
        unsafe { libc::waitpid(self.0, std::ptr::null_mut(), 0) };
    }
}

/// An answer of the kernel.
pub(crate) fn answer(result: impl Into<i64>) -> io::Result<()> {
    if result.into() < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A system call none of whose arguments is a pointer; zeros where there are fewer.
pub(crate) fn plain(number: libc::c_long, arguments: [libc::c_long; 5]) -> io::Result<libc::c_long> {
    let [first, second, third, fourth, fifth] = arguments;
    // SAFETY: integers alone cannot make the kernel touch this process's memory.
    let result = unsafe { libc::syscall(number, first, second, third, fourth, fifth) };
    answer(result).map(|()| result)
}

/// Tries something in a child. Where no hook can refuse, the kernel kills the task before it is done; that is a denial too.
pub(crate) fn died_for_it(attempt: impl FnOnce() -> io::Result<()>) -> Attempt {
    let child = Child::fork(|| match attempt() {
        Ok(()) => 0,
        Err(error) => error.raw_os_error().unwrap_or(255),
    })?;
    let status = child.status()?;
    if libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL {
        crate::inject::say("killed\n");
        return Ok(Err(io::Error::from_raw_os_error(libc::EPERM)));
    }
    if !libc::WIFEXITED(status) {
        bail!("the child ended with status {status:#x}");
    }
    Ok(match libc::WEXITSTATUS(status) {
        0 => Ok(()),
        number => Err(io::Error::from_raw_os_error(number)),
    })
}
