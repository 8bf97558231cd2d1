//! Plimsoll itself, kept from workloads, privileged ones too, whatever their policies say.

use plimsoll_abi::{Hook, ObjectKey, ObjectKind, PlaceKey, Reason, Stat, Tampering, Verdict, protection};

use crate::{
    decide::Decision,
    emit::{self, Report},
    hardening::kill,
    kernel::{
        BpfLink, BpfMap, BpfProgram, Mount, Node, SuperBlock, Task, UnixSocket,
        objects::{Dentry, Path},
    },
    label::{Subject, is_in_runtime_namespace, settled},
    maps::{AGENTS, OBJECTS, PLACES},
};

/// Denies what the current task is about to do, if it is a workload's.
#[inline(always)]
fn deny(tampering: Tampering) -> i32 {
    let Some(subject) = settled() else { return 0 };
    deny_to(&subject, tampering)
}

#[inline(always)]
fn deny_to(subject: &Subject, tampering: Tampering) -> i32 {
    let decision = Decision { verdict: Verdict::Deny, reason: Reason::Tampering, rule: 0 };
    let report = Report { operand: tampering as u64, ..Report::new(subject, decision, Hook::Tamper) };
    emit::conclude(&report, Stat::TamperDenied, Stat::TamperDenied)
}

/// Checks what is about to be done to another task.
#[inline(always)]
pub fn task(target: Task, tampering: Tampering) -> i32 {
    if is_agent(target) { deny(tampering) } else { 0 }
}

/// Checks a signal; the question whether one could be sent is none.
#[inline(always)]
pub fn signal(target: Task, signal: i32) -> i32 {
    if signal == 0 { 0 } else { task(target, Tampering::Signal) }
}

/// Keeps signals of descriptors from agents, whoever asked for them: agents use none, and who asked is not known here.
#[inline(always)]
pub fn descriptor_signal(target: Task) -> i32 {
    const EPERM: i32 = -1;
    if !is_agent(target) {
        return 0;
    }
    let _reported = deny(Tampering::Signal);
    EPERM
}

#[inline(always)]
fn is_agent(task: Task) -> bool {
    task.process().is_some_and(|(process, started)| is_process_of_agent(process, Some(started)))
}

#[inline(always)]
fn is_process_of_agent(process: u32, started: Option<u64>) -> bool {
    // SAFETY: the value is read at once.
    let known = unsafe { AGENTS.get(process) }.copied();
    known.is_some_and(|known| started.is_none_or(|started| started == known))
}

/// Checks whether a descriptor for a map may be made.
#[inline(always)]
pub fn map(map: BpfMap) -> i32 {
    if is_ours(ObjectKind::Map, map.id()) { deny(Tampering::Map) } else { 0 }
}

/// Checks whether a descriptor for a program may be made.
#[inline(always)]
pub fn program(program: BpfProgram) -> i32 {
    if is_ours(ObjectKind::Program, program.id()) { deny(Tampering::Program) } else { 0 }
}

/// A descriptor for a link is being made, and no hook can refuse that: who asked dies before it can use it.
#[inline(always)]
pub fn link(link: BpfLink) {
    if is_ours(ObjectKind::Link, link.id()) && deny(Tampering::Link) != 0 {
        kill();
    }
}

#[inline(always)]
fn is_ours(kind: ObjectKind, id: Option<u32>) -> bool {
    // SAFETY: only presence is asked for.
    id.is_some_and(|id| unsafe { OBJECTS.get(ObjectKey { kind: kind as u32, id }) }.is_some())
}

/// Checks `mount(2)`. The hook does not say what an `MS_MOVE` moves, so that in the runtime's namespace none is allowed.
#[inline(always)]
pub fn mount(path: Path, flags: u64) -> i32 {
    const MS_MOVE: u64 = 0x2000;
    match mount_over(path) {
        0 if flags & MS_MOVE != 0 => rearrange(),
        answer => answer,
    }
}

/// Checks what changes the mounts of a whole namespace.
#[inline(always)]
pub fn rearrange() -> i32 {
    let Some(subject) = settled() else { return 0 };
    if is_in_runtime_namespace(&subject) { deny_to(&subject, Tampering::Mount) } else { 0 }
}

/// Checks the mounting of something over a path, or the moving of a mount to it.
#[inline(always)]
fn mount_over(path: Path) -> i32 {
    let protected = path.dentry().and_then(Dentry::node).is_some_and(|node| is_protected(node, protection::PLACE));
    if protected { deny(Tampering::Mount) } else { 0 }
}

/// Checks the unmounting of a filesystem.
#[inline(always)]
pub fn unmount(mount: Mount) -> i32 {
    let protected = mount.root().and_then(Dentry::node).is_some_and(|node| is_protected(node, protection::PLACE));
    if protected { deny(Tampering::Mount) } else { 0 }
}

/// Checks the moving of a mount.
#[inline(always)]
pub fn move_mount(from: Path, to: Path) -> i32 {
    match from.mount().map_or(0, unmount) {
        0 => mount_over(to),
        refused => refused,
    }
}

/// Checks the removal or renaming of a name.
#[inline(always)]
pub fn remove(name: Dentry) -> i32 {
    let itself = name.node().is_some_and(|node| is_protected(node, protection::PLACE));
    if itself || is_content(name) { deny(Tampering::File) } else { 0 }
}

/// Checks the making of a name in a directory.
#[inline(always)]
pub fn make(name: Dentry) -> i32 {
    if is_content(name) { deny(Tampering::File) } else { 0 }
}

/// Checks the truncation of a file.
#[inline(always)]
pub fn truncate(path: Path) -> i32 {
    path.dentry().map_or(0, make)
}

/// Checks a connection to a unix socket.
#[inline(always)]
pub fn connect(socket: UnixSocket) -> i32 {
    if socket.dentry().is_some_and(is_content) { deny(Tampering::Socket) } else { 0 }
}

/// Checks the opening of a file for writing.
#[inline(always)]
pub(crate) fn open(subject: &Subject, name: Dentry) -> i32 {
    const PROC: u64 = 0x9fa0;
    let Some(node) = name.node() else { return 0 };
    let magic = node.super_block().and_then(SuperBlock::magic);
    if magic == Some(PROC) {
        let process = name.top().and_then(Dentry::node).and_then(Node::process);
        let of_agent = process.is_some_and(|process| is_process_of_agent(process, None));
        return if of_agent { deny_to(subject, Tampering::Resources) } else { 0 };
    }
    let directory = name.parent().and_then(Dentry::node);
    if directory.is_some_and(|directory| is_protected(directory, protection::CGROUP)) {
        return deny_to(subject, Tampering::Cgroup);
    }
    if is_content(name) { deny_to(subject, Tampering::File) } else { 0 }
}

/// Whether a name is, or lies below, something whose content is protected.
#[inline(always)]
fn is_content(name: Dentry) -> bool {
    name.is_within(|place| has(place, protection::CONTENT))
}

#[inline(always)]
fn is_protected(node: Node, how: u32) -> bool {
    node.place().is_some_and(|place| has(place, how))
}

#[inline(always)]
fn has(place: PlaceKey, how: u32) -> bool {
    // SAFETY: the value is read at once.
    unsafe { PLACES.get(place) }.is_some_and(|protection| protection & how != 0)
}
