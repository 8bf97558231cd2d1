//! A ring of io_uring, as small as one operation needs.

use std::{
    ffi::CStr,
    fs::File,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    ptr::null_mut,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::Attempt;

const ENTRIES: u32 = 4;
const SETUP_SQPOLL: u32 = 2;
const ENTER_GETEVENTS: u32 = 1;
const REGISTER_PERSONALITY: u32 = 9;
const OFFSET_RING: i64 = 0;
const OFFSET_ENTRIES: i64 = 0x1000_0000;
const OPERATION_OPENAT: u8 = 18;

/// `struct io_uring_params`
#[repr(C)]
#[derive(Default)]
struct Parameters {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    sq_thread_cpu: u32,
    sq_thread_idle: u32,
    features: u32,
    wq_fd: u32,
    reserved: [u32; 3],
    submission: Offsets,
    completion: Offsets,
}

/// `struct io_sqring_offsets`, and `struct io_cqring_offsets`, of the same size.
#[repr(C)]
#[derive(Default)]
struct Offsets {
    head: u32,
    tail: u32,
    mask: u32,
    entries: u32,
    flags_or_overflow: u32,
    dropped_or_entries: u32,
    array_or_flags: u32,
    reserved: u32,
    user: u64,
}

/// `struct io_uring_sqe` of an `openat(2)`.
#[repr(C)]
#[derive(Default)]
struct Entry {
    operation: u8,
    flags: u8,
    priority: u16,
    directory: i32,
    offset: u64,
    path: u64,
    mode: u32,
    open_flags: i32,
    user_data: u64,
    rest: [u64; 3],
}

fn setup(flags: u32) -> io::Result<(OwnedFd, Parameters)> {
    let mut parameters = Parameters { flags, ..Parameters::default() };
    // SAFETY: the structure is the kernel's, and may be written to.
    let number = unsafe { libc::syscall(libc::SYS_io_uring_setup, ENTRIES, &raw mut parameters) };
    let number = i32::try_from(number).map_err(io::Error::other)?;
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made it, and nothing else owns it.
    Ok((unsafe { OwnedFd::from_raw_fd(number) }, parameters))
}

/// A ring.
pub(crate) fn make() -> io::Result<()> {
    setup(0).map(drop)
}

/// A ring whose entries a thread of the kernel's takes.
pub(crate) fn make_polled() -> io::Result<()> {
    setup(SETUP_SQPOLL).map(drop)
}

/// Credentials for others to use, registered with a ring.
pub(crate) fn register_credentials() -> Attempt {
    let (ring, _) = setup(0)?;
    let nothing = null_mut::<libc::c_void>();
    // SAFETY: the operation takes no argument.
    let id = unsafe { libc::syscall(libc::SYS_io_uring_register, ring.as_raw_fd(), REGISTER_PERSONALITY, nothing, 0) };
    Ok(if id < 0 { Err(io::Error::last_os_error()) } else { Ok(()) })
}

/// Opens a file through a ring, always by a worker of the kernel's.
pub(crate) fn open_for_writing(path: &CStr) -> io::Result<File> {
    const ASYNC: u8 = 1 << 4;
    let (ring, parameters) = setup(0)?;
    let rings = map(&ring, OFFSET_RING)?;
    let entries = map(&ring, OFFSET_ENTRIES)?;
    let entry = Entry {
        operation: OPERATION_OPENAT,
        flags: ASYNC,
        directory: libc::AT_FDCWD,
        path: path.as_ptr() as u64,
        open_flags: libc::O_WRONLY,
        ..Entry::default()
    };
    // SAFETY: the first entry lies at the start of the mapping.
    unsafe { entries.cast::<Entry>().write(entry) };
    let word = |offset: u32| rings.wrapping_byte_add(offset as usize).cast::<u32>();
    // SAFETY: the offsets are the kernel's, within the mapping; index 0 names the entry above.
    unsafe { word(parameters.submission.array_or_flags).write(0) };
    // SAFETY: as above; the word is shared with the kernel and so changed atomically.
    unsafe { AtomicU32::from_ptr(word(parameters.submission.tail)) }.fetch_add(1, Ordering::Release);
    let nothing = null_mut::<libc::c_void>();
    // SAFETY: no signal mask is given.
    let done = unsafe { libc::syscall(libc::SYS_io_uring_enter, ring.as_raw_fd(), 1, 1, ENTER_GETEVENTS, nothing, 0) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    // Completions lie where `cqes` says, which is the sixth word of their offsets; the result follows eight bytes of user data.
    let completion = parameters.completion.dropped_or_entries;
    // SAFETY: the kernel has completed one entry.
    let result = unsafe { rings.wrapping_byte_add(completion as usize + 8).cast::<i32>().read_volatile() };
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result));
    }
    // SAFETY: the kernel just made it, and nothing else owns it.
    Ok(unsafe { File::from_raw_fd(result) })
}

fn map(ring: &OwnedFd, offset: i64) -> io::Result<*mut libc::c_void> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping of the kernel's choosing; it lives until the process ends.
    let address = unsafe { libc::mmap(null_mut(), 4096, access, libc::MAP_SHARED, ring.as_raw_fd(), offset) };
    if address == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(address) }
}
