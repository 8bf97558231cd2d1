//! Reporting. Whatever happens here, the verdict stands: a full ring costs a count, never a decision.

use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP,
    helpers::{bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_uid_gid, bpf_ktime_get_boot_ns},
};
use plimsoll_abi::{ADDRESS_LEN, ANCESTORS, Ancestor, COMM_LEN, Event, Hook, Stat, Verdict, event_flags, state};

use crate::{
    decide::Decision,
    kernel::{Dentry, File, Inode, Task},
    label::Subject,
    maps::{DENIALS, TELEMETRY},
    stats::{count, next_sequence},
};

/// What is reported of one decision.
#[derive(Clone, Copy)]
pub(crate) struct Report<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) decision: Decision,
    pub(crate) hook: Hook,
    /// `PROT_*` asked for.
    pub(crate) prot: u32,
    /// What exactly was asked for, by the hook's own numbers.
    pub(crate) operand: u64,
    /// The file, if there is one.
    pub(crate) file: File,
    /// Its inode.
    pub(crate) inode: Inode,
    /// The socket's far or own end, if there is one.
    pub(crate) peer: Peer,
    /// The cgroup that a packet is for, if no task acts.
    pub(crate) packet_of: Option<u64>,
    /// A name that counts from the workload's root, if that is what was decided on.
    pub(crate) name: Dentry,
    /// One more than there are components of the name up to that root; 0 without a name.
    pub(crate) depth: u32,
}

impl<'a> Report<'a> {
    /// A report about no file and no socket.
    #[inline(always)]
    pub(crate) fn new(subject: &'a Subject, decision: Decision, hook: Hook) -> Self {
        Self {
            subject,
            decision,
            hook,
            prot: 0,
            operand: 0,
            file: File::NONE,
            inode: Inode::UNKNOWN,
            peer: Peer::NONE,
            packet_of: None,
            name: Dentry::NONE,
            depth: 0,
        }
    }
}

/// One end of a connection.
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    /// IPv6, or IPv4 mapped into it.
    pub(crate) address: [u8; ADDRESS_LEN],
    /// In the host's byte order.
    pub(crate) port: u32,
    /// `IPPROTO_*`.
    pub(crate) protocol: u32,
}

impl Peer {
    /// No end at all.
    pub(crate) const NONE: Self = Self { address: [0; ADDRESS_LEN], port: 0, protocol: 0 };
}

/// Puts an audit or a denial on its ring.
#[inline(always)]
pub(crate) fn denial(report: &Report<'_>) {
    let sequence = next_sequence();
    let Some(mut entry) = DENIALS.reserve::<Event>(0) else {
        count(Stat::DenialsLost);
        return;
    };
    fill(entry.as_mut_ptr(), report, sequence);
    entry.submit(0);
}

/// Puts an allowed execution on its ring, where the workload wants that. The reader polls; it is not woken.
#[inline(always)]
pub(crate) fn telemetry(report: &Report<'_>) {
    if report.subject.state & state::TELEMETRY == 0 {
        return;
    }
    let Some(mut entry) = TELEMETRY.reserve::<Event>(0) else {
        count(Stat::TelemetryLost);
        return;
    };
    fill(entry.as_mut_ptr(), report, 0);
    entry.submit(u64::from(BPF_RB_NO_WAKEUP));
}

/// Writes every field in place: an event on the stack would not fit there.
#[inline(always)]
fn fill(event: *mut Event, report: &Report<'_>, sequence: u64) {
    // SAFETY: `event` points at a reservation of exactly this size. It holds old bytes, all of them valid for every
    // field, and each field is written below.
    let event = unsafe { &mut *event };
    // SAFETY: the helper has no preconditions.
    let time = unsafe { bpf_ktime_get_boot_ns() };
    event.sequence = sequence;
    event.time_ns = time;
    event.hook = report.hook as u32;
    event.verdict = report.decision.verdict as u32;
    event.reason = report.decision.reason as u32;
    event.slot = report.subject.label.slot;
    event.incarnation = report.subject.label.incarnation;
    event.allowlist = state::allowlist(report.subject.state);
    event.rule = report.decision.rule;
    event.prot = report.prot;
    event.operand = report.operand;
    event.protocol = report.peer.protocol;
    event.port = report.peer.port;
    event.address = report.peer.address;
    event.reserved = 0;
    fill_inode(event, report.inode);
    fill_path(event, report);
    match report.packet_of {
        None => fill_task(event),
        Some(cgroup) => fill_nobody(event, cgroup),
    }
}

