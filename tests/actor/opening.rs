//! The least of `io_uring` that one request needs.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, ensure};

const ENTRIES: u32 = 4;
const SUBMISSION_BYTES: usize = 64;
const OFFSET_SUBMISSIONS: i64 = 0;
const OFFSET_COMPLETIONS: i64 = 0x0800_0000;
const OFFSET_ENTRIES: i64 = 0x1000_0000;
const GETEVENTS: u32 = 1;

/// `struct io_uring_params`: what is asked for, and where the kernel puts what.
#[repr(C)]
#[derive(Default)]
struct Parameters {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    more: [u32; 7],
    submissions: Offsets,
    completions: Offsets,
}

/// Where the parts of a queue lie: head, tail, mask, entries, flags, dropped or completions, array.
#[repr(C)]
#[derive(Default)]
struct Offsets {
    at: [u32; 8],
    address: u64,
}

/// Submits one request about the path at `address`, relative to `directory`, and waits for the answer: what the system call
/// of the same name would return, an error as a negative number.
pub(crate) fn submit(code: u8, directory: i32, address: u64) -> anyhow::Result<i32> {
    let mut parameters = Parameters::default();
    // SAFETY: the parameters are valid for reads and writes.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, ENTRIES, &raw mut parameters) };
    if ring < 0 {
        return Err(io::Error::last_os_error()).context("io_uring_setup");
    }
    // SAFETY: the descriptor was just created and nothing else owns it.
    let ring = unsafe { OwnedFd::from_raw_fd(i32::try_from(ring)?) };
    let submissions = map(&ring, 4096, OFFSET_SUBMISSIONS)?;
    let completions = map(&ring, 4096, OFFSET_COMPLETIONS)?;
    let entries = map(&ring, SUBMISSION_BYTES * ENTRIES as usize, OFFSET_ENTRIES)?;
    let mut entry = [0_u8; SUBMISSION_BYTES];
    entry[0] = code;
    entry[4..8].copy_from_slice(&directory.to_ne_bytes());
    entry[16..24].copy_from_slice(&address.to_ne_bytes());
    // SAFETY: the first entry of the mapping, which nobody reads before the tail says so.
    unsafe { entries.copy_from(entry.as_ptr(), SUBMISSION_BYTES) };
    #[expect(
        clippy::cast_ptr_alignment,
        reason = "the mapping begins with a page, and the kernel's offsets are aligned"
    )]
    let word = |ring: *mut u8, offset: u32| ring.wrapping_add(offset as usize).cast::<u32>();
    // SAFETY: the array's place, as the kernel gave it; an aligned word.
    unsafe { word(submissions, parameters.submissions.at[6]).write_volatile(0) };
    // SAFETY: the tail's place, likewise.
    unsafe { word(submissions, parameters.submissions.at[1]).write_volatile(1) };
    // SAFETY: no signal mask is passed.
    let entered = unsafe {
        libc::syscall(libc::SYS_io_uring_enter, ring.as_raw_fd(), 1, 1, GETEVENTS, std::ptr::null::<u8>(), 0)
    };
    ensure!(entered == 1, "io_uring_enter: {entered}, {}", io::Error::last_os_error());
    // SAFETY: the first completion: after its user data comes the answer.
    let answer = unsafe { word(completions, parameters.completions.at[5] + 8).read_volatile() };
    Ok(answer.cast_signed())
}

fn map(ring: &OwnedFd, bytes: usize, offset: i64) -> anyhow::Result<*mut u8> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
    // SAFETY: a new mapping of the kernel's choosing; it stays until the process ends.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, flags, ring.as_raw_fd(), offset) };
    if address == libc::MAP_FAILED {
        Err(io::Error::last_os_error()).context("mapping the ring")
    } else {
        Ok(address.cast())
    }
}
