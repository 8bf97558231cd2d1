//! Circumstances under which another attempt is made: namespaces, cgroups, threads, users.

use std::{
    ffi::CString,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::fd::AsRawFd as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};

use crate::{Attempt, attempt, status};

/// After a shell script in a mount namespace of its own.
pub(crate) fn mount_namespace(script: &str, rest: &[&str]) -> Attempt {
    enter_mount_namespace(script)?;
    attempt(rest)
}

/// Enters a mount namespace of its own and runs a shell script there.
pub(crate) fn enter_mount_namespace(script: &str) -> anyhow::Result<()> {
    private_mounts()?;
    shell(script)
}

/// In a user namespace and a mount namespace, as root there.
pub(crate) fn user_namespace(script: &str, rest: &[&str]) -> Attempt {
    unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)?;
    for (file, map) in [("setgroups", "deny"), ("uid_map", "0 0 1"), ("gid_map", "0 0 1")] {
        fs::write(format!("/proc/self/{file}"), map).with_context(|| format!("cannot write {file}"))?;
    }
    shell(script)?;
    attempt(rest)
}

/// As the first process of a process namespace.
pub(crate) fn process_namespace(rest: &[&str]) -> Attempt {
    unshare(libc::CLONE_NEWPID)?;
    in_child(|| attempt(rest))
}

/// In the mount namespace of a child, which prepares it with a shell script.
pub(crate) fn joined_namespace(script: &str, rest: &[&str]) -> Attempt {
    let (mut reader, mut writer) = io::pipe().context("cannot make a pipe")?;
    let child = fork()?;
    if child == 0 {
        let prepared = enter_mount_namespace(script);
        let _told = writer.write_all(&[u8::from(prepared.is_ok())]);
        loop {
            std::thread::park();
        }
    }
    let mut ready = [0];
    reader.read_exact(&mut ready).context("the child says nothing")?;
    let namespace = File::open(format!("/proc/{child}/ns/mnt")).context("cannot open the child's namespace")?;
    // SAFETY: the process has one thread and no borrowed state in its mount namespace.
    let joined = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNS) };
    let error = io::Error::last_os_error();
    // SAFETY: signals the child made above.
    unsafe { libc::kill(child, libc::SIGKILL) };
    ensure!(ready == [1], "the child could not prepare its namespace");
    ensure!(joined == 0, "setns: {error}");
    attempt(rest)
}

/// With another root directory.
pub(crate) fn other_root(directory: &str, rest: &[&str]) -> Attempt {
    std::os::unix::fs::chroot(directory).with_context(|| format!("cannot chroot to `{directory}`"))?;
    std::env::set_current_dir("/").context("cannot enter the new root")?;
    attempt(rest)
}

/// With a mounted directory as root, the old root detached.
pub(crate) fn pivoted_root(script: &str, directory: &str, rest: &[&str]) -> Attempt {
    enter_mount_namespace(script)?;
    std::env::set_current_dir(directory).with_context(|| format!("cannot enter `{directory}`"))?;
    // SAFETY: both paths are NUL-terminated.
    let pivoted = unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) };
    ensure!(pivoted == 0, "pivot_root: {}", io::Error::last_os_error());
    // SAFETY: the path is NUL-terminated.
    let detached = unsafe { libc::umount2(c".".as_ptr(), libc::MNT_DETACH) };
    ensure!(detached == 0, "umount2: {}", io::Error::last_os_error());
    std::env::set_current_dir("/").context("cannot enter the new root")?;
    attempt(rest)
}

/// From another cgroup.
pub(crate) fn cgroup(directory: &str, rest: &[&str]) -> Attempt {
    fs::write(Path::new(directory).join("cgroup.procs"), "0").context("cannot move to the cgroup")?;
    attempt(rest)
}

/// By a child that is born in another cgroup.
pub(crate) fn born_in_cgroup(directory: &str, rest: &[&str]) -> Attempt {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    const SIGCHLD: u64 = 17;
    let cgroup = File::open(directory).with_context(|| format!("cannot open `{directory}`"))?;
    let descriptor = u64::try_from(cgroup.as_raw_fd())?;
    // struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup
    let arguments = [CLONE_INTO_CGROUP, 0, 0, 0, SIGCHLD, 0, 0, 0, 0, 0, descriptor];
    // SAFETY: the arguments are as long as said; without CLONE_VM the child has its own copy of everything.
    let child = unsafe { libc::syscall(libc::SYS_clone3, arguments.as_ptr(), size_of_val(&arguments)) };
    ensure!(child >= 0, "clone3: {}", io::Error::last_os_error());
    settle(i32::try_from(child)?, || attempt(rest))
}

