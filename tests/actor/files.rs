//! Ways to reach a file: operations by name, and roundabout routes to the same file.

use std::{
    ffi::CString,
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use crate::{
    Attempt,
    ring::{self, Request},
};

/// One operation by name: `read`, `write`, `create` and so on.
pub(crate) fn operate(operation: &str, file: &Path, more: &[&str]) -> Attempt {
    Ok(match (operation, more) {
        ("read", []) => read(file),
        ("list", []) => fs::read_dir(file).map(drop),
        ("write", []) => OpenOptions::new().write(true).open(file).map(drop),
        ("append", []) => OpenOptions::new().append(true).open(file).map(drop),
        ("truncating-read", []) => OpenOptions::new().read(true).custom_flags(libc::O_TRUNC).open(file).map(drop),
        ("truncate", []) => call(file, |path| {
            // SAFETY: `path` is a NUL-terminated string.
            unsafe { libc::truncate(path, 0) }
        }),
        ("create", []) => OpenOptions::new().write(true).create_new(true).open(file).map(drop),
        ("mkdir", []) => fs::create_dir(file),
        ("mkfifo", []) => call(file, |path| {
            // SAFETY: `path` is a NUL-terminated string.
            unsafe { libc::mkfifo(path, 0o644) }
        }),
        ("symlink", [target]) => std::os::unix::fs::symlink(target, file),
        ("unlink", []) => fs::remove_file(file),
        ("rmdir", []) => fs::remove_dir(file),
        ("rename", [new]) => fs::rename(file, new),
        ("exchange", [other]) => exchange(file, Path::new(other)),
        ("link", [new]) => fs::hard_link(file, new),
        ("chmod", []) => call(file, |path| {
            // SAFETY: `path` is a NUL-terminated string.
            unsafe { libc::chmod(path, 0o600) }
        }),
        ("chown", []) => std::os::unix::fs::chown(file, Some(7), None),
        ("times", []) => call(file, |path| {
            // SAFETY: `path` is a NUL-terminated string; without times it is now.
            unsafe { libc::utimes(path, std::ptr::null()) }
        }),
        ("setxattr", []) => call(file, |path| {
            // SAFETY: all strings are NUL-terminated, and the value has one byte.
            unsafe { libc::setxattr(path, c"trusted.plimsoll".as_ptr(), c"1".as_ptr().cast(), 1, 0) }
        }),
        _ => bail!("unknown operation or wrong number of arguments: {operation} {more:?}"),
    })
}

/// Reads by the number of an open directory.
pub(crate) fn below_descriptor(file: &Path) -> Attempt {
    let directory = File::open(parent(file)?).context("cannot open the directory")?;
    Ok(read(&PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name(file)?)))
}

/// Reads by the name that a path descriptor (`O_PATH`) of the file itself has.
pub(crate) fn by_path_descriptor(file: &Path) -> Attempt {
    let found = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(file).context("O_PATH")?;
    Ok(read(Path::new(&format!("/proc/self/fd/{}", found.as_raw_fd()))))
}

/// Reads where the file's directory is mounted a second time.
pub(crate) fn bind_mounted(file: &Path, mount_point: &Path) -> Attempt {
    unshare_mounts()?;
    mount(Some(parent(file)?), mount_point, None, libc::MS_BIND, None)?;
    Ok(read(&mount_point.join(name(file)?)))
}

/// Reads from a root directory that is the file's own directory.
pub(crate) fn in_chroot(file: &Path) -> Attempt {
    std::os::unix::fs::chroot(parent(file)?).context("chroot")?;
    Ok(read(&Path::new("/").join(name(file)?)))
}

/// Reads through an overlay whose lower layer is the file's directory.
pub(crate) fn through_overlay(file: &Path, mount_point: &Path) -> Attempt {
    unshare_mounts()?;
    let options = format!("lowerdir={}:{}", parent(file)?.display(), mount_point.display());
    mount(None, mount_point, Some("overlay"), 0, Some(&options))?;
    Ok(read(&mount_point.join(name(file)?)))
}

