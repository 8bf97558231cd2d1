//! The reference evaluator's part for file rules: by the text of paths, where the kernel compares hashes.

use plimsoll_abi::{MAX_DEPTH, Reason, Verdict, access, operation};
use plimsoll_sbom::InodeKey;

use crate::{
    compile::CompiledPolicy,
    evaluate::FileObject,
    policy::{FileRule, Mode, PathPattern},
};

/// What the kernel finds out of a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FilePath {
    /// The path from the container's root, volumes included, without links and without `.` and `..`.
    Named(String),
    /// On a filesystem that the runtime did not mount.
    Unnamed,
    /// On an overlay that the container mounted itself.
    Overlaid,
    /// It could not be found out.
    Unreadable,
}

/// One operation on files.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FileAccess {
    /// One name; bits of [`plimsoll_abi::operation`], all of which must be allowed.
    One(FilePath, u16),
    /// A second name, `new`, for `old`.
    Link { old: FilePath, new: FilePath },
    /// A change of name, which replaces what has the name `new`, or exchanges both.
    Rename { old: FilePath, new: FilePath, replaces: bool, exchanges: bool },
}

/// Decides as the kernel does for a task of a workload under `policy`.
pub fn evaluate_file(policy: &CompiledPolicy, access: &FileAccess) -> (Verdict, Reason) {
    let verdict = match policy.mode {
        Mode::Enforce => Verdict::Deny,
        Mode::Monitor => Verdict::Audit,
    };
    match judge(&policy.files, access) {
        Some(reason) => (verdict, reason),
        None => (Verdict::Allow, Reason::Listed),
    }
}

/// A file opened for reading by a program of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ScriptAccess {
    /// The program.
    pub program: InodeKey,
    /// The file.
    pub file: FileObject,
    /// Its name ends as code's names do.
    pub named_as_code: bool,
    /// It has an x-bit.
    pub executable: bool,
}

/// Decides as the kernel does under a policy with `scripts: Image`.
pub fn evaluate_script(policy: &CompiledPolicy, access: &ScriptAccess) -> (Verdict, Reason) {
    let unlisted = policy.permits(access.program, access::INTERPRETER)
        && match access.file {
            FileObject::Lower(inode) => access.executable && policy.entry(inode).is_none(),
            FileObject::Unreadable => true,
            FileObject::Written | FileObject::Foreign => access.named_as_code || access.executable,
        };
    match (unlisted, policy.mode) {
        (false, _) => (Verdict::Allow, Reason::Listed),
        (true, Mode::Enforce) => (Verdict::Deny, Reason::UnlistedScript),
        (true, Mode::Monitor) => (Verdict::Audit, Reason::UnlistedScript),
    }
}

/// Why it is denied; `None` if it is not.
fn judge(rules: &[FileRule], access: &FileAccess) -> Option<Reason> {
    match access {
        FileAccess::One(path, asked) => {
            let denied = denied(rules, path);
            denied.map_or_else(Some, |denied| rule_if(denied & asked != 0))
        }
        FileAccess::Link { old, new } => two(rules, old, new, operation::LINK, operation::CREATE, false),
        FileAccess::Rename { old, new, replaces, exchanges } => {
            let asked = match (exchanges, replaces) {
                (true, _) => operation::RENAME,
                (false, true) => operation::CREATE | operation::REMOVE,
                (false, false) => operation::CREATE,
            };
            two(rules, old, new, operation::RENAME, asked, *exchanges)
        }
    }
}

fn two(
    rules: &[FileRule],
    old: &FilePath,
    new: &FilePath,
    asked_old: u16,
    asked_new: u16,
    exchanges: bool,
) -> Option<Reason> {
    // The new name's fault is told first.
    let to = match denied(rules, new) {
        Ok(to) => to,
        Err(reason) => return Some(reason),
    };
    if to & asked_new != 0 {
        // A rule's word, but the old name's trouble does not turn it into something else.
        return Some(Reason::FileRule);
    }
    let from = match denied(rules, old) {
        Ok(from) => from,
        Err(reason) => return Some(reason),
    };
    let leads = leads(rules, old) || leads(rules, new);
    let gains = from & !to != 0 || (exchanges && to & !from != 0);
    rule_if(from & asked_old != 0 || leads || gains)
}

