//! The least of `io_uring` that one request needs.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    ptr::{self, NonNull},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::Attempt;

const ENTRIES: u32 = 4;
/// A page holds both rings, and another one their entries.
const MAPPED: usize = 4096;
const OFFSET_RINGS: i64 = 0;
const OFFSET_ENTRIES: i64 = 0x1000_0000;
const SETUP_SQPOLL: u32 = 2;
const ENTER_GETEVENTS: u32 = 1;
const REGISTER_PERSONALITY: u32 = 9;

pub(crate) const OPENAT: u8 = 18;
pub(crate) const UNLINKAT: u8 = 36;
pub(crate) const CONNECT: u8 = 16;
/// `IOSQE_ASYNC`: a worker of the kernel's does it, always.
pub(crate) const ASYNC: u8 = 1 << 4;

/// `struct io_uring_params`
#[repr(C)]
#[derive(Default)]
struct Parameters {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    more: [u32; 7],
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
    dropped_or_completions: u32,
    array_or_flags: u32,
    reserved: u32,
    user: u64,
}

/// `struct io_uring_sqe`; what a field means depends on the operation.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Request {
    pub(crate) operation: u8,
    pub(crate) flags: u8,
    pub(crate) priority: u16,
    /// What it is about, or the directory that a path begins in.
    pub(crate) descriptor: RawFd,
    /// An offset, or the length of a socket's address.
    pub(crate) offset: u64,
    /// Of a path, or of a socket's address. It must be valid until the answer is there.
    pub(crate) address: u64,
    pub(crate) length: u32,
    pub(crate) operation_flags: i32,
    pub(crate) user_data: u64,
    pub(crate) rest: [u64; 3],
}

impl Request {
    /// About the file at `path`, for reading where it is opened.
    pub(crate) fn about(operation: u8, path: &CStr) -> Self {
        let address = path.as_ptr().addr() as u64;
        Self { operation, descriptor: libc::AT_FDCWD, address, ..Self::default() }
    }
}

struct Ring {
    descriptor: OwnedFd,
    parameters: Parameters,
}

impl Ring {
    fn set_up(flags: u32) -> io::Result<Self> {
        let mut parameters = Parameters { flags, ..Parameters::default() };
        // SAFETY: the structure has the kernel's size, and may be written to.
        let number = unsafe { libc::syscall(libc::SYS_io_uring_setup, ENTRIES, &raw mut parameters) };
        let number = RawFd::try_from(number).map_err(io::Error::other)?;
        if number < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just made it, and nothing else owns it.
        Ok(Self { descriptor: unsafe { OwnedFd::from_raw_fd(number) }, parameters })
    }

    /// Maps a part of it, until the process ends.
    fn map(&self, protection: libc::c_int, offset: libc::off_t) -> io::Result<NonNull<u8>> {
        let (flags, descriptor) = (libc::MAP_SHARED | libc::MAP_POPULATE, self.descriptor.as_raw_fd());
        // SAFETY: a new mapping of the kernel's choosing.
        let address = unsafe { libc::mmap(ptr::null_mut(), MAPPED, protection, flags, descriptor, offset) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(address.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))
    }

    /// Submits one request, and waits for its answer.
    fn submit(&self, request: Request) -> io::Result<i32> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // Kernels since 5.4 keep both rings in one mapping.
        let rings = self.map(access, OFFSET_RINGS)?;
        let entries = self.map(access, OFFSET_ENTRIES)?.cast::<Request>();
        // SAFETY: the first entry lies at the start of the mapping, and the kernel looks at none before it is told.
        unsafe { entries.write(request) };
        let Parameters { submission, completion, .. } = &self.parameters;
        // The first slot of the array names the first entry; the tail says that there is one.
        word(rings, submission.array_or_flags)?.store(0, Ordering::Relaxed);
        word(rings, submission.tail)?.store(1, Ordering::Release);
        let (ring, no_signals) = (self.descriptor.as_raw_fd(), ptr::null::<u8>());
        // SAFETY: no signal mask is passed; what the entry points at is valid, as whoever made it promises.
        let entered = unsafe { libc::syscall(libc::SYS_io_uring_enter, ring, 1, 1, ENTER_GETEVENTS, no_signals, 0) };
        if entered != 1 {
            return Err(io::Error::last_os_error());
        }
        if word(rings, completion.tail)?.load(Ordering::Acquire) != 1 {
            return Err(io::Error::other("the request has no answer"));
        }
        // It follows 64 bits of user data in the first completion.
        Ok(word(rings, completion.dropped_or_completions + 8)?.load(Ordering::Relaxed).cast_signed())
    }
}

/// A word of the rings, which the kernel shares.
fn word(rings: NonNull<u8>, offset: u32) -> io::Result<&'static AtomicU32> {
    let offset = offset as usize;
    if offset + size_of::<u32>() > MAPPED {
        return Err(io::Error::other("the ring is larger than expected"));
    }
    // SAFETY: inside the mapping, as just checked.
    let word = unsafe { rings.add(offset) };
    // SAFETY: aligned, as all of the kernel's ring words are, never unmapped, and shared with it by atomic access alone.
    Ok(unsafe { word.cast().as_ref() })
}

/// What the system call of the same name would return, an error as a negative number.
pub(crate) fn submit(request: Request) -> io::Result<i32> {
    Ring::set_up(0)?.submit(request)
}

/// The answer as a result.
pub(crate) fn outcome(answer: i32) -> io::Result<RawFd> {
    if answer < 0 { Err(io::Error::from_raw_os_error(-answer)) } else { Ok(answer) }
}

/// A ring.
pub(crate) fn make() -> io::Result<()> {
    Ring::set_up(0).map(drop)
}

/// A ring whose entries a thread of the kernel's takes.
pub(crate) fn make_polled() -> io::Result<()> {
    Ring::set_up(SETUP_SQPOLL).map(drop)
}

/// Credentials for others to use, registered with a ring.
pub(crate) fn register_credentials() -> Attempt {
    let ring = Ring::set_up(0)?.descriptor;
    let (number, nothing) = (ring.as_raw_fd(), ptr::null_mut::<libc::c_void>());
    // SAFETY: the operation takes no argument.
    let id = unsafe { libc::syscall(libc::SYS_io_uring_register, number, REGISTER_PERSONALITY, nothing, 0) };
    Ok(if id < 0 { Err(io::Error::last_os_error()) } else { Ok(()) })
}

/// The ring's memory, which a process fills as it likes, mapped executable.
pub(crate) fn executable() -> Attempt {
    let ring = Ring::set_up(0)?;
    Ok(ring.map(libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC, OFFSET_ENTRIES).map(drop))
}
