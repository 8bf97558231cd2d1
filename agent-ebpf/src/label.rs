//! Whose task is it? A label, once given, follows a task and its children wherever they go.
//!
//! A task gets its label at its first check inside a container's cgroup. Until then it is the container runtime
//! preparing the container, which shows in its mount namespace: it is still the runtime's own.

use aya_ebpf::helpers::bpf_get_current_cgroup_id;
use plimsoll_abi::{Label, Stat, WorkloadRecord, state};

use crate::{
    kernel::Task,
    maps::{CGROUPS, LABELS, WORKLOADS},
    stats::count,
};

/// `-ENOMEM`
const OUT_OF_MEMORY: i32 = -12;

/// The workload on whose behalf the current task acts.
#[derive(Clone, Copy)]
pub struct Subject {
    /// Slot and incarnation.
    pub label: Label,
    /// The workload's state word, read once for the whole decision.
    pub state: u64,
    /// The workload's root filesystem.
    pub root_dev: u32,
    /// What is known of the task.
    pub standing: Standing,
}

/// How firmly a task is tied to its workload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Labelled; its children will be too.
    Member,
    /// In the workload, but the label could not be stored.
    Unlabelled,
    /// Labelled with a workload that is gone.
    Stale,
}

/// The current task's workload; `None` if it has none.
#[inline(always)]
pub fn subject() -> Option<Subject> {
    let task = Task::current();
    // SAFETY: only the task itself and its end change its entry, so it cannot be recycled while it is read.
    if let Some(label) = unsafe { LABELS.get(task.address()) }.copied() {
        return Some(member(label, Standing::Member));
    }
    // SAFETY: the helper reads the current task only.
    let cgroup = unsafe { bpf_get_current_cgroup_id() };
    // SAFETY: the value is copied out at once, and cgroup ids are never reused.
    let label = unsafe { CGROUPS.get(cgroup) }.copied()?;
    let record = record(label);
    if record.is_some_and(|record| record.runtime_mnt_ns == task.mnt_ns()) {
        count(Stat::RuntimeTask);
        return None;
    }
    if LABELS.insert(task.address(), label, 0).is_err() {
        count(Stat::LabelFailed);
        return Some(member(label, Standing::Unlabelled));
    }
    Some(member(label, Standing::Member))
}

/// The current task's workload, if it runs the workload's code already. The container runtime, which opens files in the
/// container before it becomes the container, gets its label only when it executes the workload's program.
#[inline(always)]
pub fn labelled() -> Option<Subject> {
    // SAFETY: as in `subject`.
    let label = unsafe { LABELS.get(Task::current().address()) }.copied()?;
    Some(member(label, Standing::Member))
}

/// Gives a new task its parent's label. A task that cannot be labelled is not born: it could leave its cgroup.
#[inline(always)]
pub fn inherit(child: Task) -> i32 {
    // SAFETY: as in `subject`.
    let Some(label) = unsafe { LABELS.get(Task::current().address()) }.copied() else { return 0 };
    if LABELS.insert(child.address(), label, 0).is_err() {
        count(Stat::ForkRefused);
        return OUT_OF_MEMORY;
    }
    0
}

/// Drops a dead task's label.
#[inline(always)]
pub fn forget(task: Task) {
    let _had_none = LABELS.remove(task.address());
}

#[inline(always)]
fn record(label: Label) -> Option<&'static WorkloadRecord> {
    let record = WORKLOADS.get(label.slot)?;
    (record.incarnation == label.incarnation).then_some(record)
}

#[inline(always)]
fn member(label: Label, standing: Standing) -> Subject {
    let Some(record) = record(label) else {
        return Subject { label, state: 0, root_dev: 0, standing: Standing::Stale };
    };
    // SAFETY: aligned 64-bit load of live map memory; volatile, so that the decision sees one policy only.
    let state = unsafe { core::ptr::read_volatile(&raw const record.state) };
    let standing = if state & state::ACTIVE == 0 { Standing::Stale } else { standing };
    Subject { label, state, root_dev: record.root_dev, standing }
}