fn rule_if(denied: bool) -> Option<Reason> {
    denied.then_some(Reason::FileRule)
}

/// Whether rules say the same of two directories: none names something in one of them, and those above deny the same.
pub(crate) fn are_alike(rules: &[FileRule], first: &str, second: &str) -> bool {
    let inside = |rule: &FileRule| {
        let (PathPattern::Exact(named) | PathPattern::Below(named)) = &rule.path;
        starts_with(named, first) || starts_with(named, second)
    };
    let denied = |path: &str| denied(rules, &FilePath::Named(path.to_owned()));
    !rules.iter().any(inside) && denied(first) == denied(second)
}

/// The rule that decides about one of `asked` at a path; of several, one that denies.
pub(crate) fn deciding_rule<'r>(rules: &'r [FileRule], path: &str, asked: u16) -> Option<&'r FileRule> {
    let deciding = |bit: u16| {
        let matching = rules.iter().filter(|rule| names(&rule.path, path) && (rule.deny | rule.allow) & bit != 0);
        matching.max_by_key(|rule| length(&rule.path))
    };
    let bits = (0..u16::BITS).map(|shift| 1_u16 << shift).filter(|bit| asked & bit != 0);
    let found: Vec<_> = bits.filter_map(deciding).collect();
    found.iter().find(|rule| rule.deny & asked != 0).or(found.first()).copied()
}

/// What is denied at a path: of the rules that name it and decide an operation, the one that names most of it.
fn denied(rules: &[FileRule], path: &FilePath) -> Result<u16, Reason> {
    let path = match path {
        FilePath::Named(path) => path,
        FilePath::Unnamed => return Ok(0),
        FilePath::Overlaid => return Err(Reason::Foreign),
        FilePath::Unreadable => return Err(Reason::Unreadable),
    };
    if parts(path).count() >= MAX_DEPTH {
        return Err(Reason::TooDeep);
    }
    let matching = || rules.iter().filter(|rule| names(&rule.path, path));
    let denies = |bit: u16| {
        let deciding = matching().filter(|rule| (rule.deny | rule.allow) & bit != 0);
        deciding.max_by_key(|rule| length(&rule.path)).is_some_and(|rule| rule.deny & bit != 0)
    };
    let bits = (0..u16::BITS).map(|shift| 1_u16 << shift).filter(|bit| operation::ALL & bit != 0);
    Ok(bits.filter(|bit| denies(*bit)).sum())
}

/// Whether a rule names something below `path`.
fn leads(rules: &[FileRule], path: &FilePath) -> bool {
    let FilePath::Named(path) = path else { return false };
    let below = |rule: &FileRule| {
        let (PathPattern::Exact(named) | PathPattern::Below(named)) = &rule.path;
        parts(named).count() > parts(path).count() && starts_with(named, path)
    };
    rules.iter().any(below)
}

fn names(pattern: &PathPattern, path: &str) -> bool {
    match pattern {
        PathPattern::Exact(exact) => parts(exact).eq(parts(path)),
        PathPattern::Below(directory) => starts_with(path, directory),
    }
}

/// How much a rule names: more components, then the path alone before all below it.
fn length(pattern: &PathPattern) -> (usize, bool) {
    match pattern {
        PathPattern::Exact(path) => (parts(path).count(), true),
        PathPattern::Below(path) => (parts(path).count(), false),
    }
}

fn starts_with(path: &str, directory: &str) -> bool {
    let mut parts_of_path = parts(path);
    parts(directory).all(|part| parts_of_path.next() == Some(part))
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}
