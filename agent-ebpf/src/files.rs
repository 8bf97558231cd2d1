//! Files: what is opened, made, removed, renamed, linked or changed, by the path that a rule would name it by.
//!
//! That path is found by walking up the dentries, whatever string was passed, whatever the task's root or mounts: to the
//! root of the workload's own overlay, or to the inode on which the runtime mounted a volume.

use aya_ebpf::helpers::generated::bpf_loop;
use plimsoll_abi::{
    FileFilter, Hook, Label, MAX_DEPTH, MAX_MOUNT_DEPTH, Reason, Stat, Verdict, Volume, VolumeKey, operation, state,
};

use crate::{
    code::on_root,
    decide::{Decision, deviation},
    emit::{self, Report},
    kernel::{Attributes, Dentry, File, Filesystem, Path, Task, forget, opaque},
    label::{Standing, Subject, settled},
    maps::{PATH_KEY, VOLUME_FILTERS, VOLUMES},
    rules::{self, Denied, Judged, Lookup, asked_of_new},
    scripts::{Candidate, is_code_name, is_unlisted},
    stats::count,
};

/// Decides on opening a file.
#[inline(always)]
pub fn open(file: File) -> i32 {
    // The kernel's own opening of the file below an overlay, whose own opening was decided on before.
    const FMODE_NOACCOUNT: u32 = 1 << 29;
    const FMODE_EXEC: u32 = 0x20;
    if file.mode() & FMODE_NOACCOUNT != 0 {
        return 0;
    }
    let Some(subject) = subject() else { return 0 };
    // What may be executed is the allowlist's business.
    if file.flags() & FMODE_EXEC != 0 {
        return 0;
    }
    if subject.state & state::SCRIPTS != 0 {
        let answer = script(file, pack(&subject), subject.state, subject.root_dev) as i32;
        if answer != 0 {
            return answer;
        }
    }
    if subject.state & state::FILE_RULES == 0 && !matches!(subject.standing, Standing::Stale) {
        return 0;
    }
    let asked = opened_for(file);
    let found = find(&subject, file.dentry(), asked);
    let hook = if found.judged.denied & operation::WRITE & asked != 0 { Hook::Write } else { Hook::Read };
    conclude(&subject, file.dentry(), &found, found.judged.denied & asked != 0, hook)
}

#[inline(always)]
fn opened_for(file: File) -> u16 {
    const FMODE_READ: u32 = 1;
    const FMODE_WRITE: u32 = 2;
    const O_TRUNC: u32 = 0o1000;
    let reads = if file.mode() & FMODE_READ == 0 { 0 } else { operation::READ };
    let writes = file.mode() & FMODE_WRITE != 0 || file.flags() & O_TRUNC != 0;
    reads | if writes { operation::WRITE } else { 0 }
}

/// Decides on what an interpreter reads. A function of its own, for the stack it needs.
#[inline(never)]
fn script(file: File, label: u64, state: u64, root_dev: u32) -> i64 {
    const S_IFMT: u16 = 0o170_000;
    const S_IFREG: u16 = 0o100_000;
    const ANY_EXECUTE: u16 = 0o111;
    let mode = file.inode_mode();
    let program = Task::current().executable();
    if mode & S_IFMT != S_IFREG || opened_for(file) & operation::READ == 0 || !program.exists() {
        return 0;
    }
    let label = Label { slot: label as u32, incarnation: (label >> 32) as u32 };
    let subject = Subject { label, state, root_dev, standing: Standing::Member };
    let inode = file.inode();
    let candidate = Candidate {
        object: on_root(&subject, inode),
        named_as_code: is_code_name(file.dentry().last_bytes()),
        executable: mode & ANY_EXECUTE != 0,
    };
    let interpreter = program.inode();
    // A program that was changed since it started is none that the list knows.
    if !is_unlisted(state, interpreter.dev, interpreter.ino, &candidate) {
        return 0;
    }
    let decision = Decision { verdict: deviation(state), reason: Reason::UnlistedScript, rule: 0 };
    let report = Report { file, inode, ..Report::new(&subject, decision, Hook::Script) };
    i64::from(emit::conclude(&report, Stat::FileDenied, Stat::FileAudited))
}

