//! Memory of many kinds that is made executable in many ways. The last step is the attempt; what comes before must work.

use std::{ffi::CString, fs::File, io, os::fd::AsRawFd, ptr::NonNull};

use anyhow::{Context as _, bail, ensure};

use crate::Attempt;

const PAGE: usize = 4096;
const HUGE_PAGE: usize = 2 * 1024 * 1024;
/// `ret`
const CODE: u8 = 0xC3;

/// Maps `file`, or no file where it is `-`, with the first protection, and then changes it to each of the others. Memory that is
/// writable is written to. `kind` has `shared` or `private`, and what else the mapping or the change is to be, between commas.
pub(crate) fn steps(file: &str, kind: &str, protections: &[&str]) -> Attempt {
    let Some((first, changes)) = protections.split_first() else { bail!("no protection") };
    let kinds: Vec<&str> = kind.split(',').collect();
    let length = if kinds.contains(&"hugetlb") { HUGE_PAGE } else { PAGE };
    let mapped = map(file, &kinds, length, protection(first)?)?;
    let (page, last) = match (mapped, changes.split_last()) {
        (Err(error), None) => return Ok(Err(error)),
        (Err(error), Some(_)) => return Err(error).context("mmap"),
        (Ok(page), None) => {
            write_if(page, first);
            return Ok(Ok(()));
        }
        (Ok(page), Some((last, between))) => {
            write_if(page, first);
            for step in between {
                protect(page, length, protection(step)?, &kinds).with_context(|| format!("mprotect to {step}"))?;
                write_if(page, step);
            }
            (page, last)
        }
    };
    Ok(protect(page, length, protection(last)?, &kinds))
}

fn map(file: &str, kinds: &[&str], length: usize, protection: libc::c_int) -> anyhow::Result<io::Result<NonNull<u8>>> {
    let mut flags = if kinds.contains(&"shared") { libc::MAP_SHARED } else { libc::MAP_PRIVATE };
    for (kind, flag) in [("hugetlb", libc::MAP_HUGETLB), ("growsdown", libc::MAP_GROWSDOWN)] {
        if kinds.contains(&kind) {
            flags |= flag;
        }
    }
    let open = match file {
        "-" => {
            flags |= libc::MAP_ANONYMOUS;
            None
        }
        file => {
            let writable = kinds.contains(&"shared") && protection & libc::PROT_WRITE != 0;
            let open = File::options().read(true).write(writable).open(file);
            Some(open.with_context(|| format!("cannot open `{file}`"))?)
        }
    };
    let descriptor = open.as_ref().map_or(-1, AsRawFd::as_raw_fd);
    // SAFETY: the kernel chooses the address, so no existing mapping is replaced.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, descriptor, 0) };
    if address == libc::MAP_FAILED {
        return Ok(Err(io::Error::last_os_error()));
    }
    Ok(NonNull::new(address.cast()).ok_or_else(|| io::Error::other("mapped at address 0")))
}