#[inline(always)]
fn fill_task(event: &mut Event) {
    // SAFETY: the helper reads the current task only.
    event.cgroup = unsafe { bpf_get_current_cgroup_id() };
    let ids = bpf_get_current_pid_tgid();
    event.tgid = (ids >> 32) as u32;
    event.tid = ids as u32;
    event.uid = bpf_get_current_uid_gid() as u32;
    fill_ancestors(event);
}

/// Whoever runs while a packet arrives has nothing to do with it.
#[inline(always)]
fn fill_nobody(event: &mut Event, cgroup: u64) {
    event.cgroup = cgroup;
    event.tgid = 0;
    event.tid = 0;
    event.uid = 0;
    event.comm = [0; COMM_LEN];
    event.ancestors = [Ancestor { tgid: 0, comm: [0; COMM_LEN] }; ANCESTORS];
}

#[inline(always)]
fn fill_inode(event: &mut Event, inode: Inode) {
    event.ino = inode.ino;
    event.dev = inode.dev;
    event.size = inode.size;
    event.flags = flag(inode.upper, event_flags::UPPER)
        | flag(inode.lower, event_flags::LOWER)
        | flag(inode.overlay, event_flags::OVERLAY);
}

#[inline(always)]
fn flag(set: bool, bit: u32) -> u32 {
    u32::from(set) * bit
}

#[inline(always)]
fn fill_path(event: &mut Event, report: &Report<'_>) {
    event.path[0] = 0;
    if report.depth > 0 {
        event.flags |= event_flags::COMPONENTS;
        if report.operand == u64::MAX {
            event.flags |= event_flags::NAME_ONLY;
        }
        if !report.name.components_into(report.depth - 1, &mut event.path) {
            event.flags |= event_flags::NAME_ONLY;
        }
        return;
    }
    if !report.file.exists() {
        return;
    }
    // `bpf_d_path` may be called from sleepable hooks only, and `file_mprotect` is none.
    if matches!(report.hook, Hook::Protect) {
        report.file.name_into(&mut event.path);
        event.flags |= event_flags::NAME_ONLY;
    } else if !report.file.path_into(&mut event.path) {
        event.flags |= event_flags::NAME_ONLY;
    }
}

/// Without a single branch, or the verifier would walk what follows once for every outcome. The first task is its own
/// parent, so that short chains end in repetitions of it; a name that cannot be read is zeros.
#[inline(always)]
fn fill_ancestors(event: &mut Event) {
    let task = Task::current();
    task.comm_into(&mut event.comm);
    let mut ancestor = task;
    for record in &mut event.ancestors {
        ancestor = ancestor.parent();
        record.tgid = ancestor.tgid();
        ancestor.comm_into(&mut record.comm);
    }
}

/// Counts a denial or audit that a flood of others keeps from being reported. It takes a number and counts as lost, as one that
/// finds the ring full does, so that events and losses still add up.
#[inline(always)]
pub(crate) fn unreported(report: &Report<'_>) -> i32 {
    next_sequence();
    count(Stat::DenialsLost);
    count(Stat::PeersUnreported);
    if matches!(report.decision.verdict, Verdict::Deny) {
        count(Stat::NetworkDenied);
        return EPERM;
    }
    count(Stat::NetworkAudited);
    0
}

const EPERM: i32 = -1;

/// Counts and reports a decision, and gives the hook its return value.
#[inline(always)]
pub(crate) fn conclude(report: &Report<'_>, denied: Stat, audited: Stat) -> i32 {
    match report.decision.verdict {
        Verdict::Allow => 0,
        Verdict::Audit => {
            count(audited);
            denial(report);
            0
        }
        Verdict::Deny => {
            count(denied);
            denial(report);
            EPERM
        }
    }
}
