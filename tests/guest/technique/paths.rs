//! Ways to say which file: descriptors, magic links, names that break parsers, files that change in the meantime.

use super::{CARELESS, Kernels, SPOILT, Technique, technique};

const EXEC: &str = "exec";
const WRITTEN: &str = "written";
const FOREIGN: &str = "foreign";

pub(super) const ROWS: &[Technique] = &[
    technique("relative-to-directory", "a dropped program by execveat and a directory's descriptor", "execveat(2)")
        .after("cp /usr/bin/true /tmp/relative")
        .by(&["exec-relative", "/tmp", "relative"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/relative"),
    technique("path-only-descriptor", "a dropped program by execveat and a descriptor made with O_PATH", "open(2), O_PATH")
        .after("cp /usr/bin/true /tmp/path-only")
        .by(&["exec-path-only", "/tmp/path-only"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/path-only"),
    technique("own-root-link", "a dropped program by /proc/self/root", "proc_pid_root(5)")
        .after("cp /usr/bin/true /tmp/own-root")
        .by(&["exec", "/proc/self/root/tmp/own-root"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/own-root"),
    technique("other-root-link", "a dropped program by another process's /proc/PID/root", "proc_pid_root(5)")
        .after("cp /usr/bin/true /tmp/their-root")
        .by(&["exec", "/proc/1/root/tmp/their-root"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/their-root"),
    technique("working-directory-link", "a dropped program by /proc/self/cwd", "proc_pid_cwd(5)")
        .after("cp /usr/bin/true /tmp/own-cwd")
        .by(&["exec", "/proc/self/cwd/tmp/own-cwd"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/own-cwd"),
    technique("mapped-file-link", "a dropped program by /proc/PID/map_files", "proc_pid_map_files(5)")
        .after("cp /usr/bin/true /tmp/map-file")
        .by(&["exec-map-file", "/tmp/map-file"])
        .denied(EXEC, WRITTEN),
    technique("descriptor-of-another-process", "a dropped program by another process's /proc/PID/fd", "proc_pid_fd(5)")
        .after("cp /usr/bin/true /tmp/their-fd")
        .by(&["with-open", "/tmp/their-fd", "exec", "@"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/their-fd"),
    technique("descriptor-from-outside", "a file of the host by a descriptor that a process outside sent", "unix(7), SCM_RIGHTS")
        .by(&["exec-received", "/offer/socket"])
        .denied(EXEC, FOREIGN)
        .under(&CARELESS),
    technique("file-handle", "a file of the host by its handle", "open_by_handle_at(2); shocker.c, 2014")
        .by(&["exec-handle", "/payload", "/payload/image/layers/2/opt/undeclared/tool"])
        .denied(EXEC, FOREIGN)
        .under(&CARELESS),
    technique("opened-by-ring", "a dropped program opened by io_uring, executed by its descriptor", "io_uring_enter(2), IORING_OP_OPENAT")
        .after("cp /usr/bin/true /tmp/ring")
        .by(&["exec-ring", "/tmp/ring"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/ring"),
    technique("dots-and-slashes", "a dropped program by a path with `.`, `..` and `//`", "path_resolution(7)")
        .after("cp /usr/bin/true /tmp/dots")
        .by(&["exec", "/usr/bin/../..//./tmp///dots"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/dots"),
    technique("chain-of-links", "a dropped program behind 39 symbolic links", "symlink(7); include/linux/namei.h: MAXSYMLINKS")
        .after("cp /usr/bin/true /tmp/link-0; for i in $(seq 39); do ln -s link-$((i - 1)) /tmp/link-$i; done")
        .by(&["exec", "/tmp/link-39"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/link-0"),
    technique("name-with-newline", "a dropped program whose name has a line break", "CWE-117")
        .by(&["exec-odd-name", "newline", "/usr/bin/true", "/tmp"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/two\nlines"),
    technique("name-with-escape", "a dropped program whose name clears a terminal", "CWE-150")
        .by(&["exec-odd-name", "escape", "/usr/bin/true", "/tmp"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/\x1b[2J"),
    technique("name-not-utf-8", "a dropped program whose name is no text", "path_resolution(7); Falco issue on non-UTF-8 paths")
        .by(&["exec-odd-name", "not-text", "/usr/bin/true", "/tmp"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/\u{fffd}\u{fffd}\u{fffd}"),
    technique("name-like-an-option", "a dropped program whose name is an option", "CWE-88")
        .by(&["exec-odd-name", "dash", "/usr/bin/true", "/tmp"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/-rf"),
    technique("longest-name", "a dropped program whose name has 255 bytes", "include/uapi/linux/limits.h: NAME_MAX")
        .by(&["exec-odd-name", "longest", "/usr/bin/true", "/tmp"])
        .denied(EXEC, WRITTEN),
    technique("deep-directory", "a dropped program below 100 directories", "path_resolution(7)")
        .after("mkdir -p /tmp/deep")
        .by(&["exec-deep", "100", "d", "/usr/bin/true", "/tmp/deep"])
        .denied(EXEC, WRITTEN),
    technique("path-too-long", "a dropped program whose path is longer than any system call takes", "include/uapi/linux/limits.h: PATH_MAX")
        .after("mkdir -p /tmp/long")
        .by(&[
            "exec-deep",
            "40",
            "a-directory-whose-name-is-so-long-that-forty-of-them-make-a-path-which-is-longer-than-four-thousand-and-ninety-six-bytes",
            "/usr/bin/true",
            "/tmp/long",
        ])
        .denied(EXEC, WRITTEN),
    technique("masked-process", "a dropped program that calls itself like a listed one", "MITRE ATT&CK T1036.003")
        .after("cp /usr/bin/true /tmp/masked")
        .by(&["exec-masked", "/tmp/masked", "/usr/bin/true"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/masked"),
    technique("exchanged", "a dropped program that changes places with a listed one", "renameat2(2), RENAME_EXCHANGE")
        .after("cp /usr/bin/true /tmp/exchanged")
        .by(&["exec-exchanged", "/usr/bin/factor", "/tmp/exchanged"])
        .denied(EXEC, WRITTEN)
        .naming("/usr/bin/factor"),
    technique("removed-and-made-again", "a listed program removed, and another put in its place", "kernel.org: filesystems/overlayfs, whiteouts")
        .after("rm /usr/bin/ptx; cp /usr/bin/true /usr/bin/ptx")
        .by(&["exec", "/usr/bin/ptx"])
        .denied(EXEC, WRITTEN)
        .naming("/usr/bin/ptx"),
    technique("listed-linked", "a second name for a listed program, which overlayfs copies up", "link(2)")
        .after("ln /usr/bin/arch /tmp/twin")
        .by(&["exec", "/tmp/twin"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/twin"),
    technique("listed-moved", "a listed program under another name, as which it would do something else", "rename(2)")
        .after("mv /usr/bin/groups /tmp/moved")
        .by(&["exec", "/tmp/moved"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/moved"),
    technique("made-executable", "a file of the image that was no program, made one", "chmod(2)")
        .after("chmod +x /usr/lib/x86_64-linux-gnu/libthread_db.so.1")
        .by(&["watched", "Segmentation", "not permitted", "sh", "-c", "/usr/lib/x86_64-linux-gnu/libthread_db.so.1"])
        .denied(EXEC, WRITTEN),
    technique("set-user-id", "a dropped program that gets its owner's rights", "execve(2), set-user-ID")
        .after("cp /usr/bin/true /tmp/suid; chmod 4755 /tmp/suid")
        .by(&["as-user", "65534", "exec", "/tmp/suid"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/suid"),
    technique("race-of-writing", "listed programs overwritten while they are executed", "CWE-367; fs/exec.c: deny_write_access")
        .by(&[
            "race-copy-up", "/usr/bin/false", "/usr/bin/b2sum", "/usr/bin/base32", "/usr/bin/base64", "/usr/bin/basenc",
            "/usr/bin/cksum", "/usr/bin/comm", "/usr/bin/csplit", "/usr/bin/cut", "/usr/bin/df", "/usr/bin/dircolors",
            "/usr/bin/du", "/usr/bin/expand", "/usr/bin/expr", "/usr/bin/fmt", "/usr/bin/fold", "/usr/bin/join",
            "/usr/bin/nl", "/usr/bin/numfmt", "/usr/bin/od", "/usr/bin/paste",
        ])
        .denied(EXEC, WRITTEN)
        .under(&SPOILT),
    technique("race-of-links", "a symbolic link that turns to a dropped program while it is executed", "CWE-367; symlink(7)")
        .after("cp /usr/bin/false /tmp/other; mkdir -p /tmp/race")
        .by(&["race-link", "/usr/bin/true", "/tmp/other", "/tmp/race", "200"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/other"),
    technique("memory-file-by-path", "a memory file by another process's /proc/PID/fd", "memfd_create(2); MITRE ATT&CK T1620")
        .by(&["with-memory-file", "plain", "/usr/bin/true", "exec", "@"])
        .denied(EXEC, FOREIGN),
    technique("memory-file-sealed", "a memory file that can no longer be changed", "memfd_create(2), F_SEAL_WRITE; CVE-2019-5736, runc's own defence")
        .by(&["with-memory-file", "sealed", "/usr/bin/true", "exec", "@"])
        .denied(EXEC, FOREIGN),
    technique("memory-file-executable", "a memory file that is declared executable", "memfd_create(2), MFD_EXEC")
        .by(&["with-memory-file", "executable", "/usr/bin/true", "exec", "@"])
        .denied(EXEC, FOREIGN)
        .on(Kernels::From6_12),
    technique("memory-file-script", "a script in a memory file", "execveat(2), Interpreter scripts")
        .after("printf '#!/bin/sh\\n' > /tmp/script")
        .by(&["with-memory-file", "plain", "/tmp/script", "exec", "@"])
        .denied(EXEC, FOREIGN),
];
