//! Ways to get executable memory without `execve`.

use std::{ffi::CString, fs::File, io, os::fd::AsRawFd as _, ptr::NonNull};

use anyhow::{Context as _, bail};

use crate::Attempt;

/// Bytes mapped; one page is enough to be told yes or no.
const LENGTH: usize = 4096;

/// Through the dynamic loader.
pub(crate) fn dlopen(library: &str) -> Attempt {
    let path = CString::new(library)?;
    // SAFETY: the path is NUL-terminated; the constructor of the test library only writes a line.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    if !handle.is_null() {
        return Ok(Ok(()));
    }
    // SAFETY: `dlopen` just failed, so there is a message.
    let message = unsafe { libc::dlerror() };
    // SAFETY: `dlerror` returns a NUL-terminated string that lives until the next call.
    let message = unsafe { std::ffi::CStr::from_ptr(message) }.to_string_lossy();
    if message.contains("failed to map segment") {
        return Ok(Err(io::Error::from_raw_os_error(libc::EPERM)));
    }
    bail!("dlopen: {message}");
}

/// A file mapped readable and executable.
pub(crate) fn map(file: &str) -> Attempt {
    let file = open(file)?;
    Ok(mmap(Some(&file), libc::PROT_READ | libc::PROT_EXEC).map(drop))
}

/// A file mapped readable, then made executable.
pub(crate) fn protect(file: &str) -> Attempt {
    let file = open(file)?;
    let page = mmap(Some(&file), libc::PROT_READ).context("cannot map the file")?;
    Ok(mprotect(page, libc::PROT_READ | libc::PROT_EXEC))
}

/// A private file mapping that is changed, then made executable.
pub(crate) fn modified(file: &str) -> Attempt {
    let file = open(file)?;
    let page = mmap(Some(&file), libc::PROT_READ | libc::PROT_WRITE).context("cannot map the file")?;
    write(page);
    Ok(mprotect(page, libc::PROT_READ | libc::PROT_EXEC))
}

/// A private file mapping that is writable and executable at once.
pub(crate) fn writable(file: &str) -> Attempt {
    let file = open(file)?;
    Ok(mmap(Some(&file), libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC).map(write))
}

/// Memory without a file, writable and executable at once.
pub(crate) fn anonymous() -> io::Result<()> {
    mmap(None, libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC).map(write)
}

/// Memory without a file, written, then made executable.
pub(crate) fn anonymous_protect() -> Attempt {
    let page = mmap(None, libc::PROT_READ | libc::PROT_WRITE).context("cannot map memory")?;
    write(page);
    Ok(mprotect(page, libc::PROT_READ | libc::PROT_EXEC))
}

fn open(file: &str) -> anyhow::Result<File> {
    File::open(file).with_context(|| format!("cannot open `{file}`"))
}

/// Maps one page privately. It stays mapped until the process ends.
fn mmap(file: Option<&File>, protection: libc::c_int) -> io::Result<NonNull<u8>> {
    let (flags, descriptor) = match file {
        Some(file) => (libc::MAP_PRIVATE, file.as_raw_fd()),
        None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1),
    };
    // SAFETY: the kernel chooses the address, so no existing mapping is replaced.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), LENGTH, protection, flags, descriptor, 0) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(address.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))
}

fn mprotect(page: NonNull<u8>, protection: libc::c_int) -> io::Result<()> {
    // SAFETY: the page is one of this module's mappings, and no Rust reference points into it.
    match unsafe { libc::mprotect(page.as_ptr().cast(), LENGTH, protection) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn write(page: NonNull<u8>) {
    // SAFETY: callers pass a page that they mapped writable.
    unsafe { page.write_volatile(0xC3) };
}