fn protect(page: NonNull<u8>, length: usize, protection: libc::c_int, kinds: &[&str]) -> io::Result<()> {
    let answer = if kinds.contains(&"key") {
        // SAFETY: the page is one of this module's mappings; key -1 is none.
        unsafe { libc::syscall(libc::SYS_pkey_mprotect, page.as_ptr(), length, protection, -1) }
    } else {
        // SAFETY: the page is one of this module's mappings, and no Rust reference points into it.
        libc::c_long::from(unsafe { libc::mprotect(page.as_ptr().cast(), length, protection) })
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn write_if(page: NonNull<u8>, protection: &str) {
    if protection.contains('w') {
        // SAFETY: the page is mapped writable.
        unsafe { page.write_volatile(CODE) };
    }
}

fn protection(letters: &str) -> anyhow::Result<libc::c_int> {
    letters.chars().try_fold(libc::PROT_NONE, |sum, letter| {
        Ok(sum
            | match letter {
                'r' => libc::PROT_READ,
                'w' => libc::PROT_WRITE,
                'x' => libc::PROT_EXEC,
                '-' => libc::PROT_NONE,
                _ => bail!("no protection is called `{letter}`"),
            })
    })
}

/// A System V segment, attached executable at once or made so later.
pub(crate) fn system_v(at_once: bool) -> Attempt {
    const SHM_EXEC: libc::c_int = 0o100_000;
    // SAFETY: no memory is involved.
    let segment = unsafe { libc::shmget(libc::IPC_PRIVATE, PAGE, libc::IPC_CREAT | 0o700) };
    ensure!(segment >= 0, "shmget: {}", io::Error::last_os_error());
    // SAFETY: the kernel chooses the address.
    let address = unsafe { libc::shmat(segment, std::ptr::null(), if at_once { SHM_EXEC } else { 0 }) };
    let error = io::Error::last_os_error();
    // SAFETY: the segment is marked to go with its last user; no structure is passed.
    unsafe { libc::shmctl(segment, libc::IPC_RMID, std::ptr::null_mut()) };
    let attached = address.addr() != usize::MAX;
    if at_once {
        return Ok(if attached { Ok(()) } else { Err(error) });
    }
    ensure!(attached, "shmat: {error}");
    let page = NonNull::new(address.cast()).context("attached at address 0")?;
    write_if(page, "w");
    Ok(protect(page, PAGE, libc::PROT_READ | libc::PROT_EXEC, &[]))
}

/// A file mapped without rights, made readable after that was made to imply executable.
pub(crate) fn implied_later(file: &str) -> Attempt {
    let page = map(file, &["private"], PAGE, libc::PROT_NONE)?.context("mmap")?;
    crate::wrapper::read_implies_exec()?;
    Ok(protect(page, PAGE, libc::PROT_READ, &[]))
}

/// The stack of this thread.
pub(crate) fn stack() -> io::Result<()> {
    let local = 0_u8;
    let address = (&raw const local).map_addr(|address| address & !(PAGE - 1));
    let rights = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC | libc::PROT_GROWSDOWN;
    // SAFETY: the stack stays readable and writable.
    let answer = unsafe { libc::mprotect(address.cast_mut().cast(), PAGE, rights) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A page of the heap grown after readable memory was made to imply executable memory. Code in it is run.
pub(crate) fn heap() -> Attempt {
    // SAFETY: the heap grows; nobody else uses the new part.
    let page = unsafe { libc::sbrk(isize::try_from(2 * PAGE)?) };
    ensure!(page.addr() != usize::MAX, "sbrk: {}", io::Error::last_os_error());
    let code = NonNull::new(page.cast::<u8>()).context("the heap is at address 0")?;
    write_if(code, "w");
    // SAFETY: a function that returns at once, if the page is executable; else the process ends, which the parent sees.
    let function = unsafe { std::mem::transmute::<*mut u8, extern "C" fn()>(code.as_ptr()) };
    crate::wrapper::in_child(|| {
        function();
        Ok(Ok(()))
    })
}

/// Anonymous memory by the system call of 32-bit programs.
pub(crate) fn compatible() -> io::Result<()> {
    const MMAP2: i32 = 192;
    let rights = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    compatible_call(MMAP2, [0, 4096, rights, flags, -1]).map(drop)
}

/// A library by `uselib`, a system call that only 32-bit programs have.
pub(crate) fn uselib(file: &str) -> Attempt {
    const USELIB: i32 = 86;
    let path = CString::new(file)?;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
    // SAFETY: the kernel chooses an address below 4 GiB.
    let low = unsafe { libc::mmap(std::ptr::null_mut(), PAGE, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    ensure!(low != libc::MAP_FAILED, "mmap: {}", io::Error::last_os_error());
    let bytes = path.as_bytes_with_nul();
    ensure!(bytes.len() <= PAGE, "the path is too long");
    // SAFETY: both are valid for that many bytes and do not overlap.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), low.cast(), bytes.len()) };
    Ok(compatible_call(USELIB, [i32::try_from(low.addr())?, 0, 0, 0, 0]).map(drop))
}

/// A system call by the gate of 32-bit programs.
fn compatible_call(number: i32, [first, second, third, fourth, fifth]: [i32; 5]) -> io::Result<i32> {
    let answer: i32;
    // SAFETY: the calls made here touch only memory that their callers provide. `rbx` is the compiler's own and is put back.
    unsafe {
        core::arch::asm!(
            "push rbx", "push rbp", "mov ebx, {first:e}", "xor ebp, ebp", "int 0x80", "pop rbp", "pop rbx",
            first = in(reg) first,
            inlateout("eax") number => answer,
            in("ecx") second, in("edx") third, in("esi") fourth, in("edi") fifth,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    if (-4095..0).contains(&answer) { Err(io::Error::from_raw_os_error(-answer)) } else { Ok(answer) }
}
