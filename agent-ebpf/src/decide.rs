//! The decision: map lookups and integers, the same in every hook and under test.

use plimsoll_abi::{AllowKey, Reason, Verdict, state};

use crate::maps::ALLOW;

/// What kind of thing is to run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Untouched content of the image's layers, or, for a protection change, of the file that is mapped.
    Lower,
    /// Written since the container started.
    Written,
    /// On another filesystem than the workload's root.
    Foreign,
    /// Memory without a file.
    Anonymous,
    /// It could not be found out.
    Unreadable,
}

/// What is to run.
#[derive(Clone, Copy)]
pub struct Object {
    /// Its kind.
    pub origin: Origin,
    /// It is a file mapping whose pages were or can be written before they run.
    pub modified: bool,
    /// Filesystem of the real inode.
    pub dev: u32,
    /// The real inode.
    pub ino: u64,
}

/// A verdict with its reason.
#[derive(Clone, Copy)]
pub struct Decision {
    /// Allow, audit or deny.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// The matching entry's rule, if the reason is `Listed`.
    pub rule: u32,
}

/// Decides whether a workload in `state` may use `object` as `access` says.
#[inline(always)]
pub fn decide(state: u64, object: &Object, access: u32) -> Decision {
    let (reason, rule) = judge(state, object, access);
    let verdict = match reason {
        Reason::Listed => Verdict::Allow,
        _ => deviation(state),
    };
    Decision { verdict, reason, rule }
}

/// The verdict on a deviation, by the workload's enforcement mode.
#[inline(always)]
pub fn deviation(state: u64) -> Verdict {
    if state & state::ENFORCE == 0 { Verdict::Audit } else { Verdict::Deny }
}

#[inline(always)]
fn judge(state: u64, object: &Object, access: u32) -> (Reason, u32) {
    let anonymous_allowed = state & state::ALLOW_ANONYMOUS_EXEC != 0;
    if object.modified && !anonymous_allowed {
        return (Reason::ModifiedCode, 0);
    }
    match object.origin {
        Origin::Lower => listed(state::allowlist(state), object, access),
        Origin::Written => (Reason::Written, 0),
        Origin::Foreign => (Reason::Foreign, 0),
        Origin::Anonymous if anonymous_allowed => (Reason::Listed, 0),
        Origin::Anonymous => (Reason::AnonymousExec, 0),
        Origin::Unreadable => (Reason::Unreadable, 0),
    }
}

#[inline(always)]
fn listed(allowlist: u32, object: &Object, access: u32) -> (Reason, u32) {
    let key = AllowKey { allowlist, dev: object.dev, ino: object.ino };
    // SAFETY: presence and access are read at once; entries are removed only after no workload names their allowlist.
    match unsafe { ALLOW.get(key) } {
        Some(entry) if entry.access & access == access => (Reason::Listed, entry.rule),
        _ => (Reason::NotListed, 0),
    }
}
