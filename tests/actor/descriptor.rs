//! Files that are executed by a descriptor, and ways to come by one.

use std::{
    ffi::{CStr, CString},
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, RawFd},
        unix::{fs::OpenOptionsExt as _, net::UnixStream},
    },
};

use anyhow::{Context as _, bail, ensure};

use crate::{
    Attempt, attempt,
    execute::{run_at, run_descriptor},
    ring::{self, Request},
};

/// Names an open descriptor in another attempt's arguments.
const PLACE: &str = "@";

/// By a name in an open directory.
pub(crate) fn relative(directory: &str, name: &str) -> Attempt {
    let open = File::open(directory).with_context(|| format!("cannot open `{directory}`"))?;
    run_at(open.as_raw_fd(), &CString::new(name)?, 0)
}

/// By a descriptor that can be used for nothing else.
pub(crate) fn path_only(file: &str) -> Attempt {
    let open = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(file);
    run_descriptor(&open.with_context(|| format!("cannot open `{file}`"))?)
}

/// Another attempt, with `@` in its arguments being the name of a memory file with `file`'s content. `flags` are those of
/// `memfd_create`, or `sealed`.
pub(crate) fn with_memory_file(flags: &str, file: &str, rest: &[&str]) -> Attempt {
    const MFD_EXEC: libc::c_uint = 0x10;
    const SEALS: libc::c_int = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    let flag = match flags {
        "sealed" => libc::MFD_ALLOW_SEALING,
        "executable" => MFD_EXEC,
        "plain" => 0,
        _ => bail!("unknown flags `{flags}`"),
    };
    let content = fs::read(file).with_context(|| format!("cannot read `{file}`"))?;
    // SAFETY: the name is a NUL-terminated string.
    let mut memory = owned(unsafe { libc::memfd_create(c"payload".as_ptr(), flag) }, "memfd_create")?;
    memory.write_all(&content).context("cannot write to the memory file")?;
    if flags == "sealed" {
        // SAFETY: the descriptor is open.
        let sealed = unsafe { libc::fcntl(memory.as_raw_fd(), libc::F_ADD_SEALS, SEALS) };
        ensure!(sealed == 0, "F_ADD_SEALS: {}", io::Error::last_os_error());
    }
    with_descriptor(&memory, rest)
}

/// Another attempt, with `@` being the name of this process's open descriptor for `file`.
pub(crate) fn with_open(file: &str, rest: &[&str]) -> Attempt {
    let open = File::open(file).with_context(|| format!("cannot open `{file}`"))?;
    // SAFETY: the descriptor is open; it is to outlive `execve`.
    ensure!(unsafe { libc::fcntl(open.as_raw_fd(), libc::F_SETFD, 0) } == 0, "F_SETFD: {}", io::Error::last_os_error());
    with_descriptor(&open, rest)
}

fn with_descriptor(file: &File, rest: &[&str]) -> Attempt {
    let name = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    let rest: Vec<&str> = rest.iter().map(|&word| if word == PLACE { name.as_str() } else { word }).collect();
    attempt(&rest)
}

/// By the name that a mapping of it has.
pub(crate) fn mapped(file: &str) -> Attempt {
    let open = File::open(file).with_context(|| format!("cannot open `{file}`"))?;
    // SAFETY: the kernel chooses the address.
    let page =
        unsafe { libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_PRIVATE, open.as_raw_fd(), 0) };
    ensure!(page != libc::MAP_FAILED, "mmap: {}", io::Error::last_os_error());
    let name = format!("/proc/{}/map_files/{:x}-{:x}", std::process::id(), page.addr(), page.addr() + 4096);
    crate::execute::path(&name, &[])
}

/// From a filesystem that is mounted nowhere, with a copy of `file` in it.
pub(crate) fn detached_filesystem(file: &str) -> Attempt {
    const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
    // SAFETY: the name is NUL-terminated.
    let context = owned_long(unsafe { libc::syscall(libc::SYS_fsopen, c"tmpfs".as_ptr(), 0) }, "fsopen")?;
    let none = std::ptr::null::<u8>();
    // SAFETY: creation takes neither key nor value.
    let made = unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), FSCONFIG_CMD_CREATE, none, none, 0) };
    ensure!(made == 0, "fsconfig: {}", io::Error::last_os_error());
    // SAFETY: the descriptor is open.
    let mount = owned_long(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), 0, 0) }, "fsmount")?;
    let copy = format!("/proc/self/fd/{}/copy", mount.as_raw_fd());
    fs::copy(file, &copy).context("cannot copy into the filesystem")?;
    run_at(mount.as_raw_fd(), c"copy", 0)
}