/// Decides on one operation on one name.
#[inline(always)]
pub fn one(dentry: Dentry, asked: u16, hook: Hook) -> i32 {
    let Some(subject) = ruled() else { return 0 };
    let found = find(&subject, dentry, asked);
    conclude(&subject, dentry, &found, found.judged.denied & asked != 0, hook)
}

/// Decides on a change of length.
#[inline(always)]
pub fn truncate(path: Path) -> i32 {
    one(path.dentry(), operation::WRITE, Hook::Write)
}

/// Decides on a change of owner, mode or times. What the kernel changes by itself as a consequence of writing is part of
/// that writing.
#[inline(always)]
pub fn attributes(dentry: Dentry, attributes: Attributes) -> i32 {
    const MODE_OWNER_TIMES: u32 = 0b11_0111;
    const SIZE: u32 = 1 << 3;
    const FORCE: u32 = 1 << 9;
    let valid = attributes.valid();
    if valid & MODE_OWNER_TIMES == 0 || valid & (SIZE | FORCE) != 0 {
        return 0;
    }
    one(dentry, operation::ATTRIBUTE, Hook::Attribute)
}

/// Decides on a second name for a file.
#[inline(always)]
pub fn link(old: Dentry, new: Dentry) -> i32 {
    let Some(subject) = ruled() else { return 0 };
    let from = find(&subject, old, operation::LINK);
    let to = find(&subject, new, operation::CREATE);
    two(&subject, (old, &from), (new, &to), rules::link(&from.judged, &to.judged), Hook::Link)
}

/// Decides on a change of name, or, with `RENAME_EXCHANGE`, of two.
#[inline(always)]
pub fn rename(old: Dentry, new: Dentry, flags: u32) -> i32 {
    const RENAME_EXCHANGE: u32 = 2;
    let Some(subject) = ruled() else { return 0 };
    let (replaces, exchanges) = (new.is_positive(), flags & RENAME_EXCHANGE != 0);
    let from = find(&subject, old, operation::RENAME);
    let to = find(&subject, new, asked_of_new(replaces, exchanges));
    let denied = rules::rename(&from.judged, &to.judged, replaces, exchanges);
    two(&subject, (old, &from), (new, &to), denied, Hook::Rename)
}

/// Reports the name that is to blame.
#[inline(always)]
fn two(subject: &Subject, old: (Dentry, &Found), new: (Dentry, &Found), denied: Denied, hook: Hook) -> i32 {
    let blames_new = matches!(denied, Denied::New) || new.1.is_refused();
    let (name, found) = if blames_new { new } else { old };
    conclude(subject, name, found, !matches!(denied, Denied::Neither), hook)
}

/// The current task's workload, if its policy has file rules.
#[inline(always)]
fn ruled() -> Option<Subject> {
    concerned(state::FILE_RULES)
}

/// The same, if its policy has file rules or restricts scripts.
#[inline(always)]
fn subject() -> Option<Subject> {
    concerned(state::FILE_RULES | state::SCRIPTS)
}

#[inline(always)]
fn concerned(by: u64) -> Option<Subject> {
    let subject = settled()?;
    let concerned = subject.state & by != 0 || matches!(subject.standing, Standing::Stale);
    if concerned {
        count(Stat::FileChecked);
    }
    concerned.then_some(subject)
}

/// What a path is, as far as rules go.
#[derive(Clone, Copy)]
struct Found {
    judged: Judged,
    /// How the search ended.
    end: u8,
    /// Number of the volume, 0 on the root filesystem.
    volume: u16,
    /// Components up to the root or the volume's beginning.
    depth: u8,
}

/// It has a path.
const NAMED: u8 = 0;
/// It is on a filesystem that the runtime did not mount: rules do not reach it.
const UNNAMED: u8 = 1;
/// It could not be found out.
const UNREADABLE: u8 = 2;
/// There are too many directories above it.
const TOO_DEEP: u8 = 3;
/// It is on an overlay of the workload's own making, which shows other files under new names.
const OVERLAID: u8 = 4;

impl Found {
    #[inline(always)]
    fn is_refused(&self) -> bool {
        self.end >= UNREADABLE
    }

    /// One word, since a call in the kernel returns no more.
    #[inline(always)]
    fn pack(self) -> u64 {
        u64::from(self.judged.denied)
            | u64::from(self.judged.rule) << 16
            | u64::from(self.volume) << 32
            | u64::from(self.depth) << 48
            | u64::from(self.end) << 56
            | u64::from(self.judged.leads) << 60
    }

