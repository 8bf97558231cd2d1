//! File rules: what a policy forbids to do with a path, and roundabout ways to the same file.

use std::{fs, path::Path};

use serde_json::json;

use super::{Suite, Technique, technique};
use crate::container::ContainerSpec;

const READ: &str = "read";
const WRITE: &str = "write";
const CREATE: &str = "create";
const REMOVE: &str = "remove";
const RENAME: &str = "rename";
const LINK: &str = "link";
const ATTRIBUTE: &str = "attribute";
const RULE: &str = "file-rule";

/// On the image, and on a volume that holds something from the start: nothing can be put under a rule afterwards.
pub(crate) static FILES: Suite = Suite::new(
    "files",
    "  files:
    - path: /etc/issue
      deny: [Read]
    - path: /etc/issue.net
      deny: [Read]
    - path: /etc/logrotate.d/**
      deny: [Write, Create, Remove, Rename, Link, Attribute]
    - path: /data/secret/**
      deny: [All]
    - path: /data/secret/open/**
      allow: [All]
    - path: /data/kept/**
      deny: [Write, Create, Remove, Rename, Link, Attribute]
    - path: /data/above/below/file
      deny: [Read]
",
)
.configured(with_volume);

/// A fresh volume for each container.
pub(crate) fn with_volume(spec: &mut ContainerSpec) {
    let volume = Path::new("/run/plimsoll-test-volumes").join(&spec.id);
    if let Err(error) = fill(&volume) {
        eprintln!("cannot fill the volume of `{}`: {error}", spec.id);
    }
    spec.capabilities.push("CAP_DAC_READ_SEARCH");
    spec.mounts.push(json!({"destination": "/data", "type": "bind", "source": volume, "options": ["rbind", "rw"]}));
    spec.mounts.push(json!({"destination": "/scratch", "type": "tmpfs", "source": "scratch"}));
}

fn fill(volume: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(volume) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for directory in ["secret/open", "kept/directory", "above/below", "free"] {
        fs::create_dir_all(volume.join(directory))?;
    }
    let kept = ('a'..='z').map(|name| format!("kept/{name}"));
    for file in
        ["secret/file", "secret/open/file", "above/below/file", "free/file"].map(str::to_owned).into_iter().chain(kept)
    {
        fs::write(volume.join(file), "content\n")?;
    }
    Ok(())
}

const fn files(name: &'static str, what: &'static str, reference: &'static str) -> Technique {
    technique(name, what, reference).under(&FILES)
}

pub(super) const ROWS: &[Technique] = &[
    // By name, on the root filesystem.
    files("file-read", "reading what may not be read", "open(2)")
        .by(&["file", "read", "/etc/issue"])
        .denied(READ, RULE)
        .naming("/etc/issue"),
    files("file-read-by-symlink", "the same by a symbolic link", "symlink(7)")
        .after("ln -s ../etc/issue /tmp/fa")
        .by(&["file", "read", "/tmp/fa"])
        .denied(READ, RULE)
        .naming("/etc/issue"),
    files("file-read-by-proc-root", "the same below /proc/self/root", "proc(5)")
        .by(&["file", "read", "/proc/self/root/etc/issue"])
        .denied(READ, RULE)
        .naming("/etc/issue"),
    files("file-read-by-descriptor", "the same below a directory's descriptor", "proc(5), /proc/self/fd")
        .by(&["read-below-descriptor", "/etc/issue"])
        .denied(READ, RULE)
        .naming("/etc/issue"),
    files("file-read-by-path-descriptor", "the same by a descriptor that only names it", "open(2), O_PATH")
        .by(&["read-by-path-descriptor", "/etc/issue"])
        .denied(READ, RULE)
        .naming("/etc/issue"),
    files("file-read-by-bind-mount", "the same where its directory is mounted again", "mount(2), MS_BIND")
        .after("mkdir -p /tmp/fb")
        .by(&["read-by-bind-mount", "/etc/issue", "/tmp/fb"])
        .denied(READ, RULE)
        .naming("/etc/issue"),
    files("file-read-in-chroot", "the same from another root directory", "chroot(2)")
        .by(&["read-in-chroot", "/etc/issue"])
        .denied(READ, RULE)
        .naming("/etc/issue"),
    files("file-read-by-ring", "the same by io_uring", "io_uring(7), IORING_OP_OPENAT")
        .by(&["by-ring", "read", "/etc/issue"])
        .denied(READ, RULE)
        .naming("/etc/issue"),
    files("file-read-by-dots", "the same by a path with dots", "path_resolution(7)")
        .by(&["file", "read", "/usr/bin/../../etc/./issue"])
        .denied(READ, RULE)
        .naming("/etc/issue"),
    files("file-renamed-then-read", "the same after a change of name", "rename(2)")
        .by(&["file", "rename", "/etc/issue.net", "/tmp/fc"])
        .denied(RENAME, RULE)
        .naming("/etc/issue.net"),
    files("file-linked-then-read", "the same after a second name", "link(2); CWE-62")
        .by(&["file", "link", "/data/secret/file", "/data/free/fd"])
        .denied(LINK, RULE)
        .naming("/data/secret/file"),
    files("file-exchanged", "two names exchanged", "renameat2(2), RENAME_EXCHANGE")
        .by(&["file", "exchange", "/data/free/file", "/data/secret/file"])
        .denied(RENAME, RULE)
        .naming("/data/secret/file"),
    files("file-created-below-image", "a file made in a directory of the image", "open(2), O_CREAT")
        .by(&["file", "create", "/etc/logrotate.d/fe"])
        .denied(CREATE, RULE)
        .naming("/etc/logrotate.d/fe"),
    files("file-created-deep", "a file deep below", "path_resolution(7)")
        .after("mkdir -p /data/secret/open/1/2/3/4/5/6/7/8/9/10")
        .by(&["file", "rename", "/data/secret/open/1", "/data/secret/1"])
        .denied(RENAME, RULE)
        .naming("/data/secret/1"),
    files("file-overwritten-on-image", "a file of the image written", "open(2)")
        .by(&["file", "write", "/etc/logrotate.d/dpkg"])
        .denied(WRITE, RULE)
        .naming("/etc/logrotate.d/dpkg"),
    files("file-mode-on-image", "the mode of a file of the image", "chmod(2)")
        .by(&["file", "chmod", "/etc/logrotate.d/dpkg"])
        .denied(ATTRIBUTE, RULE)
        .naming("/etc/logrotate.d/dpkg"),
    files(
        "file-read-through-overlay",
        "reading through an overlay mounted over the directory",
        "overlayfs; CVE-2023-0386",
    )
    .after("mkdir -p /scratch/overlay")
    .by(&["read-through-overlay", "/etc/issue", "/scratch/overlay"])
    .denied(READ, "foreign"),
    // On a volume.
    files("file-on-volume-read", "reading on a volume", "OCI runtime specification, mounts")
        .by(&["file", "read", "/data/secret/file"])
        .denied(READ, RULE)
        .naming("/data/secret/file"),
    files("file-on-volume-list", "listing a directory", "getdents(2)")
        .by(&["file", "list", "/data/secret"])
        .denied(READ, RULE)
        .naming("/data/secret"),
    files(
        "file-on-volume-read-by-bind-mount",
        "reading where a part of a volume is mounted again",
        "mount(2), MS_BIND",
    )
    .after("mkdir -p /tmp/ff")
    .by(&["read-by-bind-mount", "/data/secret/file", "/tmp/ff"])
    .denied(READ, RULE)
    .naming("/data/secret/file"),
    files("file-on-volume-read-in-chroot", "reading with the volume as root directory", "chroot(2)")
        .by(&["read-in-chroot", "/data/secret/file"])
        .denied(READ, RULE)
        .naming("/data/secret/file"),
    files("file-on-volume-read-by-handle", "reading by a file handle", "open_by_handle_at(2); the `shocker` exploit")
        .by(&["read-by-handle", "/data/secret/file"])
        .denied(READ, RULE),
    files("file-parent-renamed", "reading after a directory further up has another name", "rename(2)")
        .by(&["read-after-moving-parent", "/data/above/below/file", "/data/free/moved"])
        .denied(RENAME, RULE)
        .naming("/data/above/below"),
    files("file-on-volume-write", "writing", "open(2)")
        .by(&["file", "write", "/data/kept/a"])
        .denied(WRITE, RULE)
        .naming("/data/kept/a"),
    files("file-on-volume-append", "appending", "open(2), O_APPEND")
        .by(&["file", "append", "/data/kept/b"])
        .denied(WRITE, RULE)
        .naming("/data/kept/b"),
    files("file-on-volume-truncating-read", "cutting by opening for reading", "open(2), O_TRUNC")
        .by(&["file", "truncating-read", "/data/kept/c"])
        .denied(WRITE, RULE)
        .naming("/data/kept/c"),
    files("file-on-volume-truncate", "cutting by name", "truncate(2)")
        .by(&["file", "truncate", "/data/kept/d"])
        .denied(WRITE, RULE)
        .naming("/data/kept/d"),
    files("file-on-volume-create", "making a file", "open(2), O_CREAT")
        .by(&["file", "create", "/data/kept/new"])
        .denied(CREATE, RULE)
        .naming("/data/kept/new"),
    files("file-on-volume-mkdir", "making a directory", "mkdir(2)")
        .by(&["file", "mkdir", "/data/kept/new-directory"])
        .denied(CREATE, RULE)
        .naming("/data/kept/new-directory"),
    files("file-on-volume-mkfifo", "making a pipe", "mkfifo(3)")
        .by(&["file", "mkfifo", "/data/kept/new-pipe"])
        .denied(CREATE, RULE)
        .naming("/data/kept/new-pipe"),
    files("file-on-volume-symlink", "making a symbolic link", "symlink(2)")
        .by(&["file", "symlink", "/data/kept/new-link", "/etc"])
        .denied(CREATE, RULE)
        .naming("/data/kept/new-link"),
    files("file-on-volume-unlink", "removing a file", "unlink(2)")
        .by(&["file", "unlink", "/data/kept/e"])
        .denied(REMOVE, RULE)
        .naming("/data/kept/e"),
    files("file-on-volume-unlink-by-ring", "the same by io_uring", "io_uring(7), IORING_OP_UNLINKAT")
        .by(&["by-ring", "unlink", "/data/kept/f"])
        .denied(REMOVE, RULE)
        .naming("/data/kept/f"),
    files("file-on-volume-rmdir", "removing a directory", "rmdir(2)")
        .by(&["file", "rmdir", "/data/kept/directory"])
        .denied(REMOVE, RULE)
        .naming("/data/kept/directory"),
    files("file-on-volume-rename-away", "moving a file away", "rename(2)")
        .by(&["file", "rename", "/data/kept/g", "/data/free/g"])
        .denied(RENAME, RULE)
        .naming("/data/kept/g"),
    files("file-on-volume-rename-over", "replacing a file by a change of name", "rename(2)")
        .after("echo > /data/free/h")
        .by(&["file", "rename", "/data/free/h", "/data/kept/h"])
        .denied(RENAME, RULE)
        .naming("/data/kept/h"),
    files("file-on-volume-link-into", "a second name put into a kept directory", "link(2)")
        .after("echo > /data/free/i")
        .by(&["file", "link", "/data/free/i", "/data/kept/new-name"])
        .denied(LINK, RULE)
        .naming("/data/kept/new-name"),
    files("file-on-volume-chmod", "changing a mode", "chmod(2)")
        .by(&["file", "chmod", "/data/kept/j"])
        .denied(ATTRIBUTE, RULE)
        .naming("/data/kept/j"),
    files("file-on-volume-chown", "changing an owner", "chown(2)")
        .by(&["file", "chown", "/data/kept/k"])
        .denied(ATTRIBUTE, RULE)
        .naming("/data/kept/k"),
    files("file-on-volume-times", "changing times", "utimes(2); MITRE ATT&CK T1070.006")
        .by(&["file", "times", "/data/kept/l"])
        .denied(ATTRIBUTE, RULE)
        .naming("/data/kept/l"),
    files("file-on-volume-setxattr", "setting an extended attribute", "setxattr(2)")
        .by(&["file", "setxattr", "/data/kept/m"])
        .denied(ATTRIBUTE, RULE)
        .naming("/data/kept/m"),
    files("file-on-volume-name-for-unnamed", "a name for a file that had none", "open(2), O_TMPFILE; linkat(2)")
        .by(&["name-unnamed", "/data/kept/new-unnamed"])
        .denied(LINK, RULE)
        .naming("/data/kept/new-unnamed"),
];