/// From a copy of a mount that is mounted nowhere.
pub(crate) fn detached_mount(directory: &str, name: &str) -> Attempt {
    const OPEN_TREE_CLONE: libc::c_uint = 1;
    let path = CString::new(directory)?;
    // SAFETY: the path is NUL-terminated.
    let tree = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), OPEN_TREE_CLONE) };
    run_at(owned_long(tree, "open_tree")?.as_raw_fd(), &CString::new(name)?, 0)
}

/// A file of the host by its handle, as a process can that may search everything.
pub(crate) fn by_handle(mount: &str, file: &str) -> Attempt {
    const ROOM: usize = 128;
    /// `struct file_handle`
    #[repr(C)]
    struct Handle {
        bytes: libc::c_uint,
        kind: libc::c_int,
        opaque: [u8; ROOM],
    }
    let mut handle = Handle { bytes: u32::try_from(ROOM)?, kind: 0, opaque: [0; ROOM] };
    let (path, mut mount_id) = (CString::new(file)?, 0);
    // SAFETY: the path is NUL-terminated, and the handle has the room it says.
    let named = unsafe {
        libc::syscall(libc::SYS_name_to_handle_at, libc::AT_FDCWD, path.as_ptr(), &raw mut handle, &raw mut mount_id, 0)
    };
    ensure!(named == 0, "name_to_handle_at: {}", io::Error::last_os_error());
    let mount = File::open(mount).with_context(|| format!("cannot open `{mount}`"))?;
    // SAFETY: the handle is one that the kernel has filled.
    let opened = unsafe {
        libc::syscall(libc::SYS_open_by_handle_at, mount.as_raw_fd(), &raw mut handle, libc::O_RDONLY | libc::O_CLOEXEC)
    };
    run_descriptor(&owned_long(opened, "open_by_handle_at")?)
}

/// A descriptor that somebody outside the container sends.
pub(crate) fn received(socket: &str) -> Attempt {
    let stream = UnixStream::connect(socket).with_context(|| format!("cannot connect to `{socket}`"))?;
    let mut byte = [0_u8];
    let mut buffer = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let mut control = [0_u64; 8];
    // SAFETY: all zeros is a valid header.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut buffer, 1);
    (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), size_of_val(&control));
    // SAFETY: the header points at live buffers of the lengths it says.
    let got = unsafe { libc::recvmsg(stream.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    ensure!(got == 1, "recvmsg: {}", io::Error::last_os_error());
    // SAFETY: the kernel has filled the header.
    let first = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    ensure!(!first.is_null(), "no descriptor came");
    // SAFETY: the first control message is inside the buffer.
    let data = unsafe { libc::CMSG_DATA(first) };
    // SAFETY: it holds one descriptor.
    let number = unsafe { data.cast::<RawFd>().read_unaligned() };
    run_descriptor(&owned(number, "SCM_RIGHTS")?)
}

/// Opened by the kernel's asynchronous interface, see [`ring`].
pub(crate) fn by_ring(file: &CStr) -> Attempt {
    let request = Request { operation_flags: libc::O_CLOEXEC, ..Request::about(ring::OPENAT, file) };
    let number = ring::outcome(ring::submit(request)?).context("IORING_OP_OPENAT")?;
    run_descriptor(&owned(number, "IORING_OP_OPENAT")?)
}

fn owned_long(number: libc::c_long, call: &str) -> anyhow::Result<File> {
    owned(RawFd::try_from(number)?, call)
}

fn owned(number: RawFd, call: &str) -> anyhow::Result<File> {
    if number < 0 {
        return Err(io::Error::last_os_error()).with_context(|| call.to_owned());
    }
    // SAFETY: the descriptor was just made, and nothing else owns it.
    Ok(unsafe { File::from_raw_fd(number) })
}
