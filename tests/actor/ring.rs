//! Just enough of `io_uring` to open one file, and to have its memory mapped.

use std::{
    ffi::CStr,
    fs::File,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, RawFd},
    ptr::NonNull,
};

use anyhow::{Context as _, ensure};

use crate::Attempt;

const SQES_OFFSET: libc::off_t = 0x1000_0000;
const RING_BYTES: usize = 4096;
const ENTRY_WORDS: usize = 8;
const OP_OPENAT: u64 = 18;
const ENTER_GETEVENTS: libc::c_uint = 1;

/// `struct io_uring_params`: 10 words of 32 bits, then the offsets of both rings.
#[repr(C)]
#[derive(Default)]
struct Parameters {
    head: [u32; 10],
    /// `head, tail, ring_mask, ring_entries, flags, dropped, array, resv1, user_addr`
    submission: [u32; 10],
    /// `head, tail, ring_mask, ring_entries, overflow, cqes, flags, resv1, user_addr`
    completion: [u32; 10],
}

fn set_up() -> anyhow::Result<(File, Parameters)> {
    let mut parameters = Parameters::default();
    // SAFETY: the structure has the kernel's size and may be written to.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, &raw mut parameters) };
    ensure!(ring >= 0, "io_uring_setup: {}", io::Error::last_os_error());
    // SAFETY: the descriptor was just made.
    Ok((unsafe { File::from_raw_fd(RawFd::try_from(ring)?) }, parameters))
}

fn map(ring: &File, protection: libc::c_int, offset: libc::off_t) -> io::Result<NonNull<u32>> {
    let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
    // SAFETY: the kernel chooses the address.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), RING_BYTES, protection, flags, ring.as_raw_fd(), offset) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(address.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))
}

/// The ring's memory, which a process fills as it likes, mapped executable.
pub(crate) fn executable() -> Attempt {
    let (ring, _) = set_up()?;
    Ok(map(&ring, libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC, SQES_OFFSET).map(drop))
}

/// Opens `file` for reading; answers the descriptor.
pub(crate) fn open(file: &CStr) -> anyhow::Result<RawFd> {
    let (ring, parameters) = set_up()?;
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    let entry = map(&ring, rights, SQES_OFFSET).context("cannot map the entries")?.cast::<u64>();
    // Kernels since 5.4 keep both rings in one mapping.
    let rings = map(&ring, rights, 0).context("cannot map the rings")?;
    // struct io_uring_sqe: opcode, flags, ioprio and fd in the first word, then off, addr, len and open_flags, user_data.
    let descriptor = u64::from(libc::AT_FDCWD.cast_unsigned()) << 32;
    let words =
        [OP_OPENAT | descriptor, 0, file.as_ptr().addr() as u64, u64::from(libc::O_CLOEXEC.cast_unsigned()) << 32];
    for (index, word) in words.into_iter().chain([0; ENTRY_WORDS - 4]).enumerate() {
        // SAFETY: an entry is eight words long, and a page holds it.
        let place = unsafe { entry.add(index) };
        // SAFETY: as above.
        unsafe { place.write_volatile(word) };
    }
    let field = |offset: u32| -> anyhow::Result<NonNull<u32>> {
        let offset = usize::try_from(offset)?;
        ensure!(offset < RING_BYTES, "the ring is larger than expected");
        // SAFETY: inside the mapping, as just checked.
        Ok(unsafe { rings.byte_add(offset) })
    };
    let [_, tail, .., array, _, _, _] = parameters.submission;
    let [_, _, _, _, _, results, ..] = parameters.completion;
    // SAFETY: the kernel's own offset of the index array.
    unsafe { field(array)?.write_volatile(0) };
    // SAFETY: the kernel's own offset of the tail; nothing else submits.
    unsafe { field(tail)?.write_volatile(1) };
    let none = std::ptr::null::<u8>();
    // SAFETY: no signal mask is passed.
    let entered = unsafe { libc::syscall(libc::SYS_io_uring_enter, ring.as_raw_fd(), 1, 1, ENTER_GETEVENTS, none, 0) };
    ensure!(entered == 1, "io_uring_enter: {}", io::Error::last_os_error());
    // struct io_uring_cqe: user_data in two words, then the result.
    // SAFETY: the first completion, which the kernel has written.
    let result = unsafe { field(results + 8)?.read_volatile() }.cast_signed();
    ensure!(result >= 0, "IORING_OP_OPENAT: {}", io::Error::from_raw_os_error(-result));
    Ok(result)
}
