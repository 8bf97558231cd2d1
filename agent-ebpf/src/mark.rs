//! A table in front of the tasks' labels: it knows at once which tasks have none, and remembers the label of most others.
//!
//! A task's address is its identity as long as it lives. Its low part chooses a place, the rest is compared, so that a match is
//! exact. The cached word holds that rest and the label, is stored whole, and is cleared when its task dies: an address that is
//! used again finds nothing.

use plimsoll_abi::{Label, MAX_INCARNATION, TASK_MARKS as PLACES, TaskMark};

use crate::{
    maps::TASK_MARKS,
    stats::{add, replace},
};

/// Tasks lie on cache lines of their own: `ARCH_MIN_TASKALIGN` is at least this on every supported machine.
const ALIGNMENT_BITS: u32 = 6;
const PLACE_BITS: u32 = PLACES.trailing_zeros();
const SLOT_BITS: u32 = 13;
const INCARNATION_BITS: u32 = MAX_INCARNATION.trailing_ones();
const LABEL_BITS: u32 = SLOT_BITS + INCARNATION_BITS;

/// The place of one task's address.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    mark: *mut TaskMark,
    /// What of the address the place does not say.
    rest: u32,
}

impl Place {
    /// There always is one; the verifier wants to be told.
    #[inline(always)]
    pub(crate) fn of(address: u64) -> Option<Self> {
        let line = address >> ALIGNMENT_BITS;
        let rest = (line >> PLACE_BITS) as u32;
        // The rest is mixed in, since tasks lie in few of the places that their low bits could name. That can be undone, so
        // place and rest together still are the whole address.
        let place = (line as u32 ^ rest.wrapping_mul(0x9e37)) & (PLACES - 1);
        TASK_MARKS.get_ptr_mut(place).map(|mark| Self { mark, rest })
    }

    /// Whether any task of this place is labelled.
    #[inline(always)]
    pub(crate) fn has_labelled(self) -> bool {
        let labelled = self.labelled();
        // SAFETY: an aligned word of a map's element; volatile, since other processors change it.
        unsafe { labelled.read_volatile() != 0 }
    }

    /// One more task is labelled.
    #[inline(always)]
    pub(crate) fn gain(self) {
        add(self.labelled(), 1);
    }

    /// One task less is labelled.
    #[inline(always)]
    pub(crate) fn lose(self) {
        add(self.labelled(), u64::MAX);
    }

    /// Forgets the task's label, before its address can be used again.
    #[inline(always)]
    pub(crate) fn clear(self) {
        let cached = self.read();
        if (cached >> LABEL_BITS) as u32 == self.rest {
            replace(self.word(), cached, 0);
        }
    }

    /// The task's label, if it is the one remembered here.
    #[inline(always)]
    pub(crate) fn cached(self) -> Option<Label> {
        let cached = self.read();
        let incarnation = cached as u32 & MAX_INCARNATION;
        // No workload has incarnation 0, so an empty word matches no task.
        if (cached >> LABEL_BITS) as u32 != self.rest || incarnation == 0 {
            return None;
        }
        let slot = (cached >> INCARNATION_BITS) as u32 & ((1 << SLOT_BITS) - 1);
        Some(Label { slot, incarnation })
    }

    /// Remembers the task's label, in the place of another task's.
    #[inline(always)]
    pub(crate) fn cache(self, label: Label) {
        let label = u64::from(label.slot) << INCARNATION_BITS | u64::from(label.incarnation);
        // SAFETY: an aligned word of a map's element, stored whole.
        unsafe { self.word().write_volatile(u64::from(self.rest) << LABEL_BITS | label) };
    }

    #[inline(always)]
    fn read(self) -> u64 {
        // SAFETY: as above.
        unsafe { self.word().read_volatile() }
    }

    #[inline(always)]
    fn labelled(self) -> *mut u64 {
        // SAFETY: only the address of the field is formed.
        unsafe { &raw mut (*self.mark).labelled }
    }

    #[inline(always)]
    fn word(self) -> *mut u64 {
        // SAFETY: only the address of the field is formed.
        unsafe { &raw mut (*self.mark).cached }
    }
}
