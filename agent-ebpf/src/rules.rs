//! File rules: what a path may not be used for, the same in every hook and under test.

use plimsoll_abi::{FileFilter, FileKey, FileRule, MAX_DEPTH, PathHash, PathKey, operation};

use crate::{
    kernel::opaque,
    maps::{FILE_LISTS, FILE_RULES},
};

/// The components of a path, the last one first.
pub type Components = [u64; MAX_DEPTH];

/// What rules say of one path.
#[derive(Clone, Copy)]
pub struct Judged {
    /// Bits of [`operation`] that are denied.
    pub denied: u16,
    /// The rule that decides what was asked; 0 if none does, else its number plus one.
    pub rule: u16,
    /// Some rule names something further down.
    pub leads: bool,
}

/// Looks for the rules of `list` that name a path or a directory above it, from the root on: what names more of the path
/// overrides what names less. `None` if the list is not there.
#[inline(always)]
pub fn judge(key: &PathKey, list: u32, components: &Components, depth: usize, asked: u16) -> Option<Judged> {
    let filter = FILE_LISTS.get_ptr(list)?;
    let mut judged = Judged { denied: 0, rule: 0, leads: false };
    let mut path = key.root();
    let mut at = 0;
    loop {
        let rule = rule(filter, list, path, at);
        if !rule.is_null() {
            // SAFETY: an entry of the map; it stays while the list is in force.
            let rule = unsafe { *rule };
            judged = apply(judged, rule.below_denied, rule.below_decided, rule.below_rule, asked);
            if at >= depth {
                judged = apply(judged, rule.exact_denied, rule.exact_decided, rule.exact_rule, asked);
                judged.leads = rule.leads != 0;
            }
        }
        if at >= depth || at >= MAX_DEPTH {
            return Some(judged);
        }
        let index = opaque((depth - 1 - at) as u64) as usize;
        if index >= MAX_DEPTH {
            return None;
        }
        // SAFETY: checked just now.
        let component = unsafe { *components.get_unchecked(index) };
        path = key.step(path, component);
        at += 1;
    }
}

#[inline(always)]
fn apply(judged: Judged, denied: u16, decided: u16, rule: u16, asked: u16) -> Judged {
    let concerned = decided & asked != 0;
    Judged {
        denied: (judged.denied & !decided) | denied,
        rule: if concerned { rule.wrapping_add(1) } else { judged.rule },
        leads: judged.leads,
    }
}

#[inline(always)]
fn rule(filter: *const FileFilter, list: u32, path: PathHash, depth: usize) -> *const FileRule {
    // SAFETY: an entry of the map; it stays while the list is in force.
    let filter = unsafe { &*filter };
    // SAFETY: there is a word for every depth.
    if unsafe { *filter.words.get_unchecked(depth) } & FileFilter::bit(path.low) == 0 {
        return core::ptr::null();
    }
    FILE_RULES.get_ptr(FileKey { path, list, reserved: 0 }).unwrap_or(core::ptr::null())
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
    !from.leads && !to.leads && from.denied & !to.denied & operation::ALL == 0
}
