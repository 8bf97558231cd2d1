//! Ways of running code that no SBOM lists: one table, run without a policy (all work) and with one (all are denied).

use anyhow::ensure;

use crate::container::{ACTOR, Container, Output};

/// One way of running code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Technique {
    /// For the test's name.
    pub(crate) name: &'static str,
    /// Prepares the attempt, as a shell script that must succeed with and without a policy. Each leaves other files behind, and
    /// none changes what another needs, so that a container may run them all.
    pub(crate) setup: &'static str,
    /// The attempt: the actor's arguments.
    pub(crate) arguments: &'static [&'static str],
    /// Why a policy's verdict is a denial, by the name that events give the reason.
    pub(crate) reason: &'static str,
}

/// Exit status of an attempt that was denied with `EPERM`.
pub(crate) const DENIED: i32 = 10;

impl Technique {
    /// Prepares and makes the attempt. Status 0: it worked. [`DENIED`]: it was denied. Anything else proves nothing.
    pub(crate) fn attempt(&self, container: &Container) -> anyhow::Result<Output> {
        let prepared = container.exec(&["/bin/sh", "-euc", self.setup])?;
        ensure!(prepared.status == 0, "the preparation failed: {prepared:?}");
        let command: Vec<&str> = [ACTOR].iter().chain(self.arguments).copied().collect();
        container.exec(&command)
    }
}

const WRITTEN: &str = "written";
const FOREIGN: &str = "foreign";
const NOT_LISTED: &str = "not-listed";
const ANONYMOUS: &str = "anonymous-exec";
const MODIFIED: &str = "modified-code";

const fn technique(
    name: &'static str,
    reason: &'static str,
    setup: &'static str,
    arguments: &'static [&'static str],
) -> Technique {
    Technique { name, setup, arguments, reason }
}

/// All that this kernel knows.
pub(crate) fn techniques() -> Vec<Technique> {
    let unnamed = if overlays_have_unnamed_files() { UNNAMED_FILES } else { &[] };
    [WRITTEN_FILES, unnamed, LOADED_CODE, OTHER_FILESYSTEMS, MEMORY, CHANGED_VIEWS].concat()
}

/// Linux 6.1 answers `O_TMPFILE` on an overlay with `EOPNOTSUPP`; there the volume's unnamed file stands for the technique.
fn overlays_have_unnamed_files() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    !release.starts_with("6.1.")
}

/// Files of the root file system that never had a name.
const UNNAMED_FILES: &[Technique] =
    &[technique("unnamed-file", WRITTEN, "", &["tmpfile-exec", "/usr/bin/true", "/tmp"])];

/// Files that were put or changed in the container's root file system.
const WRITTEN_FILES: &[Technique] = &[
    technique("dropped-in-tmp", WRITTEN, "cp /usr/bin/true /tmp/a", &["exec", "/tmp/a"]),
    technique("dropped-in-usr-bin", WRITTEN, "cp /usr/bin/true /usr/bin/a", &["exec", "/usr/bin/a"]),
    technique("listed-overwritten", WRITTEN, "cat /usr/bin/true > /usr/bin/id", &["exec", "/usr/bin/id"]),
    technique("listed-touched", WRITTEN, "touch /usr/bin/nice", &["exec", "/usr/bin/nice"]),
    technique(
        "listed-replaced-by-rename",
        WRITTEN,
        "cp /usr/bin/true /usr/bin/b; mv /usr/bin/b /usr/bin/whoami",
        &["exec", "/usr/bin/whoami"],
    ),
    technique("hard-link-of-dropped", WRITTEN, "cp /usr/bin/true /tmp/c; ln /tmp/c /tmp/d", &["exec", "/tmp/d"]),
    technique("symlink-to-dropped", WRITTEN, "cp /usr/bin/true /tmp/e; ln -s e /tmp/f", &["exec", "/tmp/f"]),
    technique("descriptor-of-dropped", WRITTEN, "cp /usr/bin/true /tmp/g", &["descriptor-exec", "/tmp/g"]),
    technique("deleted-file", WRITTEN, "", &["deleted-exec", "/usr/bin/true", "/tmp"]),
    technique("dropped-script", WRITTEN, "printf '#!/bin/sh\\n' > /tmp/h; chmod 755 /tmp/h", &["exec", "/tmp/h"]),
    technique(
        "script-with-dropped-interpreter",
        WRITTEN,
        "cp /usr/bin/true /tmp/i; printf '#!/tmp/i\\n' > /tmp/j; chmod 755 /tmp/j",
        &["exec", "/tmp/j"],
    ),
    technique(
        "listed-script-with-overwritten-interpreter",
        WRITTEN,
        "cat /usr/bin/true > \"$(readlink -f /usr/bin/python3)\"",
        &["exec", "/usr/bin/py3clean"],
    ),
    technique("undeclared-in-a-layer", NOT_LISTED, "", &["exec", "/opt/undeclared/tool"]),
];

