//! Ways to have the kernel execute a file. Each runs a child and wants it to end with status 0.

use std::{
    ffi::CString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::{
        fd::{AsRawFd as _, FromRawFd as _},
        unix::{fs::OpenOptionsExt as _, process::CommandExt as _},
    },
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

use crate::Attempt;

const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

/// By name.
pub(crate) fn path(file: &str, arguments: &[&str]) -> Attempt {
    run(Command::new(file).args(arguments))
}

/// From a memory file.
pub(crate) fn memfd(file: &str) -> Attempt {
    let content = fs::read(file).with_context(|| format!("cannot read `{file}`"))?;
    // SAFETY: the name is a NUL-terminated string.
    let number = unsafe { libc::memfd_create(c"payload".as_ptr(), libc::MFD_CLOEXEC) };
    if number < 0 {
        return Err(io::Error::last_os_error()).context("memfd_create");
    }
    // SAFETY: the descriptor was just created and nothing else owns it.
    let mut memory = unsafe { File::from_raw_fd(number) };
    memory.write_all(&content).context("cannot write to the memory file")?;
    run_descriptor(&memory)
}

/// From a file of `directory` that never had a name.
pub(crate) fn tmpfile(file: &str, directory: &str) -> Attempt {
    let mut unnamed = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .mode(0o755)
        .open(directory)
        .with_context(|| format!("cannot create an unnamed file in `{directory}`"))?;
    copy_into(file, &mut unnamed)?;
    // A file that is open for writing cannot be executed.
    let readable = File::open(format!("/proc/self/fd/{}", unnamed.as_raw_fd())).context("cannot reopen it")?;
    drop(unnamed);
    run_descriptor(&readable)
}

/// From a file that lost its name before it ran.
pub(crate) fn deleted(file: &str, directory: &str) -> Attempt {
    let copy = Path::new(directory).join(format!("deleted-{}", std::process::id()));
    let mut writable = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o755)
        .open(&copy)
        .with_context(|| format!("cannot create `{}`", copy.display()))?;
    copy_into(file, &mut writable)?;
    drop(writable);
    let readable = File::open(&copy).context("cannot reopen the copy")?;
    fs::remove_file(&copy).context("cannot remove the copy")?;
    run_descriptor(&readable)
}

/// By the name of an open descriptor.
pub(crate) fn descriptor(file: &str) -> Attempt {
    let open = File::open(file).with_context(|| format!("cannot open `{file}`"))?;
    run(&mut Command::new(format!("/proc/self/fd/{}", open.as_raw_fd())))
}

/// As an argument of the dynamic loader, so that the file itself is never executed, only mapped.
pub(crate) fn by_loader(file: &str) -> Attempt {
    let output = match Command::new(LOADER).arg(file).stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => bail!("cannot run `{LOADER}`: {error}"),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Ok(Ok(()));
    }
    if said.contains("failed to map segment") {
        return Ok(Err(io::Error::from_raw_os_error(libc::EPERM)));
    }
    bail!("the loader ended with {}: {said}", output.status);
}

/// As a library that the loader puts into a program; the library says `payload loaded` when its constructor runs.
pub(crate) fn preload(library: &str, program: &str) -> Attempt {
    let output = Command::new(program)
        .env("LD_PRELOAD", library)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run `{program}`"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("payload loaded") {
        return Ok(Ok(()));
    }
    // The loader goes on without a library that it cannot preload, and does not say which error it met.
    if said.contains("cannot be preloaded") && said.contains("failed to map segment") {
        return Ok(Err(io::Error::from_raw_os_error(libc::EPERM)));
    }
    bail!("`{program}` ended with {}, and the library did not run: {said}", output.status);
}

/// In a mount namespace of its own.
pub(crate) fn unshared(file: &str) -> Attempt {
    unshare_mounts()?;
    run(&mut Command::new(file))
}

/// Under the name of another file that it is bind-mounted over.
pub(crate) fn bind_mounted(source: &str, target: &str) -> Attempt {
    unshare_mounts()?;
    let (from, to) = (CString::new(source)?, CString::new(target)?);
    // SAFETY: both paths are NUL-terminated, and a bind mount reads neither type nor data.
    let answer = unsafe { libc::mount(from.as_ptr(), to.as_ptr(), std::ptr::null(), libc::MS_BIND, std::ptr::null()) };
    if answer != 0 {
        return Err(io::Error::last_os_error()).with_context(|| format!("cannot mount `{source}` over `{target}`"));
    }
    run(&mut Command::new(target))
}

/// With another root directory.
pub(crate) fn in_chroot(directory: &str, file: &str) -> Attempt {
    std::os::unix::fs::chroot(directory).with_context(|| format!("cannot chroot to `{directory}`"))?;
    std::env::set_current_dir("/").context("cannot enter the new root")?;
    run(&mut Command::new(file))
}

fn unshare_mounts() -> anyhow::Result<()> {
    // SAFETY: the process has one thread and no borrowed state in its mount namespace.
    match unsafe { libc::unshare(libc::CLONE_NEWNS) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()).context("cannot unshare the mount namespace"),
    }
}

fn copy_into(file: &str, target: &mut File) -> anyhow::Result<()> {
    let mut source = File::open(file).with_context(|| format!("cannot open `{file}`"))?;
    io::copy(&mut source, target).with_context(|| format!("cannot copy `{file}`"))?;
    Ok(())
}

fn run_descriptor(file: &File) -> Attempt {
    let number = file.as_raw_fd();
    // Never executed: the closure below takes its place, and its error comes back as that of `Command`.
    let mut command = Command::new("/nonexistent");
    let replace = move || {
        let arguments = [c"payload".as_ptr(), std::ptr::null()];
        let environment: [*const libc::c_char; 1] = [std::ptr::null()];
        // SAFETY: path and both arrays are NUL-terminated and outlive the call.
        unsafe {
            libc::syscall(
                libc::SYS_execveat,
                number,
                c"".as_ptr(),
                arguments.as_ptr(),
                environment.as_ptr(),
                libc::AT_EMPTY_PATH,
            )
        };
        Err(io::Error::last_os_error())
    };
    // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(replace) };
    run(&mut command)
}

fn run(command: &mut Command) -> Attempt {
    match command.status() {
        Err(error) => Ok(Err(error)),
        Ok(status) if status.success() => Ok(Ok(())),
        Ok(status) => bail!("{command:?} was started, and ended with {status}"),
    }
}
