//! The reference evaluator: what the kernel must answer, in a form that needs no kernel.

use plimsoll_abi::{Operation, Reason, Verdict, access};
use plimsoll_sbom::InodeKey;

use crate::{
    compile::CompiledPolicy,
    policy::{AnonymousExec, Mode},
};

/// A file as the kernel sees it at the moment of the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileObject {
    /// Untouched content of the image's layers, by its real inode.
    Lower(InodeKey),
    /// Written since the container started: new, or a changed copy of an image file.
    Written,
    /// Outside the workload's root file system.
    Foreign,
    /// A kernel structure could not be read.
    Unreadable,
}

/// What a task asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// `execve` of a file, or of the interpreter it names.
    Exec(FileObject),
    /// `mmap` with `PROT_EXEC`; `None` is anonymous memory.
    Map {
        /// What is mapped.
        file: Option<FileObject>,
        /// `MAP_PRIVATE` together with `PROT_WRITE`: the pages can differ from the file and run.
        private_writable: bool,
    },
    /// `mprotect` to `PROT_EXEC` of memory that is not executable yet, or that is to be writable as well;
    /// `None` is anonymous memory.
    Protect {
        /// What is mapped.
        file: Option<FileObject>,
        /// `PROT_WRITE` is asked for, or the mapping has pages of its own already.
        modified: bool,
    },
    /// Tracing a process, or writing to memory through a file.
    Inject,
    /// An operation that hardening may forbid.
    Operation(Operation),
    /// The use of a capability that the task has, by its number.
    Capability(u32),
}

/// Decides as the kernel does for a task of a workload under `policy`.
pub fn evaluate(policy: &CompiledPolicy, access: &Access) -> (Verdict, Reason) {
    let reason = judge(policy, access);
    let verdict = match (reason, policy.mode) {
        (Reason::Listed, _) => Verdict::Allow,
        (_, Mode::Enforce) => Verdict::Deny,
        (_, Mode::Monitor) => Verdict::Audit,
    };
    (verdict, reason)
}

fn judge(policy: &CompiledPolicy, access: &Access) -> Reason {
    let anonymous_allowed = policy.anonymous_exec == AnonymousExec::Allow;
    let (file, modified, needed) = match *access {
        Access::Exec(file) => (Some(file), false, access::EXEC),
        Access::Map { file, private_writable } => (file, private_writable, access::MAP),
        Access::Protect { file, modified } => (file, modified, access::MAP),
        Access::Inject => return policy.hardening.judge_injection(),
        Access::Operation(operation) => return policy.hardening.judge(operation),
        Access::Capability(capability) => return policy.hardening.judge_capability(capability),
    };
    match file {
        None if anonymous_allowed => Reason::Listed,
        None => Reason::AnonymousExec,
        // Before the file itself: even a listed file's pages are unknown code once they can be written.
        Some(_) if modified && !anonymous_allowed => Reason::ModifiedCode,
        Some(FileObject::Lower(inode)) if policy.permits(inode, needed) => Reason::Listed,
        Some(FileObject::Lower(_)) => Reason::NotListed,
        Some(FileObject::Written) => Reason::Written,
        Some(FileObject::Foreign) => Reason::Foreign,
        Some(FileObject::Unreadable) => Reason::Unreadable,
    }
}