/// Reads by the file's handle; the descriptor that says which filesystem is meant is of a directory further up.
pub(crate) fn by_handle(file: &Path) -> Attempt {
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: i32,
        data: [u8; 128],
    }
    let path = c_string(file)?;
    let mut handle = Handle { bytes: 128, kind: 0, data: [0; 128] };
    let mut mount_id = 0_i32;
    // SAFETY: `path` is NUL-terminated, the handle has as much room as it says, and `mount_id` is valid for writes.
    let found = unsafe {
        libc::syscall(libc::SYS_name_to_handle_at, libc::AT_FDCWD, path.as_ptr(), &raw mut handle, &raw mut mount_id, 0)
    };
    if found != 0 {
        return Err(io::Error::last_os_error()).context("name_to_handle_at");
    }
    let directory = File::open(parent(parent(file)?)?).context("cannot open a directory of the filesystem")?;
    // SAFETY: the handle is the one that the kernel filled.
    let opened =
        unsafe { libc::syscall(libc::SYS_open_by_handle_at, directory.as_raw_fd(), &raw const handle, libc::O_RDONLY) };
    if opened < 0 {
        return Ok(Err(io::Error::last_os_error()));
    }
    // SAFETY: the descriptor was just created and nothing else owns it.
    let opened = unsafe { OwnedFd::from_raw_fd(i32::try_from(opened)?) };
    Ok(read_all(File::from(opened)))
}

/// Renames the directory above, then reads below its new name.
pub(crate) fn after_moving_parent(file: &Path, new: &Path) -> Attempt {
    if let Err(error) = fs::rename(parent(file)?, new) {
        return Ok(Err(error));
    }
    Ok(read(&new.join(name(file)?)))
}

/// Gives a file without a name one: `O_TMPFILE`, then `linkat`.
pub(crate) fn name_unnamed(file: &Path) -> Attempt {
    let unnamed = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .mode(0o644)
        .open(parent(parent(file)?)?)
        .context("O_TMPFILE")?;
    let source = CString::new(format!("/proc/self/fd/{}", unnamed.as_raw_fd()))?;
    let target = c_string(file)?;
    // SAFETY: both paths are NUL-terminated strings.
    let linked = unsafe {
        libc::linkat(libc::AT_FDCWD, source.as_ptr(), libc::AT_FDCWD, target.as_ptr(), libc::AT_SYMLINK_FOLLOW)
    };
    Ok(if linked == 0 { Ok(()) } else { Err(io::Error::last_os_error()) })
}

/// By `io_uring`: `openat` for reading, or `unlinkat`.
pub(crate) fn by_ring(operation: &str, file: &Path) -> Attempt {
    let path = c_string(file)?;
    let code = match operation {
        "read" => ring::OPENAT,
        "unlink" => ring::UNLINKAT,
        _ => bail!("unknown operation: {operation}"),
    };
    let answer = ring::submit(Request::about(code, &path))?;
    Ok(ring::outcome(answer).map(drop))
}

fn read(file: &Path) -> io::Result<()> {
    read_all(File::open(file)?)
}

fn read_all(mut file: File) -> io::Result<()> {
    file.read_to_end(&mut Vec::new()).map(drop)
}

fn exchange(file: &Path, other: &Path) -> io::Result<()> {
    let failed = |error: anyhow::Error| io::Error::other(error.to_string());
    let (old, new) = (c_string(file).map_err(failed)?, c_string(other).map_err(failed)?);
    // SAFETY: both paths are NUL-terminated strings.
    let answer =
        unsafe { libc::renameat2(libc::AT_FDCWD, old.as_ptr(), libc::AT_FDCWD, new.as_ptr(), libc::RENAME_EXCHANGE) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn call(file: &Path, operation: impl FnOnce(*const libc::c_char) -> libc::c_int) -> io::Result<()> {
    let path = CString::new(file.as_os_str().as_bytes())?;
    if operation(path.as_ptr()) == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn unshare_mounts() -> anyhow::Result<()> {
    // SAFETY: no memory is involved.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return Err(io::Error::last_os_error()).context("unshare");
    }
    mount(None, Path::new("/"), None, libc::MS_REC | libc::MS_PRIVATE, None)
}

fn mount(
    source: Option<&Path>,
    target: &Path,
    filesystem: Option<&str>,
    flags: libc::c_ulong,
    options: Option<&str>,
) -> anyhow::Result<()> {
    let source = c_string(source.unwrap_or(Path::new("none")))?;
    let (target, filesystem) = (c_string(target)?, CString::new(filesystem.unwrap_or_default())?);
    let options = CString::new(options.unwrap_or_default())?;
    // SAFETY: all are NUL-terminated strings.
    let mounted =
        unsafe { libc::mount(source.as_ptr(), target.as_ptr(), filesystem.as_ptr(), flags, options.as_ptr().cast()) };
    if mounted == 0 { Ok(()) } else { Err(io::Error::last_os_error()).context("mount") }
}

fn parent(file: &Path) -> anyhow::Result<&Path> {
    file.parent().with_context(|| format!("`{}` has no directory", file.display()))
}

fn name(file: &Path) -> anyhow::Result<&Path> {
    file.file_name().map(Path::new).with_context(|| format!("`{}` has no name", file.display()))
}

fn c_string(path: &Path) -> anyhow::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}
