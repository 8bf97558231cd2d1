//! The reference decision.

use plimsoll_abi::{Reason, Verdict, state};
use plimsoll_policy::{Access, CompiledPolicy, FileObject, Hardening, evaluate};
use plimsoll_sbom::{EvidenceClass, ExecKind, InventoryFile};

use super::{compiled, file, inode};

const TOOL: FileObject = FileObject::Lower(super::InodeKey { dev: super::DEV, ino: 1 });
const LIBRARY: FileObject = FileObject::Lower(super::InodeKey { dev: super::DEV, ino: 2 });
const SCRIPT: FileObject = FileObject::Lower(super::InodeKey { dev: super::DEV, ino: 3 });
const UNLISTED: FileObject = FileObject::Lower(super::InodeKey { dev: super::DEV, ino: 9 });
const OTHER_DEVICE: FileObject = FileObject::Lower(super::InodeKey { dev: 0, ino: 1 });

fn shop(mode: &str, anonymous: &str) -> CompiledPolicy {
    let listed =
        |path, ino, kind, mode| InventoryFile { kind, mode, ..file(path, ino, Some(EvidenceClass::SbomDigest)) };
    compiled(
        &format!("  mode: {mode}\n  anonymousExec: {anonymous}\n"),
        vec![
            listed("/bin/tool", 1, ExecKind::Elf, 0o755),
            listed("/lib/library.so", 2, ExecKind::Elf, 0o644),
            listed("/bin/script", 3, ExecKind::Script, 0o755),
            file("/bin/unlisted", 9, Some(EvidenceClass::LayerOnly)),
        ],
    )
}

fn map(file: FileObject, private_writable: bool) -> Access {
    Access::Map { file: Some(file), private_writable }
}

fn protect(file: FileObject, modified: bool) -> Access {
    Access::Protect { file: Some(file), modified }
}

/// Every access, with the reason when anonymous executable memory is denied and when it is allowed.
fn table() -> Vec<(Access, Reason, Reason)> {
    use Reason::{AnonymousExec, Foreign, Listed, ModifiedCode, NotListed, Unreadable, Written};
    let same = |access, reason| (access, reason, reason);
    vec![
        same(Access::Exec(TOOL), Listed),
        same(Access::Exec(SCRIPT), Listed),
        same(Access::Exec(LIBRARY), NotListed),
        same(Access::Exec(UNLISTED), NotListed),
        same(Access::Exec(OTHER_DEVICE), NotListed),
        same(Access::Exec(FileObject::Written), Written),
        same(Access::Exec(FileObject::Foreign), Foreign),
        same(Access::Exec(FileObject::Unreadable), Unreadable),
        same(map(TOOL, false), Listed),
        same(map(LIBRARY, false), Listed),
        same(map(SCRIPT, false), NotListed),
        same(map(FileObject::Written, false), Written),
        same(map(FileObject::Foreign, false), Foreign),
        (map(LIBRARY, true), ModifiedCode, Listed),
        (map(UNLISTED, true), ModifiedCode, NotListed),
        (map(FileObject::Written, true), ModifiedCode, Written),
        (map(FileObject::Foreign, true), ModifiedCode, Foreign),
        (Access::Map { file: None, private_writable: true }, AnonymousExec, Listed),
        (Access::Map { file: None, private_writable: false }, AnonymousExec, Listed),
        same(protect(LIBRARY, false), Listed),
        same(protect(SCRIPT, false), NotListed),
        same(protect(FileObject::Written, false), Written),
        same(protect(FileObject::Unreadable, false), Unreadable),
        (protect(LIBRARY, true), ModifiedCode, Listed),
        (protect(FileObject::Written, true), ModifiedCode, Written),
        (Access::Protect { file: None, modified: true }, AnonymousExec, Listed),
        (Access::Protect { file: None, modified: false }, AnonymousExec, Listed),
    ]
}

#[test]
fn every_access_has_its_reason() {
    let (denying, allowing) = (shop("Enforce", "Deny"), shop("Enforce", "Allow"));
    for (access, denied, allowed) in table() {
        assert_eq!(evaluate(&denying, &access).1, denied, "{access:?} without anonymous code");
        assert_eq!(evaluate(&allowing, &access).1, allowed, "{access:?} with anonymous code");
    }
}

#[test]
fn the_mode_alone_turns_a_reason_into_a_verdict() {
    for (mode, deviation) in [("Enforce", Verdict::Deny), ("Monitor", Verdict::Audit)] {
        let policy = shop(mode, "Deny");
        for (access, reason, _) in table() {
            let expected = if reason == Reason::Listed { Verdict::Allow } else { deviation };
            assert_eq!(evaluate(&policy, &access), (expected, reason), "{access:?} under {mode}");
        }
    }
}

#[test]
fn the_kernels_state_says_the_same() {
    let always = state::ACTIVE | Hardening::default().state();
    assert_eq!(shop("Monitor", "Deny").state(7), always | 7);
    assert_eq!(shop("Enforce", "Deny").state(7), always | state::ENFORCE | 7);
    assert_eq!(shop("Monitor", "Allow").state(u32::MAX), always | state::ALLOW_ANONYMOUS_EXEC | 0xffff_ffff);
    let policy = shop("Enforce", "Deny");
    let (key, value) = policy.entries[0].kernel(7);
    assert_eq!((key.allowlist, key.dev, key.ino), (7, inode(1).dev, 1));
    assert_eq!((value.access, value.rule), (policy.entries[0].access, policy.entries[0].rule));
}
