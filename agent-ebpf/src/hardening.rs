//! What a workload may do to the kernel and to other processes. Each operation is one bit of the workload's state, so that a
//! decision is one lookup: whose task it is.

use aya_ebpf::helpers::bpf_send_signal;
use plimsoll_abi::{Hook, Injection, Operation, Reason, Stat, Verdict, state};

use crate::{
    decide::{Decision, deviation},
    emit::{self, Report},
    kernel::{File, Node, SuperBlock, Task, objects::Dentry},
    label::{Standing, Subject, settled},
    maps::CAPABILITIES,
    stats::count,
    tamper,
};

/// Decides whether a workload in `state` may do `operation`.
#[inline(always)]
pub fn decide_operation(state: u64, operation: Operation) -> Decision {
    unless(state & state::forbidden(operation) != 0, Reason::Forbidden, state)
}

/// Decides whether a workload in `state` may write code past its mapping.
#[inline(always)]
pub fn decide_injection(state: u64) -> Decision {
    unless(state & state::forbidden(Operation::Trace) != 0, Reason::InjectedCode, state)
}

/// Decides whether a workload in `state` may use `capability`. A set that is not there permits nothing.
#[inline(always)]
pub fn decide_capability(state: u64, capability: u32) -> Decision {
    let restricted = state & state::CAPABILITIES != 0;
    unless(restricted && allowed_capabilities(state) & (1 << (capability & 63)) == 0, Reason::Forbidden, state)
}

#[inline(always)]
fn allowed_capabilities(state: u64) -> u64 {
    // SAFETY: the value is read at once; entries are removed only after no workload names their allowlist.
    unsafe { CAPABILITIES.get(state::allowlist(state)) }.copied().unwrap_or(0)
}

#[inline(always)]
fn unless(forbidden: bool, reason: Reason, state: u64) -> Decision {
    if forbidden {
        return Decision { verdict: deviation(state), reason, rule: 0 };
    }
    Decision { verdict: Verdict::Allow, reason: Reason::Listed, rule: 0 }
}

/// A task whose workload is gone may do nothing of all this.
#[inline(always)]
fn settle(subject: &Subject, decision: Decision) -> Decision {
    if matches!(subject.standing, Standing::Stale) {
        count(Stat::StaleLabel);
        return Decision { verdict: Verdict::Deny, reason: Reason::StaleLabel, rule: 0 };
    }
    decision
}

/// Checks an operation of the current task.
#[inline(always)]
pub fn operation(operation: Operation) -> i32 {
    let Some(subject) = settled() else { return 0 };
    count(Stat::OperationChecked);
    let decision = settle(&subject, decide_operation(subject.state, operation));
    let report = Report { operand: operation as u64, ..Report::new(&subject, decision, Hook::Operation) };
    emit::conclude(&report, Stat::OperationDenied, Stat::OperationAudited)
}

/// The same in a place that cannot refuse: the task dies before it returns to its program.
#[inline(always)]
pub fn operation_or_death(operation: Operation) {
    if self::operation(operation) != 0 {
        kill();
    }
}

/// Checks an attempt at writing code past its mapping.
#[inline(always)]
pub fn inject(injection: Injection) -> i32 {
    let Some(subject) = settled() else { return 0 };
    count(Stat::InjectChecked);
    let decision = settle(&subject, decide_injection(subject.state));
    let report = Report { operand: injection as u64, ..Report::new(&subject, decision, Hook::Inject) };
    emit::conclude(&report, Stat::InjectDenied, Stat::InjectAudited)
}

/// The same in a place that cannot refuse.
#[inline(always)]
pub fn inject_or_death(injection: Injection) {
    if inject(injection) != 0 {
        kill();
    }
}

/// Kills the current task's process. The signal is pending when this returns, so that no page is written for the task any more
/// (`__get_user_pages` looks for it), and none of its threads gets back to its program.
#[inline(always)]
pub(crate) fn kill() {
    const SIGKILL: u32 = 9;
    // SAFETY: the helper has no preconditions.
    if unsafe { bpf_send_signal(SIGKILL) } != 0 {
        count(Stat::KillFailed);
    }
}

