//! Counting, exactly: a per-CPU slot is private to its CPU but not to the program, which another task may preempt.
//!
//! `core::sync::atomic` has no read-modify-write on this target, so the intrinsics are used.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use plimsoll_abi::Stat;

use crate::maps::{SEQUENCE, STATS};

/// Adds one to `stat`.
#[inline(always)]
pub(crate) fn count(stat: Stat) {
    if let Some(slot) = STATS.get_ptr_mut(stat as u32) {
        // SAFETY: an aligned `u64` that lives as long as the map, and that every writer changes atomically.
        unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(slot, 1) };
    }
}

/// Takes the next sequence number; 0 is none.
///
/// The order must not be relaxed: the compiler then emits the addition that does not fetch, whether or not its result
/// is used, and every number comes out the same.
#[inline(always)]
pub(crate) fn next_sequence() -> u64 {
    let Some(last) = SEQUENCE.get_ptr_mut(0) else { return 0 };
    // SAFETY: as above.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::AcqRel }>(last, 1) + 1 }
}
