//! Names that mean something else than in the image.

use super::{Technique, technique};

const EXEC: &str = "exec";

pub(super) const ROWS: &[Technique] = &[
    technique("other-mount-namespace", "a dropped program in a mount namespace of its own", "mount_namespaces(7)")
        .after("cp /usr/bin/true /tmp/p")
        .by(&["unshare-exec", "/tmp/p"])
        .denied(EXEC, "written")
        .naming("/tmp/p"),
    technique("mounted-over-listed", "a file mounted over a listed program", "mount(2), MS_BIND")
        .after("cp /usr/bin/true /volume/c")
        .by(&["bind-exec", "/volume/c", "/usr/bin/true"])
        .denied(EXEC, "foreign")
        .naming("/usr/bin/true"),
    technique("other-root", "a dropped root file system by chroot", "chroot(2)")
        .after(
            "mkdir -p /tmp/root/lib64 /tmp/root/lib/x86_64-linux-gnu; cp /lib64/ld-linux-x86-64.so.2 /tmp/root/lib64; \
             cp /lib/x86_64-linux-gnu/libc.so.6 /tmp/root/lib/x86_64-linux-gnu; cp /usr/bin/true /tmp/root",
        )
        .by(&["chroot-exec", "/tmp/root", "/true"])
        .denied(EXEC, "written"),
];
