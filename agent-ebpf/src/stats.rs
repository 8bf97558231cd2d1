//! Counting, exactly: a per-CPU slot is private to its CPU but not to the program, which another task may preempt.
//!
//! `core::sync::atomic` has no read-modify-write on this target, so the intrinsics are used.

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd};

use plimsoll_abi::Stat;

use crate::maps::{SEQUENCE, STATS};

/// Adds one to `stat`.
#[inline(always)]
pub(crate) fn count(stat: Stat) {
    if let Some(slot) = STATS.get_ptr_mut(stat as u32) {
        add(slot, 1);
    }
}

/// Adds to a word of a map that others change too.
#[inline(always)]
pub(crate) fn add(word: *mut u64, number: u64) {
    // SAFETY: an aligned `u64` that lives as long as the map, and that every writer changes atomically.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(word, number) };
}

/// Replaces a word of a map, if it still is `old`.
#[inline(always)]
pub(crate) fn replace(word: *mut u64, old: u64, new: u64) {
    const ORDER: AtomicOrdering = AtomicOrdering::AcqRel;
    // SAFETY: as above.
    let _changed = unsafe { atomic_cxchg::<u64, ORDER, { AtomicOrdering::Acquire }>(word, old, new) };
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
