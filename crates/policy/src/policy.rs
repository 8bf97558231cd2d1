//! What a policy document says, once it is known to be right.

use std::{collections::BTreeMap, fmt};

use plimsoll_abi::operation;
use plimsoll_sbom::{EvidenceClass, Sha256};
use serde::{Serialize, Serializer};

use crate::{diagnostic::Place, hardening::Hardening, network::Network, reference::ReferencePattern};

/// One enforcement policy. Only [`crate::parse`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// Its name, unique among those of its authority; `namespace/name` for a namespace's own.
    pub name: String,
    /// Who stands behind it.
    pub authority: Authority,
    /// Where its name stands.
    pub place: Place,
    /// Digest of the document's text; changes with every edit.
    pub generation: Sha256,
    /// The workloads it is for.
    pub selector: Selector,
    /// What happens to a deviation.
    pub mode: Mode,
    /// The weakest evidence that puts a file on the allowlist.
    pub evidence: EvidenceClass,
    /// Whether memory without a file may become code.
    pub anonymous_exec: AnonymousExec,
    /// Files allowed whatever their evidence.
    pub allow: Vec<Addition>,
    /// What it may do with the network; `None` is anything.
    pub network: Option<Network>,
    /// What it may do beside running code.
    pub hardening: Hardening,
    /// What may be done with which files.
    pub files: Vec<FileRule>,
    /// Which code interpreters may open.
    pub scripts: Scripts,
    /// Who must have signed the image's SBOM.
    pub sbom: SbomTrust,
}

/// Who stands behind a policy. Those who come first here go before the others, however specific these are: nobody can take
/// back what somebody said whom they do not stand above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authority {
    /// A signed bundle.
    Bundle,
    /// The cluster: a `ClusterEnforcementPolicy`.
    Cluster,
    /// The node: an `EnforcementPolicy` of no namespace, in its directory.
    Directory,
    /// A namespace, for its own workloads alone: an `EnforcementPolicy` with one.
    Namespace,
}

impl Authority {
    /// The word that events and reports have for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bundle => "bundle",
            Self::Cluster => "cluster",
            Self::Directory => "directory",
            Self::Namespace => "namespace",
        }
    }
}

/// Who must have signed an image's SBOM, and what one is worth that nobody of these signed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SbomTrust {
    /// Any of these; nobody is asked for if there is none.
    pub signed_by: Vec<SignedBy>,
    /// What is done without such a signature.
    pub unsigned: Unsigned,
}

impl Default for SbomTrust {
    fn default() -> Self {
        Self { signed_by: Vec::new(), unsigned: Unsigned::AtMost(EvidenceClass::SbomDigest) }
    }
}

/// Somebody whose signature counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SignedBy {
    /// The key of this name in the node's directory of keys.
    Key(String),
    /// A certificate for this identity; a `*` at its end stands for anything.
    Identity {
        /// E-mail address or URI.
        identity: String,
        /// Who vouches for it.
        issuer: String,
    },
}

/// What an SBOM is worth without an accepted signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unsigned {
    /// Nothing: the container does not start.
    Refuse,
    /// Its evidence counts as this class at most.
    AtMost(EvidenceClass),
}

/// The workloads a policy is for: every part that is given must match, and at least one is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Selector {
    /// The image's manifest digest.
    pub image_digest: Option<Sha256>,
    /// Pattern of the image's reference.
    pub image_reference: Option<ReferencePattern>,
    /// Labels that the workload must have.
    pub labels: LabelSelector,
    /// Its namespace.
    pub namespace: Option<String>,
}

/// Labels and their exact values.
pub type LabelSelector = BTreeMap<String, String>;

/// What happens to a deviation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Mode {
    /// It is reported and goes ahead.
    Monitor,
    /// It is reported and fails with `EPERM`.
    Enforce,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Monitor => "Monitor",
            Self::Enforce => "Enforce",
        })
    }
}

/// Whether memory without a file, or a file's memory once it was written, may become code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum AnonymousExec {
    /// It may if the image has a package that compiles while it runs, and the policy allows that to run.
    Auto,
    /// It may not.
    Deny,
    /// It may: just-in-time compilers need it.
    Allow,
}

/// Which code interpreters may open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Scripts {
    /// Any.
    Any,
    /// What came with the image and is not refused.
    Image,
}

/// Files allowed by the policy itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Addition {
    /// Which paths of the image.
    pub path: PathPattern,
    /// The only content allowed there; without it, whatever the image's layers hold.
    pub sha256: Option<Sha256>,
    /// Why, for whoever reads an event or the policy.
    pub reason: String,
    /// Where it stands in the document.
    pub place: Place,
}

/// What may be done with the files of a path. Only one rule of a policy has that path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FileRule {
    /// Which files, by their path from the container's root; `/data/**` is `/data` itself and all below it.
    pub path: PathPattern,
    /// What is denied, as bits of [`plimsoll_abi::operation`].
    pub deny: u16,
    /// What is allowed although a rule for less of the path denies it; none of it is in `deny`.
    pub allow: u16,
    /// Where it stands in the document.
    pub place: Place,
}

impl fmt::Display for FileRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`:", self.path)?;
        for (word, mask) in [("deny", self.deny), ("allow", self.allow)].into_iter().filter(|(_, mask)| *mask != 0) {
            let named = OPERATIONS.iter().filter(|(_, bit)| mask & bit != 0).map(|(name, _)| *name);
            write!(f, " {word} {}", named.collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }
}

/// What may be done with a file, by the names it has in documents.
pub(crate) const OPERATIONS: [(&str, u16); 7] = [
    ("Read", operation::READ),
    ("Write", operation::WRITE),
    ("Create", operation::CREATE),
    ("Remove", operation::REMOVE),
    ("Rename", operation::RENAME),
    ("Link", operation::LINK),
    ("Attribute", operation::ATTRIBUTE),
];

/// One path, or everything below a directory. Shown as it is written: `/usr/bin/x`, `/opt/app/**`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PathPattern {
    /// This file.
    Exact(String),
    /// Every file below this directory, which is written without a trailing slash.
    Below(String),
}

impl PathPattern {
    /// Whether `path`, absolute and without symlinks, is meant.
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == path,
            Self::Below(directory) => path.strip_prefix(directory.as_str()).is_some_and(|rest| rest.starts_with('/')),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => f.write_str(path),
            Self::Below(directory) => write!(f, "{directory}/**"),
        }
    }
}

impl Serialize for PathPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