    #[inline(always)]
    fn unpack(word: u64) -> Self {
        let judged = Judged { denied: word as u16, rule: (word >> 16) as u16, leads: (word >> 60) as u32 & 1 };
        Self { judged, end: (word >> 56 & 0xf) as u8, volume: (word >> 32) as u16, depth: (word >> 48) as u8 }
    }

    #[inline(always)]
    fn ended(end: u8) -> u64 {
        Self { judged: Judged::NOTHING, end, volume: 0, depth: 0 }.pack()
    }
}

#[inline(always)]
fn find(subject: &Subject, dentry: Dentry, asked: u16) -> Found {
    if matches!(subject.standing, Standing::Stale) {
        return Found::unpack(Found::ended(UNNAMED));
    }
    let list = state::allowlist(subject.state);
    let label = pack(subject);
    let place = u64::from(subject.root_dev) << 32 | u64::from(list);
    Found::unpack(search(dentry, place, label, asked))
}

/// A walk up from a name.
struct Walk {
    lookup: Lookup,
    here: Dentry,
    label: u64,
    /// Once `here` is where a volume begins, the components below that, plus one; from then on the walk goes on with its mount
    /// point. Not a pointer to the volume: what verifiers before Linux 6.7 know of one before a loop, they believe of it in every
    /// round.
    mounted: u64,
    /// That volume's number.
    number: u16,
    filesystem: Filesystem,
    foreign: bool,
    end: u8,
}

/// Walks up from a name and looks up its rules. A function of its own, for the stack it needs.
#[inline(never)]
fn search(dentry: Dentry, place: u64, label: u64, asked: u16) -> u64 {
    let mut found = walk_up(dentry, place, label, asked);
    forget(&mut found);
    found
}

#[inline(always)]
fn walk_up(dentry: Dentry, place: u64, label: u64, asked: u16) -> u64 {
    let (list, root_dev) = (place as u32, (place >> 32) as u32);
    let Some(key) = PATH_KEY.get(0) else { return Found::ended(UNREADABLE) };
    let filesystem = dentry.filesystem();
    let mut walk = Walk {
        lookup: Lookup::new(key, list, asked),
        here: dentry,
        label,
        mounted: 0,
        number: 0,
        filesystem,
        foreign: filesystem.dev != root_dev,
        end: TOO_DEEP,
    };
    forget(&mut walk.mounted);
    let context = (&raw mut walk).cast();
    // SAFETY: the callback has the shape that the helper wants, and the context outlives the call.
    unsafe { bpf_loop(MAX_DEPTH as u32, climb as *mut _, context, 0) };
    if walk.end != NAMED {
        return Found::ended(walk.end);
    }
    let Some(judged) = walk.lookup.judge() else { return Found::ended(UNREADABLE) };
    let depth = if walk.mounted == 0 { walk.lookup.depth } else { walk.mounted.wrapping_sub(1) };
    Found { judged, end: NAMED, volume: walk.number, depth: depth as u8 }.pack()
}

/// One step up, from a name that `depth` components were found below; 1 ends the walk.
extern "C" fn climb(depth: u64, walk: *mut Walk) -> u64 {
    // SAFETY: the context that `search` hands over.
    let walk = unsafe { &mut *walk };
    let depth = depth & 0xffff_ffff;
    walk.lookup.depth = depth;
    let volume = if walk.foreign { walk.volume() } else { None };
    let component = match volume {
        Some(volume) => above(walk, volume, depth),
        None => below(walk),
    };
    let index = opaque(depth) as usize;
    if component == 0 || index >= MAX_DEPTH {
        return 1;
    }
    // SAFETY: checked just now.
    unsafe { *walk.lookup.components.get_unchecked_mut(index) = component };
    0
}

/// The next component of a name; 0 at its end, which is then known.
#[inline(always)]
fn below(walk: &mut Walk) -> u64 {
    let here = walk.here;
    let parent = here.parent();
    if parent.is(here) {
        walk.end = end_at(here, walk.foreign, walk.filesystem);
        return 0;
    }
    walk.here = parent;
    // SAFETY: an entry of an array, which stays.
    let component = here.component(unsafe { &*walk.lookup.key });
    if component == 0 {
        walk.end = UNREADABLE;
    }
    component
}

