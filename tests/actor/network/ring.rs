//! `connect` by io_uring, whose kernel thread or caller makes it without the system call.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd as _, OwnedFd},
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, ensure};

use crate::Attempt;

const ENTRIES: u32 = 4;
const PARAMETERS: usize = 120;
const ENTRY: usize = 64;
const RING: i64 = 0;
const SUBMISSIONS: i64 = 0x1000_0000;
const IORING_OP_CONNECT: u8 = 16;
const IORING_ENTER_GETEVENTS: u32 = 1;
/// Words of `struct io_uring_params`: where the offsets of both rings begin.
const SUBMISSION_OFFSETS: usize = 10;
const COMPLETION_OFFSETS: usize = 20;

/// Connects, and waits for the outcome.
pub(super) fn connect(socket: &OwnedFd, address: &[u8]) -> Attempt {
    let mut parameters = [0_u32; PARAMETERS / 4];
    // SAFETY: the kernel reads and writes as many bytes as the array has.
    let number = unsafe { libc::syscall(libc::SYS_io_uring_setup, ENTRIES, parameters.as_mut_ptr()) };
    ensure!(number >= 0, "io_uring_setup: {}", io::Error::last_os_error());
    // SAFETY: the descriptor was just made and nothing else owns it.
    let ring = unsafe { OwnedFd::from_raw_fd(i32::try_from(number)?) };
    let word = |index: usize| parameters.get(index).map(|word| *word as usize).context("a short structure");
    let rings = map(&ring, RING, 4096)?;
    let entries = map(&ring, SUBMISSIONS, ENTRY * ENTRIES as usize)?;

    let mut entry = [0_u8; ENTRY];
    entry[0] = IORING_OP_CONNECT;
    entry[4..8].copy_from_slice(&socket.as_raw_fd().to_ne_bytes());
    entry[8..16].copy_from_slice(&(address.len() as u64).to_ne_bytes());
    entry[16..24].copy_from_slice(&(address.as_ptr() as u64).to_ne_bytes());
    // SAFETY: the mapping has room for four entries, and the kernel looks at none before it is told.
    unsafe { entries.copy_from_nonoverlapping(NonNull::from(&mut entry).cast(), ENTRY) };
    // The first slot of the array names the first entry; the tail says that there is one.
    at(rings, word(SUBMISSION_OFFSETS + 6)?).store(0, Ordering::Relaxed);
    at(rings, word(SUBMISSION_OFFSETS + 1)?).store(1, Ordering::Release);
    // SAFETY: numbers and a null pointer; the address that the entry points at lives until the call has waited for the outcome.
    let entered =
        unsafe { libc::syscall(libc::SYS_io_uring_enter, ring.as_raw_fd(), 1, 1, IORING_ENTER_GETEVENTS, 0, 0) };
    ensure!(entered == 1, "io_uring_enter: {entered}, {}", io::Error::last_os_error());
    ensure!(at(rings, word(COMPLETION_OFFSETS + 1)?).load(Ordering::Acquire) == 1, "no outcome");
    // The result follows the entry's 64 bits of user data.
    let result = at(rings, word(COMPLETION_OFFSETS + 5)? + 8).load(Ordering::Relaxed).cast_signed();
    Ok(if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-result)) })
}

/// Maps a part of the ring; it stays mapped until the process ends.
fn map(ring: &OwnedFd, offset: i64, length: usize) -> anyhow::Result<NonNull<u8>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping of the kernel's choosing.
    let address =
        unsafe { libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, ring.as_raw_fd(), offset) };
    ensure!(address != libc::MAP_FAILED, "cannot map the ring: {}", io::Error::last_os_error());
    NonNull::new(address.cast()).context("mapped at address 0")
}

/// A word of the rings, which the kernel shares.
fn at(rings: NonNull<u8>, offset: usize) -> &'static AtomicU32 {
    // SAFETY: the kernel's offsets lie inside the mapping, which is never unmapped.
    let word = unsafe { rings.add(offset) };
    // SAFETY: aligned, as all of the kernel's ring words are, and shared with it by atomic access alone.
    unsafe { word.cast().as_ref() }
}
