//! From an attempt to the evaluator's question, and from its answer to what a person reads.

use std::collections::HashMap;

use plimsoll_abi::{Hook, Operation, Reason, Verdict, access, operation};
use plimsoll_sbom::{InodeKey, Inventory};

use super::{Answer, Attempt, Origin, Undecided, network};
use crate::{
    compile::CompiledPolicy,
    evaluate::{Access, FileObject, evaluate},
    evaluate_files::{FileAccess, FilePath, ScriptAccess, deciding_rule, evaluate_file, evaluate_script},
    hardening::Capabilities,
    policy::{AnonymousExec, Mode, Scripts},
};

/// Ends of names that code has; `agent-ebpf` compares with the same.
const CODE_ENDS: [&str; 17] = [
    ".py", ".pyc", ".sh", ".bash", ".pl", ".pm", ".rb", ".js", ".mjs", ".cjs", ".php", ".phar", ".lua", ".tcl", ".awk",
    ".jar", ".class",
];

/// The files of an image by their paths.
#[derive(Debug)]
pub struct Image<'i> {
    files: HashMap<&'i str, (InodeKey, bool)>,
}

impl<'i> Image<'i> {
    /// Indexes an inventory.
    pub fn new(inventory: &'i Inventory) -> Self {
        let entry = |file: &'i plimsoll_sbom::InventoryFile| (&*file.path, (file.inode, file.mode & 0o111 != 0));
        Self { files: inventory.files.iter().map(entry).collect() }
    }
}

/// What `policy`, compiled for `image`, says to `attempt`.
///
/// Asks the reference evaluator. What the policy has no part in, such as tampering, is denied whatever its mode.
pub fn judge(policy: &CompiledPolicy, image: &Image<'_>, attempt: &Attempt<'_>) -> Result<Answer, Undecided> {
    if let Some(reason @ (Reason::Tampering | Reason::StaleLabel | Reason::Unlabelled)) = attempt.reason {
        return Ok(Answer { verdict: Verdict::Deny, reason, rule: "whatever the policy says".to_owned() });
    }
    match attempt.hook.ok_or(Undecided::Hook)? {
        hook @ (Hook::Exec | Hook::Map | Hook::Protect) => code(policy, image, attempt, hook),
        Hook::Script => script(policy, image, attempt),
        Hook::Inject => Ok(plain(policy, &Access::Inject, "`hardening.ptrace`")),
        Hook::Operation => {
            let known = Operation::ALL.iter().find(|known| known.name() == attempt.operation);
            let known = *known.ok_or(Undecided::Operation)?;
            Ok(plain(policy, &Access::Operation(known), &format!("`hardening` on {}", known.name())))
        }
        Hook::Capability => {
            let known = Capabilities::NAMES.iter().zip(0..).find(|(name, _)| **name == attempt.operation);
            let (name, number) = known.ok_or(Undecided::Operation)?;
            Ok(plain(policy, &Access::Capability(number), &format!("`hardening.capabilities` on {name}")))
        }
        Hook::Tamper => {
            let rule = "whatever the policy says".to_owned();
            Ok(Answer { verdict: Verdict::Deny, reason: Reason::Tampering, rule })
        }
        hook @ (Hook::Connect | Hook::Send | Hook::Bind | Hook::Listen | Hook::Accept | Hook::Socket) => {
            network::judge(policy, attempt, hook)
        }
        hook => files(policy, attempt, hook),
    }
}

fn plain(policy: &CompiledPolicy, access: &Access, rule: &str) -> Answer {
    let (verdict, reason) = evaluate(policy, access);
    Answer { verdict, reason, rule: rule.to_owned() }
}

/// The file as the kernel sees it; `None` is memory without one.
fn object(image: &Image<'_>, attempt: &Attempt<'_>) -> Result<Option<FileObject>, Undecided> {
    match (attempt.origin, attempt.reason) {
        (_, Some(Reason::AnonymousExec)) => Ok(None),
        (_, Some(Reason::Unreadable)) => Ok(Some(FileObject::Unreadable)),
        (Origin::CopiedUp | Origin::Dropped, _) => Ok(Some(FileObject::Written)),
        (Origin::Foreign, _) => Ok(Some(FileObject::Foreign)),
        (Origin::ImageFile, _) => {
            let (inode, _) = image.files.get(attempt.path).ok_or(Undecided::Evidence)?;
            Ok(Some(FileObject::Lower(*inode)))
        }
        (Origin::Unspecified, _) if attempt.path.is_empty() => Ok(None),
        (Origin::Unspecified, _) => Err(Undecided::Origin),
    }
}

fn code(policy: &CompiledPolicy, image: &Image<'_>, attempt: &Attempt<'_>, hook: Hook) -> Result<Answer, Undecided> {
    let file = object(image, attempt)?;
    let modified = attempt.modified || attempt.reason == Some(Reason::ModifiedCode);
    let access = match (hook, file) {
        (Hook::Exec, Some(file)) => Access::Exec(file),
        (Hook::Exec, None) => return Err(Undecided::Origin),
        (Hook::Map, file) => Access::Map { file, private_writable: modified },
        (_, file) => Access::Protect { file, modified },
    };
    let (verdict, reason) = evaluate(policy, &access);
    let rule = match (reason, file) {
        (Reason::Listed | Reason::NotListed, Some(FileObject::Lower(inode))) => standing(policy, inode),
        (Reason::AnonymousExec | Reason::ModifiedCode | Reason::Listed, _) => anonymous(policy),
        _ => "no policy allows it".to_owned(),
    };
    Ok(Answer { verdict, reason, rule })
}