/// As another user, without capabilities.
pub(crate) fn user(id: &str, rest: &[&str]) -> Attempt {
    let id: u32 = id.parse()?;
    // SAFETY: no memory is involved.
    ensure!(unsafe { libc::setresgid(id, id, id) } == 0, "setresgid: {}", io::Error::last_os_error());
    // SAFETY: as above.
    ensure!(unsafe { libc::setresuid(id, id, id) } == 0, "setresuid: {}", io::Error::last_os_error());
    attempt(rest)
}

/// By a process whose parent is gone, in a session of its own.
pub(crate) fn orphan(rest: &[&str]) -> Attempt {
    let (mut reader, mut writer) = io::pipe().context("cannot make a pipe")?;
    in_child(|| {
        let child = fork()?;
        if child == 0 {
            // SAFETY: no memory is involved.
            unsafe { libc::setsid() };
            let _told = writer.write_all(&[status(attempt(rest))]);
        }
        // The parent ends at once; the child has said what there is to say.
        Ok(Ok(()))
    })?
    .context("the parent failed")?;
    drop(writer);
    let mut said = [0];
    reader.read_exact(&mut said).context("the orphan says nothing")?;
    told(i32::from(said[0]))
}

/// From now on memory that is made readable is made executable too.
pub(crate) fn read_implies_exec() -> anyhow::Result<()> {
    const READ_IMPLIES_EXEC: libc::c_ulong = 0x040_0000;
    // SAFETY: changes what later mappings are allowed, nothing that exists.
    let before = unsafe { libc::personality(READ_IMPLIES_EXEC) };
    ensure!(before >= 0, "personality: {}", io::Error::last_os_error());
    Ok(())
}

/// By a thread that is not the process's first, and takes its place.
pub(crate) fn thread(file: &str) -> Attempt {
    in_child(|| {
        let file = file.to_owned();
        let executed = std::thread::spawn(move || {
            use std::os::unix::process::CommandExt as _;
            Command::new(file).exec()
        });
        match executed.join() {
            Ok(error) => Ok(Err(error)),
            Err(_) => bail!("the thread panicked"),
        }
    })
}

/// Makes an attempt in a child process.
pub(crate) fn in_child(act: impl FnOnce() -> Attempt) -> Attempt {
    settle(fork()?, act)
}

fn settle(child: i32, act: impl FnOnce() -> Attempt) -> Attempt {
    if child == 0 {
        let code = status(act());
        // SAFETY: ends the child without running what belongs to its parent.
        unsafe { libc::_exit(i32::from(code)) }
    }
    let mut ended = 0;
    // SAFETY: `ended` may be written to.
    ensure!(unsafe { libc::waitpid(child, &raw mut ended, 0) } == child, "waitpid: {}", io::Error::last_os_error());
    ensure!(libc::WIFEXITED(ended), "the child was killed by signal {}", libc::WTERMSIG(ended));
    told(libc::WEXITSTATUS(ended))
}

/// An exit status as an attempt.
fn told(code: i32) -> Attempt {
    match code {
        0 => Ok(Ok(())),
        code if code == i32::from(crate::DENIED) => Ok(Err(io::Error::from_raw_os_error(libc::EPERM))),
        code => bail!("the child ended with status {code}"),
    }
}

fn fork() -> anyhow::Result<i32> {
    // SAFETY: the process has one thread, so that the child's copy is consistent.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()).context("fork"),
        child => Ok(child),
    }
}

/// A new mount namespace from which nothing reaches the old one.
fn private_mounts() -> anyhow::Result<()> {
    unshare(libc::CLONE_NEWNS)?;
    let (none, root) = (CString::new("none")?, CString::new("/")?);
    let flags = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: both paths are NUL-terminated; a change of propagation reads neither type nor data.
    let private = unsafe { libc::mount(none.as_ptr(), root.as_ptr(), std::ptr::null(), flags, std::ptr::null()) };
    ensure!(private == 0, "cannot make mounts private: {}", io::Error::last_os_error());
    Ok(())
}

fn unshare(flags: libc::c_int) -> anyhow::Result<()> {
    // SAFETY: the process has one thread and no borrowed state in its namespaces.
    ensure!(unsafe { libc::unshare(flags) } == 0, "unshare: {}", io::Error::last_os_error());
    Ok(())
}

fn shell(script: &str) -> anyhow::Result<()> {
    let mut shell = Command::new("/bin/sh");
    let status = shell.args(["-euc", script]).stdin(Stdio::null()).status().context("cannot run the shell")?;
    ensure!(status.success(), "the script ended with {status}: {script}");
    Ok(())
}
