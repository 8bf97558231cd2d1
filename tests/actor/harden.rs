//! Operations on the kernel that a policy may forbid. Where the whole would hurt the guest, or needs what it does not have, the
//! attempt ends at the first answer that comes after the check, and says so.

use std::{
    ffi::CString,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::fd::AsRawFd as _,
    ptr::{null, null_mut},
};

use anyhow::{Context as _, bail};

use crate::{
    Attempt,
    child::{answer, died_for_it, plain},
};

/// One of those without arguments.
pub(crate) fn operation(name: &str) -> Attempt {
    match name {
        "bpf-map" => Ok(bpf(0, &[2, 4, 8, 1])),
        "bpf-program" => Ok(program()),
        "perf-event" => Ok(perf_event()),
        "module" => Ok(past(libc::ENOEXEC, module())),
        "module-file" => Ok(past(libc::ENOEXEC, module_file())),
        "kexec" => Ok(kexec()),
        "mount" => Ok(mount("tmpfs", "/mnt", "tmpfs", 0)),
        "bind-mount" => Ok(mount("/usr", "/mnt", "", libc::MS_BIND)),
        "remount" => Ok(mount("", "/volume", "", libc::MS_REMOUNT | libc::MS_NOEXEC)),
        "unmount" => Ok(unmount("/payload")),
        "detached-mount" => Ok(detached_mount()),
        "pivot-root" => Ok(past(libc::EBUSY, pivot_root())),
        "user-namespace" => died_for_it(|| unshare(libc::CLONE_NEWUSER)),
        "setns" => died_for_it(setns),
        "add-key" => Ok(add_key()),
        "session-keyring" => died_for_it(session_keyring),
        "kernel-log" => Ok(kernel_log()),
        "clock" => Ok(clock()),
        "device" => Ok(make_device()),
        "chroot" => died_for_it(|| std::os::unix::fs::chroot("/usr")),
        _ => bail!("no such operation"),
    }
}

/// Opens a file for writing and writes nothing.
pub(crate) fn open_for_writing(file: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(file).map(drop)
}

/// Mounts a filesystem in a mount namespace of its own, and opens a file of it for writing.
pub(crate) fn mounted_file(kind: &str, options: &str, file: &str) -> Attempt {
    unshare(libc::CLONE_NEWNS).context("cannot unshare the mount namespace")?;
    let [kind, options] = [CString::new(kind)?, CString::new(options)?];
    let data = options.as_ptr().cast();
    // SAFETY: the texts are NUL-terminated.
    answer(unsafe { libc::mount(c"none".as_ptr(), c"/mnt".as_ptr(), kind.as_ptr(), 0, data) })
        .context("cannot mount it")?;
    Ok(open_for_writing(&format!("/mnt/{file}")))
}

/// An answer that shows that the check was passed counts as success.
fn past(expected: i32, outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.raw_os_error() == Some(expected) => Ok(()),
        other => other,
    }
}

/// `bpf(2)` with an attribute of these words.
fn bpf(command: i32, words: &[u32]) -> io::Result<()> {
    let mut attribute = [0_u32; 32];
    for (slot, word) in attribute.iter_mut().zip(words) {
        *slot = *word;
    }
    // SAFETY: the attribute is long enough for every command, and zeros are its defaults.
    answer(unsafe { libc::syscall(libc::SYS_bpf, command, attribute.as_mut_ptr(), size_of_val(&attribute)) })
}

/// A pointer as two words of an attribute.
fn words<T>(pointer: *const T) -> [u32; 2] {
    let address = pointer as u64;
    let half = |shift: u32| u32::try_from((address >> shift) & 0xffff_ffff).unwrap_or_default();
    [half(0), half(32)]
}

/// A socket filter that lets nothing through.
fn program() -> io::Result<()> {
    const PROG_LOAD: i32 = 5;
    const SOCKET_FILTER: u32 = 1;
    // `r0 = 0; exit`
    let code: [u64; 2] = [0xb7, 0x95];
    let ([code_low, code_high], [license_low, license_high]) = (words(code.as_ptr()), words(c"GPL".as_ptr()));
    bpf(PROG_LOAD, &[SOCKET_FILTER, 2, code_low, code_high, license_low, license_high])
}

/// A map by its id.
pub(crate) fn map_by_number(id: u32) -> io::Result<()> {
    const MAP_GET_FD_BY_ID: i32 = 14;
    bpf(MAP_GET_FD_BY_ID, &[id])
}