/// Code that is loaded into a process that was allowed to start.
const LOADED_CODE: &[Technique] = &[
    technique("dropped-by-loader", WRITTEN, "cp /usr/bin/true /tmp/k", &["loader-exec", "/tmp/k"]),
    technique("undeclared-by-loader", NOT_LISTED, "", &["loader-exec", "/opt/undeclared/tool"]),
    technique(
        "preloaded-library",
        WRITTEN,
        "cp /payload/lib/libactor_payload.so /tmp/l.so",
        &["preload", "/tmp/l.so", "/usr/bin/true"],
    ),
    technique("opened-library", WRITTEN, "cp /payload/lib/libactor_payload.so /tmp/m.so", &["dlopen", "/tmp/m.so"]),
    technique("mapped-dropped", WRITTEN, "cp /usr/bin/true /tmp/n", &["map-exec", "/tmp/n"]),
    technique("mapped-undeclared", NOT_LISTED, "", &["map-exec", "/opt/undeclared/tool"]),
    // The mapping holds the real file below the overlay, which is on no allowlist.
    technique("protected-dropped", NOT_LISTED, "cp /usr/bin/true /tmp/o", &["protect-exec", "/tmp/o"]),
    technique("protected-undeclared", NOT_LISTED, "", &["protect-exec", "/opt/undeclared/tool"]),
];

/// Files that are not in the container's root file system.
const OTHER_FILESYSTEMS: &[Technique] = &[
    technique("memory-file", FOREIGN, "", &["memfd-exec", "/usr/bin/true"]),
    technique("volume", FOREIGN, "cp /usr/bin/true /volume/a", &["exec", "/volume/a"]),
    technique("shared-memory", FOREIGN, "cp /usr/bin/true /dev/shm/a", &["exec", "/dev/shm/a"]),
    technique("volume-by-loader", FOREIGN, "cp /usr/bin/true /volume/b", &["loader-exec", "/volume/b"]),
    technique("unnamed-file-on-volume", FOREIGN, "", &["tmpfile-exec", "/usr/bin/true", "/volume"]),
    technique("bind-mount-of-the-host", FOREIGN, "", &["exec", "/payload/image/layers/2/opt/undeclared/tool"]),
    technique("bind-mount-of-a-layer", FOREIGN, "", &["exec", "/payload/image/layers/0/usr/bin/true"]),
];

/// Executable memory that is no file's content.
const MEMORY: &[Technique] = &[
    technique("anonymous-at-once", ANONYMOUS, "", &["anonymous-exec"]),
    technique("anonymous-written-first", ANONYMOUS, "", &["anonymous-protect"]),
    technique("listed-modified", MODIFIED, "", &["modified-exec", "/usr/bin/true"]),
    technique("listed-writable", MODIFIED, "", &["write-exec-map", "/usr/bin/true"]),
];

/// Names that mean something else than in the image.
const CHANGED_VIEWS: &[Technique] = &[
    technique("other-mount-namespace", WRITTEN, "cp /usr/bin/true /tmp/p", &["unshare-exec", "/tmp/p"]),
    technique(
        "mounted-over-listed",
        FOREIGN,
        "cp /usr/bin/true /volume/c",
        &["bind-exec", "/volume/c", "/usr/bin/true"],
    ),
    technique(
        "other-root",
        WRITTEN,
        "mkdir -p /tmp/root/lib64 /tmp/root/lib/x86_64-linux-gnu; cp /lib64/ld-linux-x86-64.so.2 /tmp/root/lib64; \
         cp /lib/x86_64-linux-gnu/libc.so.6 /tmp/root/lib/x86_64-linux-gnu; cp /usr/bin/true /tmp/root",
        &["chroot-exec", "/tmp/root", "/true"],
    ),
];
