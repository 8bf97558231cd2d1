//! Counting, exactly: a per-CPU slot is private to its CPU but not to the program, which another task may preempt.
//!
//! `core::sync::atomic` has no read-modify-write on this target, so the intrinsics are used.

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd};

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use plimsoll_abi::{Stat, network::PEER_EVENTS_PER_SECOND};

use crate::maps::{PEER_EVENTS, SEQUENCE, STATS};

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

/// Whether one more connection from outside may leave an event on this CPU in this second. Counting may be a little off where
/// one packet interrupts another: it bounds a flood, and decides nothing.
#[inline(always)]
pub(crate) fn may_report_peer() -> bool {
    // SAFETY: the helper has no preconditions.
    let second = unsafe { bpf_ktime_get_boot_ns() } / 1_000_000_000;
    let Some(budget) = PEER_EVENTS.get_ptr_mut(0) else { return true };
    // SAFETY: an element of this CPU's own array, which lives as long as the map.
    let budget = unsafe { &mut *budget };
    if budget[0] != second {
        *budget = [second, 0];
    }
    budget[1] += 1;
    budget[1] <= PEER_EVENTS_PER_SECOND
}