fn perf_event() -> io::Result<()> {
    // `struct perf_event_attr` of a software clock in its first version.
    let mut attribute = [0_u64; 8];
    if let Some(first) = attribute.first_mut() {
        *first = 1 | (64 << 32);
    }
    // SAFETY: the attribute has the 64 bytes that it says it has.
    answer(unsafe { libc::syscall(libc::SYS_perf_event_open, attribute.as_ptr(), 0, -1, -1, 0) })
}

fn module() -> io::Result<()> {
    let image = [0_u8; 256];
    // SAFETY: the kernel reads the image and the empty parameters.
    answer(unsafe { libc::syscall(libc::SYS_init_module, image.as_ptr(), image.len(), c"".as_ptr()) })
}

fn module_file() -> io::Result<()> {
    let file = File::open("/etc/debian_version")?;
    // SAFETY: the parameters are NUL-terminated.
    answer(unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), c"".as_ptr(), 0) })
}

/// Drops the image to be booted, of which there is none.
fn kexec() -> io::Result<()> {
    plain(libc::SYS_kexec_load, [0; 5]).map(drop)
}

/// `mount(2)`; an empty text is none.
pub(crate) fn mount(source: &str, target: &str, kind: &str, flags: libc::c_ulong) -> io::Result<()> {
    let [source, target, kind] = [source, target, kind].map(|text| CString::new(text).unwrap_or_default());
    // SAFETY: the texts are NUL-terminated, and there is no data.
    answer(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, null()) })
}

/// `umount2(2)`, lazily.
pub(crate) fn unmount(target: &str) -> io::Result<()> {
    let target = CString::new(target)?;
    // SAFETY: the path is NUL-terminated.
    answer(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) })
}

/// A filesystem that is used through a descriptor and never gets a place.
fn detached_mount() -> io::Result<()> {
    const CREATE: libc::c_long = 6;
    // SAFETY: the name is NUL-terminated.
    let context = unsafe { libc::syscall(libc::SYS_fsopen, c"tmpfs".as_ptr(), 0) };
    answer(context)?;
    plain(libc::SYS_fsconfig, [context, CREATE, 0, 0, 0])?;
    plain(libc::SYS_fsmount, [context, 0, 0, 0, 0]).map(drop)
}

/// To a directory of the mount that is the root already, which is found out after the check.
fn pivot_root() -> io::Result<()> {
    // SAFETY: the paths are NUL-terminated.
    answer(unsafe { libc::syscall(libc::SYS_pivot_root, c"/usr".as_ptr(), c"/usr/bin".as_ptr()) })
}

fn unshare(what: libc::c_int) -> io::Result<()> {
    // SAFETY: the child has one thread.
    answer(unsafe { libc::unshare(what) })
}

/// Into a namespace that the task is in already, which is an entry like any other.
fn setns() -> io::Result<()> {
    let namespace = File::open("/proc/self/ns/uts")?;
    // SAFETY: no memory is involved.
    answer(unsafe { libc::setns(namespace.as_raw_fd(), 0) })
}

fn add_key() -> io::Result<()> {
    const PROCESS_KEYRING: i32 = -2;
    let payload = b"secret";
    // SAFETY: the texts are NUL-terminated, and the payload has the length given.
    answer(unsafe {
        libc::syscall(
            libc::SYS_add_key,
            c"user".as_ptr(),
            c"plimsoll".as_ptr(),
            payload.as_ptr(),
            payload.len(),
            PROCESS_KEYRING,
        )
    })
}

fn session_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: i32 = 1;
    // SAFETY: no name is given.
    answer(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, null::<u8>()) })
}

fn kernel_log() -> io::Result<()> {
    const READ_ALL: libc::c_int = 3;
    let mut buffer = [0; 64];
    // SAFETY: the buffer may be written to.
    answer(unsafe { libc::klogctl(READ_ALL, buffer.as_mut_ptr(), 64) })
}

/// To what it is.
fn clock() -> io::Result<()> {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure may be written to.
    answer(unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now) })?;
    // SAFETY: it was filled above.
    answer(unsafe { libc::clock_settime(libc::CLOCK_REALTIME, &raw const now) })
}

/// The root disk, under a name of one's own.
fn make_device() -> io::Result<()> {
    let path = CString::new(format!("/tmp/disk-{}", std::process::id()))?;
    // SAFETY: the path is NUL-terminated.
    answer(unsafe { libc::mknod(path.as_ptr(), libc::S_IFBLK | 0o600, libc::makedev(254, 0)) })
}

