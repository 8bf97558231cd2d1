//! Operations on the kernel and on other processes: what lets code in around the allowlist is forbidden by every policy that does
//! not say otherwise, the rest by a policy that says so.

use serde_json::json;

use super::{Suite, Technique, technique};
use crate::container::ContainerSpec;

const INJECT: &str = "inject";
const INJECTED: &str = "injected-code";
const OPERATION: &str = "operation";
const CAPABILITY: &str = "capability";
const FORBIDDEN: &str = "forbidden";

/// A policy that says nothing of hardening, in a container that could do all of it.
const DEFAULTS: Suite = Suite::new("hardening-defaults", "").configured(powerful);

/// Everything forbidden.
const HARDENED: Suite = Suite::new(
    "hardened",
    "  hardening:\n    mount: Deny\n    userNamespace: Deny\n    setns: Deny\n    keyring: Deny\n    ioUring: Deny\n    \
     kernelLog: Deny\n    clock: Deny\n    deviceFile: Deny\n    chroot: Deny\n",
)
.configured(powerful);

/// Two capabilities, of all that the container has.
const RESTRICTED: Suite =
    Suite::new("restricted", "  hardening:\n    capabilities: [CAP_DAC_OVERRIDE, CAP_FOWNER]\n").configured(powerful);

/// With what privileged containers have, and the kernel's files in reach.
fn powerful(spec: &mut ContainerSpec) {
    spec.capabilities.extend([
        "CAP_BPF",
        "CAP_NET_BIND_SERVICE",
        "CAP_NET_RAW",
        "CAP_PERFMON",
        "CAP_SYSLOG",
        "CAP_SYS_BOOT",
        "CAP_SYS_MODULE",
        "CAP_SYS_TIME",
    ]);
    spec.mounts.extend([
        json!({"destination": "/kernel/settings", "type": "bind", "source": "/proc/sys", "options": ["bind", "rw"]}),
        json!({"destination": "/kernel/sys", "type": "bind", "source": "/sys", "options": ["rbind", "rw"]}),
    ]);
}

const fn injection(name: &'static str, what: &'static str, reference: &'static str) -> Technique {
    technique(name, what, reference).denied(INJECT, INJECTED)
}

const fn operation(
    name: &'static str,
    what: &'static str,
    reference: &'static str,
    suite: &'static Suite,
) -> Technique {
    technique(name, what, reference).denied(OPERATION, FORBIDDEN).under(suite)
}

const fn capability(name: &'static str, what: &'static str) -> Technique {
    technique(name, what, "capabilities(7)").denied(CAPABILITY, FORBIDDEN).under(&RESTRICTED)
}

/// Writing code into processes.
pub(super) const INJECTIONS: &[Technique] = &[
    injection("ptrace-attach", "another process is attached to", "ptrace(2), PTRACE_ATTACH").by(&["trace", "attach"]),
    injection("ptrace-seize", "another process is attached to without stopping it", "ptrace(2), PTRACE_SEIZE")
        .by(&["trace", "seize"]),
    injection("ptrace-traceme", "a child lets itself be traced, and its code is changed", "ptrace(2), PTRACE_POKETEXT")
        .by(&["trace-me"]),
    injection("process-write", "another process's memory is written", "process_vm_writev(2)").by(&["process-write"]),
    injection("process-read", "another process's memory is read", "process_vm_readv(2)").by(&["process-read"]),
    injection("memory-of-another", "another process's memory is opened as a file", "proc_pid_mem(5)")
        .by(&["child-memory"]),
    injection("descriptor-of-another", "a descriptor is taken out of another process", "pidfd_getfd(2)")
        .by(&["child-descriptor"]),
    injection(
        "own-memory",
        "one's own code is changed through /proc/self/mem (the task is killed)",
        "proc_pid_mem(5), FOLL_FORCE",
    )
    .by(&["own-memory"]),
    injection("own-memory-by-ring", "the same, opened by a worker of io_uring", "io_uring(7), IORING_OP_OPENAT")
        .by(&["own-memory-by-ring"]),
];

