//! Files that are not in the container's root file system.

use super::{Technique, technique};

const EXEC: &str = "exec";
const FOREIGN: &str = "foreign";

pub(super) const ROWS: &[Technique] = &[
    technique("memory-file", "a memory file by execveat", "memfd_create(2); MITRE ATT&CK T1620")
        .by(&["memfd-exec", "/usr/bin/true"])
        .denied(EXEC, FOREIGN),
    technique("volume", "a program on a volume", "OCI runtime specification, mounts")
        .after("cp /usr/bin/true /volume/a")
        .by(&["exec", "/volume/a"])
        .denied(EXEC, FOREIGN)
        .naming("/volume/a"),
    technique("shared-memory", "a program in /dev/shm", "shm_overview(7); Falco rule `Execution from /dev/shm`")
        .after("cp /usr/bin/true /dev/shm/a")
        .by(&["exec", "/dev/shm/a"])
        .denied(EXEC, FOREIGN)
        .naming("/dev/shm/a"),
    technique("volume-by-loader", "a program on a volume as an argument of the dynamic loader", "ld.so(8)")
        .after("cp /usr/bin/true /volume/b")
        .by(&["loader-exec", "/volume/b"])
        .denied("map", FOREIGN)
        .naming("/volume/b"),
    technique("unnamed-file-on-volume", "a file of a volume that never had a name", "open(2), O_TMPFILE")
        .by(&["tmpfile-exec", "/usr/bin/true", "/volume"])
        .denied(EXEC, FOREIGN),
    technique("bind-mount-of-the-host", "an undeclared program by a mount of the host", "Kubernetes: hostPath volumes")
        .by(&["exec", "/payload/image/layers/2/opt/undeclared/tool"])
        .denied(EXEC, FOREIGN)
        .naming("/payload/image/layers/2/opt/undeclared/tool"),
    technique("bind-mount-of-a-layer", "a listed file by another mount than the container's root", "mount(8), --bind")
        .by(&["exec", "/payload/image/layers/0/usr/bin/true"])
        .denied(EXEC, FOREIGN)
        .naming("/payload/image/layers/0/usr/bin/true"),
];
