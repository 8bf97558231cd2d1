//! File rules: what a path may not be used for, the same in every hook and under test.

use aya_ebpf::helpers::generated::bpf_loop;
use plimsoll_abi::{FileFilter, FileKey, FileRule, MAX_DEPTH, PathHash, PathKey, operation};

use crate::{
    kernel::opaque,
    maps::{FILE_LISTS, FILE_RULES},
};

/// A path, and what is found out about it.
///
/// The loops over it are the kernel's own: their bodies are verified once, not once for every component that a path may have.
pub struct Lookup {
    /// The hashes of the path's components, the last one first.
    pub components: [u64; MAX_DEPTH],
    /// How many there are.
    pub depth: u64,
    /// What they were hashed with.
    pub key: *const PathKey,
    /// The list whose rules count.
    pub list: u32,
    /// What is asked for, as bits of [`operation`].
    pub asked: u32,
    filter: *const FileFilter,
    path: PathHash,
    judged: Judged,
}

/// What rules say of one path.
#[derive(Clone, Copy)]
pub struct Judged {
    /// Bits of [`operation`] that are denied.
    pub denied: u16,
    /// The rule that decides what was asked; 0 if none does, else its number plus one.
    pub rule: u16,
    /// 1 if some rule names something further down.
    pub leads: u32,
}

impl Judged {
    /// No rule says anything.
    pub const NOTHING: Self = Self { denied: 0, rule: 0, leads: 0 };
}

impl Lookup {
    /// A path without components yet.
    #[inline(always)]
    pub fn new(key: &PathKey, list: u32, asked: u16) -> Self {
        let (filter, path) = (core::ptr::null(), key.root());
        let components = [0; MAX_DEPTH];
        Self { components, depth: 0, key, list, asked: u32::from(asked), filter, path, judged: Judged::NOTHING }
    }

    /// Looks for the rules that name the path or a directory above it, from the root on: what names more of the path overrides
    /// what names less. `None` if the list is not there.
    #[inline(always)]
    pub fn judge(&mut self) -> Option<Judged> {
        self.filter = FILE_LISTS.get_ptr(self.list)?;
        let steps = self.depth as u32 + 1;
        let context = (&raw mut *self).cast();
        // SAFETY: the callback has the shape that the helper wants, and the context outlives the call.
        let taken = unsafe { bpf_loop(steps, step as *mut _, context, 0) };
        (taken == i64::from(steps)).then_some(self.judged)
    }
}

/// One prefix of the path, of `at` components; 1 ends the loop.
extern "C" fn step(at: u64, lookup: *mut Lookup) -> u64 {
    // SAFETY: the context that `judge` hands over.
    let lookup = unsafe { &mut *lookup };
    let (depth, at) = (lookup.depth, at & 0xffff_ffff);
    // SAFETY: an entry of the map; it stays while the list is in force.
    let filter = unsafe { &*lookup.filter };
    let word = opaque(at) as usize;
    if word >= MAX_DEPTH {
        return 1;
    }
    // SAFETY: there is a word for every depth, checked just now.
    let maybe = unsafe { *filter.words.get_unchecked(word) } & FileFilter::bit(lookup.path.low) != 0;
    if maybe && let Some(rule) = FILE_RULES.get_ptr(FileKey { path: lookup.path, list: lookup.list, reserved: 0 }) {
        // SAFETY: as the filter.
        apply(lookup, unsafe { &*rule }, at == depth);
    }
    let index = opaque(depth.wrapping_sub(at).wrapping_sub(1)) as usize;
    if index < MAX_DEPTH {
        // SAFETY: checked just now.
        let component = unsafe { *lookup.components.get_unchecked(index) };
        // SAFETY: an entry of an array, which stays.
        lookup.path = unsafe { &*lookup.key }.step(lookup.path, component);
    }
    0
}

#[inline(always)]
fn apply(lookup: &mut Lookup, rule: &FileRule, whole: bool) {
    let asked = lookup.asked as u16;
    one(&mut lookup.judged, rule.below_denied, rule.below_decided, rule.below_rule, asked);
    if whole {
        one(&mut lookup.judged, rule.exact_denied, rule.exact_decided, rule.exact_rule, asked);
        lookup.judged.leads = rule.leads;
    }
}

#[inline(always)]
fn one(judged: &mut Judged, denied: u16, decided: u16, rule: u16, asked: u16) {
    judged.denied = (judged.denied & !decided) | denied;
    if decided & asked != 0 {
        judged.rule = rule.wrapping_add(1);
    }
}

/// Which of an operation's two names is why it is denied.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// Neither: it is allowed.
    Neither,
    /// The name that there was.
    Old,
    /// The name that there would be.
    New,
}

/// Decides on a second name.
#[inline(always)]
pub fn link(from: &Judged, to: &Judged) -> Denied {
    if to.denied & operation::CREATE != 0 {
        Denied::New
    } else if from.denied & operation::LINK != 0 || !may_move(from, to) {
        Denied::Old
    } else {
        Denied::Neither
    }
}

/// What a change of name asks of the new name, which replaces something or not, or is exchanged with the old one.
#[inline(always)]
pub fn asked_of_new(replaces: bool, exchanges: bool) -> u16 {
    match (exchanges, replaces) {
        (true, _) => operation::RENAME,
        (false, true) => operation::CREATE | operation::REMOVE,
        (false, false) => operation::CREATE,
    }
}

/// Decides on a change of name.
#[inline(always)]
pub fn rename(from: &Judged, to: &Judged, replaces: bool, exchanges: bool) -> Denied {
    if to.denied & asked_of_new(replaces, exchanges) != 0 {
        Denied::New
    } else if from.denied & operation::RENAME != 0 || !may_move(from, to) || (exchanges && !may_move(to, from)) {
        Denied::Old
    } else {
        Denied::Neither
    }
}

/// Whether what is named by `from` may get the name `to`: neither may lead to rules, and nothing may be gained.
#[inline(always)]
fn may_move(from: &Judged, to: &Judged) -> bool {
    from.leads == 0 && to.leads == 0 && from.denied & !to.denied & operation::ALL == 0
}