/// Ways into the kernel that every policy forbids.
pub(super) const KERNEL: &[Technique] = &[
    operation("bpf-map", "a BPF map is made", "bpf(2), BPF_MAP_CREATE", &DEFAULTS).by(&["operation", "bpf-map"]),
    operation("bpf-program", "a BPF program is loaded", "bpf(2), BPF_PROG_LOAD", &DEFAULTS)
        .by(&["operation", "bpf-program"]),
    operation("perf-event", "a performance event is opened", "perf_event_open(2)", &DEFAULTS)
        .by(&["operation", "perf-event"]),
    operation("kernel-module", "a kernel module is loaded from memory", "init_module(2)", &DEFAULTS)
        .by(&["operation", "module"]),
    operation("kernel-module-file", "a kernel module is loaded from a file", "finit_module(2)", &DEFAULTS)
        .by(&["operation", "module-file"]),
    operation("kexec", "the kernel to boot next is changed", "kexec_load(2)", &DEFAULTS).by(&["operation", "kexec"]),
    operation("core-pattern", "the program that gets core dumps", "core(5), /proc/sys/kernel/core_pattern", &DEFAULTS)
        .by(&["open-for-writing", "/kernel/settings/kernel/core_pattern"])
        .naming("/kernel/settings/kernel/core_pattern"),
    operation("modprobe-path", "the program that loads modules", "/proc/sys/kernel/modprobe", &DEFAULTS)
        .by(&["open-for-writing", "/kernel/settings/kernel/modprobe"]),
    operation("sysrq", "the kernel's emergency keys", "/proc/sysrq-trigger", &DEFAULTS)
        .by(&["open-for-writing", "/proc/sysrq-trigger"]),
    operation("sysfs-setting", "a parameter of the kernel below /sys", "sysfs(5)", &DEFAULTS)
        .by(&["open-for-writing", "/kernel/sys/module/printk/parameters/time"]),
    operation("cgroup-file", "a control file of the node's cgroups", "cgroups(7)", &DEFAULTS)
        .by(&["open-for-writing", "/kernel/sys/fs/cgroup/cgroup.procs"]),
    operation(
        "release-agent",
        "a cgroup hierarchy that runs a program on the node",
        "cgroups(7), release_agent; CVE-2022-0492",
        &DEFAULTS,
    )
    .by(&["mounted-file", "cgroup", "none,name=plimsoll", "release_agent"]),
    operation("trace-events", "probes of the kernel by files", "tracefs, kprobe_events", &DEFAULTS).by(&[
        "mounted-file",
        "tracefs",
        "",
        "trace_marker",
    ]),
];

/// Operations that a policy forbids if it says so.
pub(super) const OPERATIONS: &[Technique] = &[
    operation("mount", "a filesystem is mounted", "mount(2)", &HARDENED).by(&["operation", "mount"]),
    operation("bind-mount", "a directory is mounted elsewhere", "mount(2), MS_BIND", &HARDENED)
        .by(&["operation", "bind-mount"]),
    operation("remount", "a mount's flags are changed", "mount(2), MS_REMOUNT", &HARDENED)
        .by(&["operation", "remount"]),
    operation("detached-mount", "a filesystem is used through a descriptor", "fsopen(2), fsmount(2)", &HARDENED)
        .by(&["operation", "detached-mount"]),
    operation("unmount", "a filesystem is unmounted", "umount(2)", &HARDENED).by(&["operation", "unmount"]),
    operation("pivot-root", "the root mount is changed", "pivot_root(2)", &HARDENED).by(&["operation", "pivot-root"]),
    operation("user-namespace", "a user namespace is made", "user_namespaces(7)", &HARDENED)
        .by(&["operation", "user-namespace"]),
    operation("setns", "a namespace is entered (the task is killed)", "setns(2)", &HARDENED)
        .by(&["operation", "setns"]),
    operation("add-key", "a key is added to a keyring", "add_key(2)", &HARDENED).by(&["operation", "add-key"]),
    operation("session-keyring", "a session keyring is joined", "keyctl(2)", &HARDENED)
        .by(&["operation", "session-keyring"]),
    operation("io-uring", "a ring is made", "io_uring_setup(2)", &HARDENED).by(&["ring"]),
    operation(
        "io-uring-polled",
        "a ring with a kernel thread is made",
        "io_uring_setup(2), IORING_SETUP_SQPOLL",
        &HARDENED,
    )
    .by(&["polled-ring"]),
    operation("kernel-log", "the kernel's log is read", "syslog(2)", &HARDENED).by(&["operation", "kernel-log"]),
    operation("clock", "the clock is set", "clock_settime(2)", &HARDENED).by(&["operation", "clock"]),
    operation("device-file", "the node's disk gets a name", "mknod(2)", &HARDENED).by(&["operation", "device"]),
    operation("chroot", "the root directory is changed", "chroot(2)", &HARDENED).by(&["operation", "chroot"]),
];

/// Capabilities beyond those that the policy names.
pub(super) const CAPABILITIES: &[Technique] = &[
    capability("cap-chown", "a file changes its owner").by(&["capability", "CAP_CHOWN"]),
    capability("cap-setuid", "a process becomes another user").by(&["capability", "CAP_SETUID"]),
    capability("cap-setgid", "a process becomes another group").by(&["capability", "CAP_SETGID"]),
    capability("cap-sys-chroot", "a process changes its root").by(&["capability", "CAP_SYS_CHROOT"]),
    capability("cap-sys-admin", "the host name is changed").by(&["capability", "CAP_SYS_ADMIN"]),
    capability("cap-net-bind-service", "a low port is bound").by(&["capability", "CAP_NET_BIND_SERVICE"]),
    capability("cap-net-raw", "a raw socket is made").by(&["capability", "CAP_NET_RAW"]),
    capability("cap-mknod", "a device file is made").by(&["capability", "CAP_MKNOD"]),
];