/// Opens what is pinned at a path.
pub(crate) fn pinned(path: &str) -> Attempt {
    const OBJ_GET: i32 = 7;
    let name = CString::new(path)?;
    died_for_it(|| bpf(OBJ_GET, &words(name.as_ptr())))
}

/// Uses a capability.
pub(crate) fn capability(name: &str) -> Attempt {
    const HOST: &[u8] = b"plimsoll-test";
    let file = format!("/tmp/capability-{}", std::process::id());
    std::fs::write(&file, "").context("cannot write a file")?;
    died_for_it(|| match name {
        "CAP_CHOWN" => std::os::unix::fs::chown(&file, Some(1000), Some(1000)),
        "CAP_SETUID" => plain(libc::SYS_setuid, [1000, 0, 0, 0, 0]).map(drop),
        "CAP_SETGID" => plain(libc::SYS_setgid, [1000, 0, 0, 0, 0]).map(drop),
        "CAP_SYS_CHROOT" => std::os::unix::fs::chroot("/usr"),
        // SAFETY: the name has the length given.
        "CAP_SYS_ADMIN" => answer(unsafe { libc::sethostname(HOST.as_ptr().cast(), HOST.len()) }),
        "CAP_NET_BIND_SERVICE" => bind_low_port(),
        "CAP_NET_RAW" => raw_socket(),
        "CAP_MKNOD" => make_device(),
        _ => Err(io::Error::from_raw_os_error(libc::EINVAL)),
    })
}

fn raw_socket() -> io::Result<()> {
    let [family, kind, protocol] = [libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP].map(libc::c_long::from);
    plain(libc::SYS_socket, [family, kind, protocol, 0, 0]).map(drop)
}

fn bind_low_port() -> io::Result<()> {
    match std::net::TcpListener::bind(("127.0.0.1", 81)) {
        // The network answers `EACCES` where others answer `EPERM`.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(io::Error::from_raw_os_error(libc::EPERM)),
        other => other.map(drop),
    }
}

/// Does something to another process, by its number.
pub(crate) fn to_process(what: &str, process: &str) -> Attempt {
    let process: libc::pid_t = process.parse()?;
    let id = libc::c_long::from(process);
    let signal = |signal: libc::c_int| plain(libc::SYS_kill, [id, signal.into(), 0, 0, 0]);
    let pidfd = || plain(libc::SYS_pidfd_open, [id, 0, 0, 0, 0]);
    Ok(match what {
        "kill" => signal(libc::SIGKILL).map(drop),
        "stop" => signal(libc::SIGSTOP).map(drop),
        "probe" => signal(0).map(drop),
        "pidfd-kill" => plain(libc::SYS_pidfd_send_signal, [pidfd()?, libc::SIGKILL.into(), 0, 0, 0]).map(drop),
        "pidfd-take" => plain(libc::SYS_pidfd_getfd, [pidfd()?, 0, 0, 0, 0]).map(drop),
        "descriptor-signal" => return descriptor_signal(id),
        "attach" => plain(libc::SYS_ptrace, [libc::PTRACE_SEIZE.into(), id, 0, 0, 0]).map(drop),
        "limit" => limit(process),
        "nice" => plain(libc::SYS_setpriority, [libc::PRIO_PROCESS.into(), id, 19, 0, 0]).map(drop),
        "scheduler" => scheduler(process),
        _ => bail!("no such thing"),
    })
}

fn limit(process: libc::pid_t) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
    // SAFETY: the new limit may be read; the old one is not asked for.
    answer(unsafe { libc::prlimit(process, libc::RLIMIT_NOFILE, &raw const limit, null_mut()) })
}

fn scheduler(process: libc::pid_t) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameters may be read.
    answer(unsafe { libc::sched_setscheduler(process, libc::SCHED_IDLE, &raw const parameters) })
}

/// Has the kernel send a signal to another process when a pipe becomes readable. Nobody is told whether it arrived: the caller looks.
fn descriptor_signal(process: libc::c_long) -> Attempt {
    const SET_SIGNAL: libc::c_long = 10;
    let (read, mut write) = io::pipe()?;
    let read = libc::c_long::from(read.as_raw_fd());
    for (command, value) in [
        (libc::F_SETOWN.into(), process),
        (SET_SIGNAL, libc::SIGKILL.into()),
        (libc::F_SETFL.into(), libc::O_ASYNC.into()),
    ] {
        plain(libc::SYS_fcntl, [read, command, value, 0, 0])?;
    }
    Ok(write.write_all(b"x"))
}
