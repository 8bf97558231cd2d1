//! Processes that were not simply forked in the container's cgroup.

use super::{CONFIGURING, Technique, technique};

const EXEC: &str = "exec";
const WRITTEN: &str = "written";

pub(super) const ROWS: &[Technique] = &[
    technique("other-thread", "a dropped program executed by a thread that is not the first", "execve(2), Threads; fs/exec.c: de_thread")
        .after("cp /usr/bin/true /tmp/thread")
        .by(&["exec-thread", "/tmp/thread"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/thread"),
    technique("orphan", "a dropped program by a process whose parent is gone", "daemon(7); setsid(2)")
        .after("cp /usr/bin/true /tmp/orphan")
        .by(&["as-orphan", "exec", "/tmp/orphan"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/orphan"),
    technique("other-user", "a dropped program by another user", "setresuid(2)")
        .after("cp /usr/bin/true /tmp/other-user")
        .by(&["as-user", "65534", "exec", "/tmp/other-user"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/other-user"),
    technique("other-process-namespace", "a dropped program by the first process of a process namespace", "pid_namespaces(7)")
        .after("cp /usr/bin/true /tmp/process-namespace")
        .by(&["in-process-namespace", "exec", "/tmp/process-namespace"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/process-namespace"),
    technique("moved-to-root-cgroup", "a dropped program by a process that left for the host's root cgroup", "cgroups(7), cgroup.procs; CVE-2022-0492")
        .after("cp /usr/bin/true /tmp/root-cgroup; mkdir -p /tmp/cgroups")
        .by(&[
            "in-mount-namespace", "mount -t cgroup2 none /tmp/cgroups", "in-cgroup", "/tmp/cgroups", "exec", "/tmp/root-cgroup",
        ])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/root-cgroup")
        .under(&CONFIGURING),
    technique("moved-to-child-cgroup", "a dropped program by a process in a cgroup that it made", "cgroups(7), cgroup.procs")
        .after("cp /usr/bin/true /tmp/child-cgroup; mkdir -p /tmp/cgroups /tmp/own-cgroup")
        .by(&[
            "in-mount-namespace",
            "mount -t cgroup2 none /tmp/cgroups; mount --bind /tmp/cgroups$(sed s/0::// /proc/self/cgroup) /tmp/own-cgroup; \
             mkdir -p /tmp/own-cgroup/child",
            "in-cgroup",
            "/tmp/own-cgroup/child",
            "exec",
            "/tmp/child-cgroup",
        ])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/child-cgroup")
        .under(&CONFIGURING),
    technique("born-in-root-cgroup", "a dropped program by a process that was born in the host's root cgroup", "clone(2), CLONE_INTO_CGROUP")
        .after("cp /usr/bin/true /tmp/born; mkdir -p /tmp/cgroups")
        .by(&[
            "in-mount-namespace", "mount -t cgroup2 none /tmp/cgroups", "born-in-cgroup", "/tmp/cgroups", "exec", "/tmp/born",
        ])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/born"),
    technique("by-a-listed-tool", "a dropped program executed by a listed tool for running programs", "run-parts(8)")
        .after("mkdir -p /tmp/parts; cp /usr/bin/env /tmp/parts/part")
        .by(&["watched", "PATH=", "not permitted", "/usr/bin/run-parts", "/tmp/parts"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/parts/part"),
    technique("replaced-shell", "a dropped program in place of a listed shell", "exec(1p)")
        .after("cp /usr/bin/env /tmp/replaced")
        .by(&["watched", "PATH=", "not permitted", "/bin/sh", "-c", "exec /tmp/replaced"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/replaced"),
];
