//! Code loading: what is executed, mapped executable, or made executable.

use plimsoll_abi::{Hook, Reason, Stat, Verdict, access};

use crate::{
    decide::{Decision, Object, Origin, decide, deviation},
    emit::{self, Report},
    kernel::{Binprm, File, Inode, Vma},
    label::{Standing, Subject, subject},
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
    let inode = file.inode();
    let decision = settle(&subject, &on_root(&subject, inode), access::EXEC);
    let report = Report { file, inode, ..Report::new(&subject, decision, Hook::Exec) };
    if matches!(decision.verdict, Verdict::Allow) {
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
    let (inode, object) = if has_file() && file.exists() {
        let inode = file.inode();
        let modified = prot & PROT_WRITE != 0 && flags & MAP_TYPE == MAP_PRIVATE;
        (inode, Object { modified, ..on_root(&subject, inode) })
    } else {
        (Inode::UNKNOWN, anonymous())
    };
    let decision = settle(&subject, &object, access::MAP);
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