/// The next component of the mount point; 0 at its end.
#[inline(always)]
fn above(walk: &mut Walk, volume: &Volume, depth: u64) -> u64 {
    if walk.mounted == 0 {
        walk.mounted = depth.wrapping_add(1);
        walk.number = volume.number as u16;
    }
    let index = opaque(depth.wrapping_add(1).wrapping_sub(walk.mounted));
    if index >= u64::from(volume.depth) || index >= MAX_MOUNT_DEPTH as u64 {
        walk.end = NAMED;
        return 0;
    }
    // SAFETY: checked just now.
    unsafe { *volume.components.get_unchecked(index as usize) }
}

/// What a root without a volume means.
#[inline(always)]
fn end_at(root: Dentry, foreign: bool, filesystem: Filesystem) -> u8 {
    match (root.is_disconnected(), foreign, filesystem.overlay) {
        (true, ..) => UNREADABLE,
        (false, false, _) => NAMED,
        (false, true, true) => OVERLAID,
        (false, true, false) => UNNAMED,
    }
}

impl Walk {
    /// The volume that begins here.
    #[inline(always)]
    fn volume(&self) -> Option<&'static Volume> {
        let (dev, ino) = (self.filesystem.dev, self.here.ino());
        let (slot, incarnation) = (self.label as u32, (self.label >> 32) as u32);
        let filter = VOLUME_FILTERS.get_ptr(slot)?;
        let (word, hash) = VolumeKey::in_filter(dev, ino);
        // SAFETY: an entry of an array, which stays.
        let filter = unsafe { &*filter };
        // SAFETY: masked to the number of words.
        if unsafe { *filter.words.get_unchecked(word) } & FileFilter::bit(hash) == 0 {
            return None;
        }
        let volume = VOLUMES.get_ptr(VolumeKey { ino, dev, slot, incarnation, reserved: 0 })?;
        // SAFETY: an entry of the map; the enforcer removes it only once the workload is gone.
        Some(unsafe { &*volume })
    }
}

/// Answers, and reports what is denied.
#[inline(always)]
fn conclude(subject: &Subject, name: Dentry, found: &Found, denied: bool, hook: Hook) -> i32 {
    let reason = match found.end {
        _ if matches!(subject.standing, Standing::Stale) => {
            count(Stat::StaleLabel);
            Reason::StaleLabel
        }
        UNREADABLE => Reason::Unreadable,
        TOO_DEEP => Reason::TooDeep,
        OVERLAID => Reason::Foreign,
        _ if denied => Reason::FileRule,
        _ => return 0,
    };
    let verdict = if matches!(reason, Reason::StaleLabel) { Verdict::Deny } else { deviation(subject.state) };
    let codes = hook as u64 | (reason as u64) << 8 | (verdict as u64) << 16;
    report(name, found.pack(), pack(subject), subject.state, codes) as i32
}

/// Slot and incarnation in one word.
#[inline(always)]
fn pack(subject: &Subject) -> u64 {
    u64::from(subject.label.slot) | u64::from(subject.label.incarnation) << 32
}

/// Counts and reports. A function of its own, as the search is, since both need most of a stack.
#[inline(never)]
fn report(name: Dentry, found: u64, label: u64, state: u64, codes: u64) -> i64 {
    let found = Found::unpack(found);
    let (Ok(hook), Ok(reason), Ok(verdict)) = (
        Hook::try_from(codes as u32 & 0xff),
        Reason::try_from((codes >> 8) as u32 & 0xff),
        Verdict::try_from((codes >> 16) as u32 & 0xff),
    ) else {
        return -1;
    };
    let decision = Decision { verdict, reason, rule: u32::from(found.judged.rule) };
    let label = Label { slot: label as u32, incarnation: (label >> 32) as u32 };
    let subject = Subject { label, state, root_dev: 0, standing: Standing::Member };
    let (operand, depth) = match found.end {
        NAMED => (u64::from(found.volume), u32::from(found.depth) + 1),
        _ => (u64::MAX, 2),
    };
    let report = Report { operand, name, depth, ..Report::new(&subject, decision, hook) };
    i64::from(emit::conclude(&report, Stat::FileDenied, Stat::FileAudited))
}
