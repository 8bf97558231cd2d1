//! Files that were put or changed in the container's root file system.

use super::{Kernels, SPOILT, Technique, technique};

const EXEC: &str = "exec";
const WRITTEN: &str = "written";

pub(super) const ROWS: &[Technique] = &[
    technique("dropped-in-tmp", "a program copied to /tmp", "MITRE ATT&CK T1105")
        .after("cp /usr/bin/true /tmp/a")
        .by(&["exec", "/tmp/a"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/a"),
    technique(
        "dropped-in-usr-bin",
        "a program copied among the image's own",
        "Falco rule `Drop and execute new binary in container`",
    )
    .after("cp /usr/bin/true /usr/bin/a")
    .by(&["exec", "/usr/bin/a"])
    .denied(EXEC, WRITTEN)
    .naming("/usr/bin/a"),
    technique("listed-overwritten", "other content in a listed program", "MITRE ATT&CK T1554")
        .after("cat /usr/bin/true > /usr/bin/id")
        .by(&["exec", "/usr/bin/id"])
        .denied(EXEC, WRITTEN)
        .naming("/usr/bin/id"),
    technique(
        "listed-touched",
        "a listed program whose times changed: overlayfs copies it up",
        "kernel.org: filesystems/overlayfs, Non-directories",
    )
    .after("touch /usr/bin/nice")
    .by(&["exec", "/usr/bin/nice"])
    .denied(EXEC, WRITTEN)
    .naming("/usr/bin/nice"),
    technique("listed-replaced-by-rename", "another file renamed over a listed program", "rename(2)")
        .after("cp /usr/bin/true /usr/bin/b; mv /usr/bin/b /usr/bin/whoami")
        .by(&["exec", "/usr/bin/whoami"])
        .denied(EXEC, WRITTEN)
        .naming("/usr/bin/whoami"),
    technique("hard-link-of-dropped", "a second name of a dropped program", "link(2)")
        .after("cp /usr/bin/true /tmp/c; ln /tmp/c /tmp/d")
        .by(&["exec", "/tmp/d"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/d"),
    technique("symlink-to-dropped", "a symbolic link to a dropped program", "symlink(7)")
        .after("cp /usr/bin/true /tmp/e; ln -s e /tmp/f")
        .by(&["exec", "/tmp/f"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/e"),
    technique("descriptor-of-dropped", "a dropped program by /proc/self/fd", "proc_pid_fd(5)")
        .after("cp /usr/bin/true /tmp/g")
        .by(&["descriptor-exec", "/tmp/g"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/g"),
    technique("deleted-file", "a dropped program that was deleted while open", "execveat(2), AT_EMPTY_PATH")
        .by(&["deleted-exec", "/usr/bin/true", "/tmp"])
        .denied(EXEC, WRITTEN),
    technique("dropped-script", "a script that was written", "execve(2), Interpreter scripts")
        .after("printf '#!/bin/sh\\n' > /tmp/h; chmod 755 /tmp/h")
        .by(&["exec", "/tmp/h"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/h"),
    technique(
        "script-with-dropped-interpreter",
        "a script that was written, for an interpreter that was",
        "execve(2), Interpreter scripts",
    )
    .after("cp /usr/bin/true /tmp/i; printf '#!/tmp/i\\n' > /tmp/j; chmod 755 /tmp/j")
    .by(&["exec", "/tmp/j"])
    .denied(EXEC, WRITTEN)
    .naming("/tmp/j"),
    technique(
        "listed-script-with-overwritten-interpreter",
        "a listed script whose interpreter was changed",
        "fs/binfmt_script.c: load_script",
    )
    .after("cat /usr/bin/true > \"$(readlink -f /usr/bin/python3)\"")
    .by(&["exec", "/usr/bin/py3clean"])
    .denied(EXEC, WRITTEN)
    .under(&SPOILT),
    technique("unnamed-file", "a file of the root file system that never had a name", "open(2), O_TMPFILE")
        .by(&["tmpfile-exec", "/usr/bin/true", "/tmp"])
        .denied(EXEC, WRITTEN)
        // Linux 6.1 answers O_TMPFILE on an overlay with EOPNOTSUPP.
        .on(Kernels::From6_12),
    technique("undeclared-in-a-layer", "a program of the image that no package owns", "SPDX 2.3, Package File Name")
        .by(&["exec", "/opt/undeclared/tool"])
        .denied(EXEC, "not-listed")
        .naming("/opt/undeclared/tool"),
];