/// What lists a file, or what keeps it off the allowlist.
fn standing(policy: &CompiledPolicy, inode: InodeKey) -> String {
    let listed = policy.entry(inode).and_then(|entry| policy.rules.get(usize::try_from(entry.rule).ok()?));
    if let Some(rule) = listed {
        return rule.to_string();
    }
    let refused = policy.refused.iter().find(|refused| refused.inode == inode);
    refused.map(|refused| refused.why.to_string()).unwrap_or_default()
}

fn anonymous(policy: &CompiledPolicy) -> String {
    match (&policy.anonymous_exec_for, policy.anonymous_exec) {
        (Some(package), _) => format!("`anonymousExec`, allowed for package {package}"),
        (None, AnonymousExec::Allow) => "`anonymousExec: Allow`".to_owned(),
        (None, _) => "`anonymousExec`, denied".to_owned(),
    }
}

fn script(policy: &CompiledPolicy, image: &Image<'_>, attempt: &Attempt<'_>) -> Result<Answer, Undecided> {
    let rule = match policy.scripts {
        Scripts::Any => "`scripts: Any`".to_owned(),
        Scripts::Image => "`scripts: Image`".to_owned(),
    };
    let allowed = Answer { verdict: Verdict::Allow, reason: Reason::Listed, rule: rule.clone() };
    let Some(program) = program(policy, attempt.comm).filter(|_| policy.scripts == Scripts::Image) else {
        return Ok(allowed);
    };
    let file = object(image, attempt)?.ok_or(Undecided::Origin)?;
    let known = image.files.get(attempt.path).filter(|_| attempt.origin == Origin::ImageFile);
    let access = ScriptAccess {
        program,
        file,
        named_as_code: CODE_ENDS.iter().any(|end| attempt.path.ends_with(end)),
        // A file that was reported and has no such name was reported for its x-bit.
        executable: known.is_some_and(|(_, executable)| *executable) || attempt.reason == Some(Reason::UnlistedScript),
    };
    let (verdict, reason) = evaluate_script(policy, &access);
    Ok(Answer { verdict, reason, rule })
}

/// The program that has a task's name, or, where a link or the task itself gave another one, an interpreter.
fn program(policy: &CompiledPolicy, comm: &str) -> Option<InodeKey> {
    let named = policy.entries.iter().find(|entry| entry.path.rsplit('/').next() == Some(comm));
    let interpreter = || policy.entries.iter().find(|entry| entry.access & access::INTERPRETER != 0);
    named.or_else(interpreter).map(|entry| entry.inode)
}

fn files(policy: &CompiledPolicy, attempt: &Attempt<'_>, hook: Hook) -> Result<Answer, Undecided> {
    if policy.files.is_empty() {
        return Ok(Answer { verdict: Verdict::Allow, reason: Reason::Listed, rule: "no file rules".to_owned() });
    }
    if attempt.reason == Some(Reason::TooDeep) {
        let verdict = if policy.mode == Mode::Enforce { Verdict::Deny } else { Verdict::Audit };
        return Ok(Answer { verdict, reason: Reason::TooDeep, rule: "no policy allows it".to_owned() });
    }
    let old = match attempt.reason {
        Some(Reason::Foreign) => FilePath::Overlaid,
        Some(Reason::Unreadable) => FilePath::Unreadable,
        _ if attempt.name_only || attempt.path.is_empty() => return Err(Undecided::Path),
        _ => FilePath::Named(attempt.path.to_owned()),
    };
    let other = || match attempt.new_path {
        "" => Err(Undecided::OtherName),
        path => Ok(FilePath::Named(path.to_owned())),
    };
    let (access, asked) = match hook {
        Hook::Read => (FileAccess::One(old, operation::READ), operation::READ),
        Hook::Write => (FileAccess::One(old, operation::WRITE), operation::WRITE),
        Hook::Create => (FileAccess::One(old, operation::CREATE), operation::CREATE),
        Hook::Remove => (FileAccess::One(old, operation::REMOVE), operation::REMOVE),
        Hook::Attribute => (FileAccess::One(old, operation::ATTRIBUTE), operation::ATTRIBUTE),
        Hook::Link => (FileAccess::Link { old, new: other()? }, operation::LINK),
        Hook::Rename => {
            (FileAccess::Rename { old, new: other()?, replaces: false, exchanges: false }, operation::RENAME)
        }
        _ => return Err(Undecided::Hook),
    };
    let (verdict, reason) = evaluate_file(policy, &access);
    let deciding = deciding_rule(&policy.files, attempt.path, asked).map(ToString::to_string);
    let rule = match (deciding, reason) {
        (Some(rule), _) => rule,
        (None, Reason::Listed) => "no file rule denies it".to_owned(),
        (None, _) => "a file rule that would not hold under the other name".to_owned(),
    };
    Ok(Answer { verdict, reason, rule })
}
