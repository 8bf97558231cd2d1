//! Whose task is it? A label, once given, follows a task and its children wherever they go.
//!
//! A task gets its label at its first check inside a container's cgroup. Until then it is the container runtime
//! preparing the container, which shows in its mount namespace: it is still the runtime's own.
//!
//! Nearly every check is of a task that has been labelled long ago, or of one in no workload at all; `mark` answers both
//! without a hash lookup.

use aya_ebpf::helpers::bpf_get_current_cgroup_id;
use plimsoll_abi::{Label, Stat, WorkloadRecord, state};

use crate::{
    cgroup,
    kernel::{Task, current_address},
    maps::{CGROUPS, LABELS, WORKLOADS},
    mark::Place,
    stats::count,
};

/// `-ENOMEM`
const OUT_OF_MEMORY: i32 = -12;
/// `BPF_NOEXIST`
const NEW: u64 = 1;
/// `-EEXIST`
const EXISTS: i32 = -17;

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
    let task = current_address();
    let known = label_of(task);
    if let Some(label) = known {
        let subject = member(label, Standing::Member);
        if subject.state & state::PENDING == 0 {
            return Some(subject);
        }
    }
    // SAFETY: the helper reads the current task only.
    let cgroup = unsafe { bpf_get_current_cgroup_id() };
    if let Some(label) = known {
        return introduced(task, label, cgroup);
    }
    if !cgroup::may_be_in_a_workload(cgroup) {
        return None;
    }
    first_check(task, cgroup)
}

/// The label that the task at an address was given, if it was given one.
#[inline(always)]
fn label_of(task: u64) -> Option<Label> {
    let place = Place::of(task)?;
    if !place.has_labelled() {
        return None;
    }
    if let Some(label) = place.cached() {
        return Some(label);
    }
    // SAFETY: only the task itself and its end change its entry, so it cannot be recycled while it is read.
    let label = unsafe { LABELS.get(task) }.copied()?;
    place.cache(label);
    Some(label)
}

/// Labels a task that is in a workload's cgroup and was not labelled so far, unless it still is the runtime.
#[inline(always)]
fn first_check(task: u64, cgroup: u64) -> Option<Subject> {
    let label = of_cgroup(cgroup)?;
    if record(label).is_some_and(|record| record.runtime_mnt_ns == Task::current().mnt_ns()) {
        count(Stat::RuntimeTask);
        return None;
    }
    if !give(task, label) {
        count(Stat::LabelFailed);
        return Some(member(label, Standing::Unlabelled));
    }
    Some(member(label, Standing::Member))
}

/// The label of a cgroup that is in a workload.
#[inline(always)]
fn of_cgroup(cgroup: u64) -> Option<Label> {
    // SAFETY: the value is copied out at once, and cgroup ids are never reused.
    unsafe { CGROUPS.get(cgroup) }.copied().filter(|label| *label != Label::NOBODY)
}

/// Whose a task is that was labelled while nobody had introduced its container: by now somebody may have.
#[inline(always)]
fn introduced(task: u64, pending: Label, cgroup: u64) -> Option<Subject> {
    // SAFETY: the value is copied out at once, and cgroup ids are never reused. A task that has left for a cgroup outside stays
    // what it was.
    let label = unsafe { CGROUPS.get(cgroup) }.copied().unwrap_or(pending);
    if label == Label::NOBODY {
        forget(task);
        return None;
    }
    if label != pending {
        if LABELS.insert(task, label, 0).is_err() {
            count(Stat::LabelFailed);
            return Some(member(label, Standing::Unlabelled));
        }
        Place::of(task)?.cache(label);
    }
    Some(member(label, Standing::Member))
}

/// The workload of a cgroup, for what arrives while no task of it acts.
#[inline(always)]
pub fn subject_of(cgroup: u64) -> Option<Subject> {
    if !cgroup::may_be_in_a_workload(cgroup) {
        return None;
    }
    let label = of_cgroup(cgroup)?;
    Some(member(label, Standing::Member))
}

/// The current task's workload, if the task is labelled already. Nothing is labelled here: between leaving the runtime's mount
/// namespace and its `execve` the runtime still mounts and changes roots on the container's behalf, and every task of the
/// workload has been through an `execve` inside.
#[inline(always)]
pub fn settled() -> Option<Subject> {
    label_of(current_address()).map(|label| member(label, Standing::Member))
}

/// Whether the current task has gone into the mount namespace that its container's runtime runs in.
#[inline(always)]
pub fn is_in_runtime_namespace(subject: &Subject) -> bool {
    record(subject.label).is_some_and(|record| record.runtime_mnt_ns == Task::current().mnt_ns())
}

/// Gives a new task its parent's label. A task that cannot be labelled is not born: it could leave its cgroup.
#[inline(always)]
pub fn inherit(child: u64) -> i32 {
    let Some(label) = label_of(current_address()) else { return 0 };
    if !give(child, label) {
        count(Stat::ForkRefused);
        return OUT_OF_MEMORY;
    }
    0
}

/// Drops a dead task's label.
#[inline(always)]
pub fn forget(task: u64) {
    let Some(place) = Place::of(task) else { return };
    if place.has_labelled() && LABELS.remove(task).is_ok() {
        place.clear();
        place.lose();
    }
}

/// Labels a task; `false` if there is no room.
#[inline(always)]
fn give(task: u64, label: Label) -> bool {
    let Some(place) = Place::of(task) else { return false };
    // Counted before it is there: the count may be too high for a moment, and never too low.
    place.gain();
    match LABELS.insert(task, label, NEW) {
        Ok(()) => {}
        // While one agent follows another, the programs of both label every new task.
        Err(EXISTS) => place.lose(),
        Err(_) => {
            place.lose();
            return false;
        }
    }
    place.cache(label);
    true
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
