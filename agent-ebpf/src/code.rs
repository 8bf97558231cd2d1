//! Code loading: what is executed, mapped executable, or made executable.

use plimsoll_abi::{Hook, Reason, Stat, Verdict, access, state};

use crate::{
    decide::{Decision, Object, Origin, decide, deviation},
    emit::{self, Report},
    kernel::{Binprm, File, Inode, Vma},
    label::{Standing, Subject, subject},
    maps::REMEMBERED,
    stats::count,
};

const PROT_WRITE: u64 = 2;
const PROT_EXEC: u64 = 4;
const MAP_TYPE: u64 = 0xf;
const MAP_PRIVATE: u64 = 2;

/// Decides on one executable of an `execve`.
#[inline(always)]
pub fn exec(bprm: Binprm) -> i32 {
    let Some(subject) = subject() else { return 0 };
    count(Stat::ExecChecked);
    let file = bprm.file();
    if subject.state & state::TELEMETRY == 0 && is_remembered(&subject, file, access::EXEC) {
        return 0;
    }
    let inode = file.inode();
    let decision = settle(&subject, &on_root(&subject, inode), access::EXEC);
    let report = Report { file, inode, ..Report::new(&subject, decision, Hook::Exec) };
    if matches!(decision.verdict, Verdict::Allow) {
        remember(&subject, file, access::EXEC);
        emit::telemetry(&report);
    }
    emit::conclude(&report, Stat::ExecDenied, Stat::ExecAudited)
}

/// Decides on a mapping that is to be executable from the start. `file` means something only if
/// `has_file` says so.
#[inline(always)]
pub fn map(has_file: impl FnOnce() -> bool, file: File, prot: u64, flags: u64) -> i32 {
    if prot & PROT_EXEC == 0 {
        return 0;
    }
    let Some(subject) = subject() else { return 0 };
    count(Stat::MapChecked);
    let modified = prot & PROT_WRITE != 0 && flags & MAP_TYPE == MAP_PRIVATE;
    let is_file = has_file() && file.exists();
    if is_file && !modified && is_remembered(&subject, file, access::MAP) {
        return 0;
    }
    let (inode, object) = if is_file {
        let inode = file.inode();
        (inode, Object { modified, ..on_root(&subject, inode) })
    } else {
        (Inode::UNKNOWN, anonymous())
    };
    let decision = settle(&subject, &object, access::MAP);
    if is_file && matches!(decision.verdict, Verdict::Allow) {
        remember(&subject, file, access::MAP);
    }
    let report = Report { prot: prot as u32, file, inode, ..Report::new(&subject, decision, Hook::Map) };
    emit::conclude(&report, Stat::MapDenied, Stat::MapAudited)
}

/// Decides on a mapping that is to become executable.
///
/// The mapped file is the real one below an overlay, so its own inode is the key. A mapping that is executable
/// already and only loses rights was decided when it gained them.
#[inline(always)]
pub fn protect(vma: Vma, prot: u64) -> i32 {
    if prot & PROT_EXEC == 0 || (vma.is_executable() && prot & PROT_WRITE == 0) {
        return 0;
    }
    let Some(subject) = subject() else { return 0 };
    count(Stat::ProtectChecked);
    let file = vma.file();
    let (inode, object) = if file.exists() {
        let inode = file.inode();
        let modified = prot & PROT_WRITE != 0 || vma.has_private_pages();
        (inode, Object { modified, ..mapped(&subject, inode) })
    } else {
        (Inode::UNKNOWN, anonymous())
    };
    let decision = settle(&subject, &object, access::MAP);
    let report = Report { prot: prot as u32, file, inode, ..Report::new(&subject, decision, Hook::Protect) };
    emit::conclude(&report, Stat::ProtectDenied, Stat::ProtectAudited)
}

/// Whether the workload's allowlist has allowed this use of this very inode before, and nobody has written to the file since.
///
/// What is remembered is which real file an inode of the workload's own overlay stands for, and that cannot change as long as
/// there is no upper file; so that is asked every time. An allowlist's id is never used again, so a new policy remembers nothing.
#[inline(always)]
fn is_remembered(subject: &Subject, file: File, access: u32) -> bool {
    let inode = file.own_inode();
    if subject.standing != Standing::Member || inode.dev() != subject.root_dev {
        return false;
    }
    // SAFETY: the hook's file holds its inode; what comes back lives as long as that.
    let remembered = unsafe { REMEMBERED.get_ptr_mut(inode.as_ptr().cast()) };
    if remembered.is_null() {
        return false;
    }
    // SAFETY: not null, so it points at a word that is stored whole.
    let remembered = unsafe { remembered.read_volatile() };
    is_by(remembered, subject) && remembered & u64::from(access) != 0 && inode.is_untouched()
}

/// Notes that the workload's allowlist allows this use of the file, which was found on it.
#[inline(always)]
fn remember(subject: &Subject, file: File, access: u32) {
    let inode = file.own_inode();
    // SAFETY: as above. Without memory there is nothing to write to.
    let place = unsafe { REMEMBERED.get_or_insert_ptr_mut(inode.as_ptr().cast(), None) };
    if place.is_null() {
        return;
    }
    // SAFETY: as above.
    let before = unsafe { place.read_volatile() };
    let kept = if is_by(before, subject) { before } else { u64::from(state::allowlist(subject.state)) << 32 };
    // SAFETY: as above.
    unsafe { place.write_volatile(kept | u64::from(access)) };
}

/// Whether what is remembered is the workload's own allowlist's word.
#[inline(always)]
fn is_by(remembered: u64, subject: &Subject) -> bool {
    (remembered >> 32) as u32 == state::allowlist(subject.state)
}

/// Applies the allowlist, unless the task's own standing already settles it.
#[inline(always)]
fn settle(subject: &Subject, object: &Object, access: u32) -> Decision {
    match subject.standing {
        Standing::Member => decide(subject.state, object, access),
        Standing::Unlabelled => Decision { verdict: deviation(subject.state), reason: Reason::Unlabelled, rule: 0 },
        Standing::Stale => {
            count(Stat::StaleLabel);
            Decision { verdict: Verdict::Deny, reason: Reason::StaleLabel, rule: 0 }
        }
    }
}

/// A file opened by the workload: it must be on the workload's own root, and untouched.
#[inline(always)]
pub(crate) fn on_root(subject: &Subject, inode: Inode) -> Object {
    let origin = if !inode.readable {
        Origin::Unreadable
    } else if !inode.overlay || inode.mounted_dev != subject.root_dev {
        Origin::Foreign
    } else if inode.upper || !inode.lower {
        Origin::Written
    } else {
        Origin::Lower
    };
    Object { origin, modified: false, dev: inode.dev, ino: inode.ino }
}

/// A file behind an existing mapping: the real one, or the overlay's where the kernel keeps that.
#[inline(always)]
fn mapped(subject: &Subject, inode: Inode) -> Object {
    if inode.readable && !inode.overlay {
        return Object { origin: Origin::Lower, modified: false, dev: inode.dev, ino: inode.ino };
    }
    on_root(subject, inode)
}

#[inline(always)]
fn anonymous() -> Object {
    Object { origin: Origin::Anonymous, modified: false, dev: 0, ino: 0 }
}
