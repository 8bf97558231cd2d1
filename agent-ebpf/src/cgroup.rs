//! Keeps the cgroup table true while containers make and remove child cgroups.

use plimsoll_abi::{CGROUP_MARKS as PLACES, Stat};

use crate::{
    kernel::Cgroup,
    maps::{CGROUP_MARKS, CGROUPS},
    stats::count,
};

/// Enters a new cgroup under its parent's workload, before any task can join it.
#[inline(always)]
pub fn created(cgroup: Cgroup) {
    let (Some(parent), Some(id)) = (cgroup.parent_id(), cgroup.id()) else { return };
    // SAFETY: the value is copied out at once; an entry is replaced only by the enforcer's next tenant of the cgroup.
    let Some(label) = (unsafe { CGROUPS.get(parent) }).copied() else { return };
    if let Some(mark) = mark(id) {
        // SAFETY: a byte of a map's element.
        unsafe { mark.write_volatile(1) };
    }
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

/// `false` proves that a cgroup is in no workload; `true` says nothing.
#[inline(always)]
pub(crate) fn may_be_in_a_workload(id: u64) -> bool {
    // SAFETY: as above; volatile, since the enforcer changes it.
    mark(id).is_none_or(|mark| unsafe { mark.read_volatile() } != 0)
}

#[inline(always)]
fn mark(id: u64) -> Option<*mut u8> {
    let marks = CGROUP_MARKS.get_ptr_mut(0)?;
    Some(marks.cast::<u8>().wrapping_add(id as usize & (PLACES - 1)))
}
