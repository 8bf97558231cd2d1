//! An allowlist and everything a person may want to know about it.

use std::fmt;

use plimsoll_abi::{AllowKey, AllowValue, PathKey, state};
use plimsoll_sbom::{EvidenceClass, InodeKey, MismatchSource, Sha256};
use serde::{Serialize, Serializer};

use super::files::KernelFiles;
use crate::{
    diagnostic::Place,
    evaluate_files,
    hardening::Hardening,
    network::Network,
    policy::{AnonymousExec, Authority, FileRule, Mode, PathPattern, Scripts},
};

/// A policy applied to one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CompiledPolicy {
    /// The policy's name.
    pub name: String,
    /// Who stands behind it.
    pub authority: Authority,
    /// Digest of the policy's text.
    pub generation: Sha256,
    /// What happens to a deviation.
    pub mode: Mode,
    /// Whether memory without a file may become code: `Allow` or `Deny`.
    pub anonymous_exec: AnonymousExec,
    /// The package for whose sake it may, where the policy leaves that to the image.
    pub anonymous_exec_for: Option<String>,
    /// What it may do beside running code.
    pub hardening: Hardening,
    /// What may run, one entry for each inode, in the order of the inodes.
    pub entries: Vec<Entry>,
    /// Exec-capable files of the image that may not run, in the order of the inventory.
    pub refused: Vec<Refused>,
    /// What put entries there; [`Entry::rule`] is an index into it.
    pub rules: Vec<Rule>,
    /// What is probably not meant.
    pub warnings: Vec<Warning>,
    /// What the workload may do with the network; `None` is anything.
    pub network: Option<Network>,
    /// What may be done with which files.
    pub files: Vec<FileRule>,
    /// Which code interpreters may open.
    pub scripts: Scripts,
}

/// One file that may run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The file, as the kernel names it.
    pub inode: InodeKey,
    /// Bits of [`plimsoll_abi::access`].
    pub access: u32,
    /// Index into [`CompiledPolicy::rules`].
    pub rule: u32,
    /// The file's path in the image; of several, the one with the strongest evidence, then the first.
    pub path: String,
    /// Why it may run.
    pub evidence: Evidence,
}

/// Why an entry is on the allowlist, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Evidence {
    /// The policy adds it.
    Policy,
    /// The SBOM or the image stands behind it.
    Image(EvidenceClass),
}

/// What puts entries on the allowlist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Files with exactly this evidence.
    Evidence(EvidenceClass),
    /// An entry of the policy's `allow`.
    Addition {
        /// Which files.
        path: PathPattern,
        /// The only content allowed.
        sha256: Option<Sha256>,
        /// Why, in the policy's words.
        reason: String,
        /// Where it stands.
        place: Place,
    },
}

/// An exec-capable file that may not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Its path in the image.
    pub path: String,
    /// The file, as the kernel names it.
    pub inode: InodeKey,
    /// What keeps it from running.
    pub why: WhyRefused,
}

/// What keeps a file from running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum WhyRefused {
    /// Its evidence is weaker than the policy accepts.
    WeakEvidence {
        /// What it has.
        evidence: EvidenceClass,
        /// What the policy asks for.
        required: EvidenceClass,
    },
    /// Its content is not what is declared.
    Mismatch {
        /// The digest declared, as `algorithm:hex`.
        expected: String,
        /// Who declared it.
        by: MismatchSource,
    },
    /// Another name of the same file is declared with other content, and nothing vouches for this content.
    LinkedToMismatch,
}

/// Something about a compiled policy that is probably not meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "warning", rename_all = "kebab-case")]
pub enum Warning {
    /// The allowlist is empty.
    NothingAllowed,
    /// An addition has no exec-capable file in the image.
    NoSuchFile {
        /// The addition's path.
        path: String,
        /// Where it stands.
        place: Place,
        /// A file of the same name elsewhere in the image.
        similar: Option<String>,
    },
    /// An addition's file has other content than the addition pins, or contradicts the SBOM and is not pinned.
    NotPinned {
        /// The file.
        path: String,
        /// Where the addition stands.
        place: Place,
        /// The content in the image.
        found: Sha256,
    },
}

impl CompiledPolicy {
    /// The allowlist's entry for `inode`.
    pub fn entry(&self, inode: InodeKey) -> Option<&Entry> {
        let index = self.entries.binary_search_by_key(&inode, |entry| entry.inode).ok()?;
        self.entries.get(index)
    }

    /// Whether `inode` is on the allowlist with every bit of `needed`.
    pub fn permits(&self, inode: InodeKey, needed: u32) -> bool {
        self.entry(inode).is_some_and(|entry| entry.access & needed == needed)
    }

    /// The `state` of a workload under this policy, once its entries stand in the kernel as `allowlist`.
    pub fn state(&self, allowlist: u32) -> u64 {
        let enforce = if self.mode == Mode::Enforce { state::ENFORCE } else { 0 };
        let anonymous = if self.anonymous_exec == AnonymousExec::Allow { state::ALLOW_ANONYMOUS_EXEC } else { 0 };
        let network = self
            .network
            .as_ref()
            .map_or(0, |network| state::NETWORK_RULES | if network.names.is_empty() { 0 } else { state::NAME_RULES });
        let files = if self.files.is_empty() { 0 } else { state::FILE_RULES };
        let scripts = if self.scripts == Scripts::Image { state::SCRIPTS } else { 0 };
        let rules = network | files | scripts | self.hardening.state();
        state::ACTIVE | enforce | anonymous | rules | u64::from(allowlist)
    }

    /// Whether all file rules say the same of two directories and all below them.
    pub fn rules_are_alike(&self, first: &str, second: &str) -> bool {
        first == second || evaluate_files::are_alike(&self.files, first, second)
    }

    /// The file rules as the kernel holds them under `list`; paths are hashed with `key`.
    pub fn kernel_files(&self, list: u32, key: &PathKey) -> KernelFiles {
        KernelFiles::new(&self.files, list, key)
    }
}

impl Entry {
    /// The entry as the kernel holds it under `allowlist`.
    pub fn kernel(&self, allowlist: u32) -> (AllowKey, AllowValue) {
        let key = AllowKey { allowlist, dev: self.inode.dev, ino: self.inode.ino };
        (key, AllowValue { access: self.access, rule: self.rule })
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy => f.pad("policy"),
            Self::Image(class) => class.fmt(f),
        }
    }
}

impl Serialize for Evidence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evidence(class) => write!(f, "evidence {class}"),
            Self::Addition { path, reason, .. } => write!(f, "addition `{path}`: {reason}"),
        }
    }
}

impl fmt::Display for WhyRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WeakEvidence { evidence, required } => {
                write!(f, "its evidence is {evidence}, the policy accepts {required} or stronger")
            }
            Self::Mismatch { expected, by } => write!(f, "its content is not the {by}'s {expected}"),
            Self::LinkedToMismatch => f.write_str("another name of the same file is declared with other content"),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingAllowed => f.write_str("the policy allows no file of this image; enforced, nothing runs"),
            Self::NoSuchFile { path, place, similar } => {
                write!(f, "{place}: the image has no executable file at `{path}`")?;
                match similar {
                    Some(similar) => write!(f, "; did you mean `{similar}`?"),
                    None => f.write_str("; name the file itself, not a link to it"),
                }
            }
            Self::NotPinned { path, place, found } => {
                write!(f, "{place}: `{path}` stays refused; if its content is right, set `sha256: \"{found}\"`")
            }
        }
    }
}