/// Checks the use of a capability that the task has. Where the kernel works with other credentials than the task's, as overlayfs does
/// below a container's root, the use is the kernel's own. A ring of io_uring could lend the task such credentials; where a policy
/// names capabilities, none can be made. Questions that leave no trace in the kernel's own audit leave none here.
#[inline(always)]
pub fn capability(credentials: u64, capability: u32, options: u32) -> i32 {
    const NO_AUDIT: u32 = 2;
    const EPERM: i32 = -1;
    let Some(subject) = settled() else { return 0 };
    if !Task::current().owns_credentials(credentials) {
        return 0;
    }
    let decision = settle(&subject, decide_capability(subject.state, capability));
    if options & NO_AUDIT != 0 {
        return if matches!(decision.verdict, Verdict::Deny) { EPERM } else { 0 };
    }
    count(Stat::OperationChecked);
    let report = Report { operand: u64::from(capability), ..Report::new(&subject, decision, Hook::Capability) };
    emit::conclude(&report, Stat::OperationDenied, Stat::OperationAudited)
}

/// Checks the making of a special file. Whiteouts, pipes and sockets are no devices.
#[inline(always)]
pub fn make_node(mode: u16, device: u32) -> i32 {
    let block = mode & KIND == BLOCK;
    let character = mode & KIND == CHARACTER && device != 0;
    if block || character { operation(Operation::DeviceFile) } else { 0 }
}

const KIND: u16 = 0o170_000;
const CHARACTER: u16 = 0o020_000;
const BLOCK: u16 = 0o060_000;

/// Checks the opening of a file: first whether it is one of Plimsoll's, then whether the kernel is configured through it.
#[inline(always)]
pub fn open(file: File) -> i32 {
    if !file.is_writable() {
        return 0;
    }
    let Some(subject) = settled() else { return 0 };
    let Some(dentry) = file.entry() else { return 0 };
    let refused = tamper::open(&subject, dentry);
    if refused != 0 {
        return refused;
    }
    if !dentry.node().is_some_and(|node| configures_kernel(dentry, node)) {
        return 0;
    }
    count(Stat::OperationChecked);
    let decision = settle(&subject, decide_operation(subject.state, Operation::KernelFile));
    let operand = Operation::KernelFile as u64;
    let inode = file.inode();
    let report = Report { operand, file, inode, ..Report::new(&subject, decision, Hook::Operation) };
    emit::conclude(&report, Stat::OperationDenied, Stat::OperationAudited)
}

/// Whether writing to a file changes the kernel rather than the file. What cannot be read counts as such.
#[inline(always)]
fn configures_kernel(dentry: Dentry, node: Node) -> bool {
    const PROC: u64 = 0x9fa0;
    match node.super_block().and_then(SuperBlock::magic) {
        // Below a number lies a process, everything else is the kernel's.
        Some(PROC) => !dentry.top().and_then(Dentry::initial).is_some_and(|initial| initial.is_ascii_digit()),
        Some(magic) => is_kernel_filesystem(magic) || is_memory_device(node),
        None => true,
    }
}

/// Filesystems whose files are the kernel's own settings.
#[inline(always)]
pub(crate) fn is_kernel_filesystem(magic: u64) -> bool {
    const SYSFS: u64 = 0x6265_6572;
    const CGROUP: u64 = 0x0027_e0eb;
    const CGROUP2: u64 = 0x6367_7270;
    const DEBUGFS: u64 = 0x6462_6720;
    const TRACEFS: u64 = 0x7472_6163;
    const SECURITYFS: u64 = 0x7363_6673;
    const SELINUX: u64 = 0xf97c_ff8c;
    const SMACK: u64 = 0x4341_5d53;
    const CONFIGFS: u64 = 0x6265_6570;
    const EFIVARFS: u64 = 0xde5e_81e4;
    const BINFMTFS: u64 = 0x4249_4e4d;
    const RESCTRL: u64 = 0x0765_5821;
    const PSTORE: u64 = 0x6165_676c;
    const FUSECTL: u64 = 0x6573_5543;
    matches!(
        magic,
        SYSFS
            | CGROUP
            | CGROUP2
            | DEBUGFS
            | TRACEFS
            | SECURITYFS
            | SELINUX
            | SMACK
            | CONFIGFS
            | EFIVARFS
            | BINFMTFS
            | RESCTRL
            | PSTORE
            | FUSECTL
    )
}

/// `/dev/mem`, `/dev/kmem`, `/dev/port`, by whatever name.
#[inline(always)]
fn is_memory_device(node: Node) -> bool {
    const MEMORY: u32 = 1;
    node.kind().is_some_and(|(mode, device)| {
        mode & KIND == CHARACTER && device >> 20 == MEMORY && matches!(device & 0xf_ffff, 1 | 2 | 4)
    })
}
