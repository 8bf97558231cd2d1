//! Ways to have the kernel execute a file. Each runs a child and wants it to end with status 0.

use std::{
    ffi::CStr,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, RawFd},
        unix::{
            fs::OpenOptionsExt as _,
            process::{CommandExt as _, ExitStatusExt as _},
        },
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

/// Executes `file`, which may also be killed while it is being loaded: the kernel has given up the old program by then and has
/// nobody to tell.
pub(crate) fn or_killed(file: &str) -> Attempt {
    let status = Command::new(file).status().with_context(|| format!("cannot run `{file}`"))?;
    match status.signal() {
        Some(libc::SIGKILL | libc::SIGSEGV) => Ok(Err(io::Error::from_raw_os_error(libc::EPERM))),
        None if status.success() => Ok(Ok(())),
        _ => bail!("`{file}` ended with {status}"),
    }
}

/// Runs a program that does the loading or executing, and tells from what it writes how that went: `worked` is there if it did,
/// `denied` if the kernel said no.
pub(crate) fn watched(worked: &str, denied: &str, command: &[&str]) -> Attempt {
    let (program, arguments) = command.split_first().context("no command")?;
    let mut run = Command::new(program);
    let output =
        run.args(arguments).stdin(Stdio::null()).output().with_context(|| format!("cannot run `{program}`"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    if said.contains(worked) {
        return Ok(Ok(()));
    }
    if said.contains(denied) {
        return Ok(Err(io::Error::from_raw_os_error(libc::EPERM)));
    }
    bail!("`{program}` ended with {}, and said neither: {said}", output.status);
}

fn copy_into(file: &str, target: &mut File) -> anyhow::Result<()> {
    let mut source = File::open(file).with_context(|| format!("cannot open `{file}`"))?;
    io::copy(&mut source, target).with_context(|| format!("cannot copy `{file}`"))?;
    Ok(())
}

pub(crate) fn run_descriptor(file: &File) -> Attempt {
    run_at(file.as_raw_fd(), c"", libc::AT_EMPTY_PATH)
}

/// By `execveat`.
pub(crate) fn run_at(descriptor: RawFd, name: &CStr, flags: libc::c_int) -> Attempt {
    let name = name.to_owned();
    // Never executed: the closure below takes its place, and its error comes back as that of `Command`.
    let mut command = Command::new("/nonexistent");
    let replace = move || {
        let arguments = [c"payload".as_ptr(), std::ptr::null()];
        let environment: [*const libc::c_char; 1] = [std::ptr::null()];
        // SAFETY: path and both arrays are NUL-terminated and outlive the call.
        unsafe {
            libc::syscall(
                libc::SYS_execveat,
                descriptor,
                name.as_ptr(),
                arguments.as_ptr(),
                environment.as_ptr(),
                flags,
            )
        };
        Err(io::Error::last_os_error())
    };
    // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(replace) };
    run(&mut command)
}

pub(crate) fn run(command: &mut Command) -> Attempt {
    match command.status() {
        Err(error) => Ok(Err(error)),
        Ok(status) if status.success() => Ok(Ok(())),
        Ok(status) => bail!("{command:?} was started, and ended with {status}"),
    }
}
