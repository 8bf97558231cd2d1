//! Keeps the cgroup table true while containers make and remove child cgroups.

use plimsoll_abi::Stat;

use crate::{kernel::Cgroup, maps::CGROUPS, stats::count};

/// Enters a new cgroup under its parent's workload, before any task can join it.
#[inline(always)]
pub fn created(cgroup: Cgroup) {
    let (Some(parent), Some(id)) = (cgroup.parent_id(), cgroup.id()) else { return };
    // SAFETY: the value is copied out at once; an entry is replaced only by the enforcer's next tenant of the cgroup.
    let Some(label) = (unsafe { CGROUPS.get(parent) }).copied() else { return };
    if CGROUPS.insert(id, label, 0).is_err() {
        count(Stat::CgroupFailed);
    }
}

/// Drops a removed cgroup: it has no tasks any more, and its id is never used again.
#[inline(always)]
pub fn removed(cgroup: Cgroup) {
    if let Some(id) = cgroup.id() {
        let _not_ours = CGROUPS.remove(id);
    }
}
