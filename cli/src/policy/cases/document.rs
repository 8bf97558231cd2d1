//! A file of cases: an image, a workload, and events with the verdicts they must get.

use std::collections::BTreeMap;

use anyhow::Context as _;
use plimsoll_abi::{Hook, Reason};
use plimsoll_policy::{Attempt, Origin, WorkloadFacts};
use plimsoll_sbom::{
    Coverage, EvidenceClass, ExecKind, Gap, InodeKey, Inventory, InventoryFile, MismatchSource, PackageRef, Sha256,
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    #[serde(default)]
    image: ImageFacts,
    #[serde(default)]
    workload: Workload,
    pub(super) cases: Vec<Case>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageFacts {
    digest: Option<String>,
    reference: Option<String>,
    /// Files that can run, as an SBOM's join with the image would have them.
    #[serde(default)]
    files: Vec<FileFacts>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileFacts {
    path: String,
    /// An evidence class, or `mismatch` for content that contradicts what is declared.
    evidence: FileEvidence,
    package: Option<String>,
    #[serde(default)]
    kind: Kind,
    /// Its content, for additions that pin one.
    sha256: Option<Sha256>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FileEvidence {
    SbomDigest,
    PackageDigest,
    PackagePath,
    LayerOnly,
    Mismatch,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    /// A program, with its x-bit.
    #[default]
    Program,
    /// Code that is mapped, without an x-bit.
    Library,
    /// A script with its x-bit.
    Script,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Workload {
    namespace: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) event: Event,
    pub(super) verdict: String,
    pub(super) reason: Option<String>,
}

/// The fields of an event that a verdict depends on, named as events have them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Event {
    hook: String,
    #[serde(default)]
    file: File,
    network: Option<Network>,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    process: Process,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    path: String,
    /// The other name, for `rename` and `link`.
    #[serde(default)]
    new_path: String,
    origin: Option<String>,
    /// Mapped private and writable, or written before it becomes executable.
    #[serde(default)]
    modified: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Network {
    address: String,
    #[serde(default)]
    port: u16,
    protocol: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Process {
    #[serde(default)]
    comm: String,
}

impl Document {
    pub(super) fn facts(&self) -> WorkloadFacts {
        WorkloadFacts {
            image_digest: self.image.digest.clone(),
            image_reference: self.image.reference.clone(),
            labels: self.workload.labels.clone(),
            namespace: self.workload.namespace.clone(),
        }
    }

    pub(super) fn inventory(&self) -> Inventory {
        let files = self.image.files.iter().zip(1..).map(|(file, ino)| file.inventory_file(ino));
        let mut files: Vec<_> = files.collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Inventory { files, missing: Vec::new(), coverage: Coverage::default(), sbom_digest: Sha256::of(b"cases") }
    }
}

impl FileFacts {
    fn inventory_file(&self, ino: u64) -> InventoryFile {
        let (evidence, gap) = match self.evidence {
            FileEvidence::SbomDigest => (Some(EvidenceClass::SbomDigest), None),
            FileEvidence::PackageDigest => (Some(EvidenceClass::PackageDigest), None),
            FileEvidence::PackagePath => (Some(EvidenceClass::PackagePath), None),
            FileEvidence::LayerOnly => (Some(EvidenceClass::LayerOnly), Some(Gap::Undeclared)),
            FileEvidence::Mismatch => {
                (None, Some(Gap::Mismatch { expected: "other content".to_owned(), by: MismatchSource::Sbom }))
            }
        };
        let (kind, mode) = match self.kind {
            Kind::Program => (ExecKind::Elf, 0o755),
            Kind::Library => (ExecKind::Elf, 0o644),
            Kind::Script => (ExecKind::Script, 0o755),
        };
        let package = |name: &String| PackageRef { name: name.clone(), version: String::new(), purl: None };
        InventoryFile {
            path: self.path.clone(),
            inode: InodeKey { dev: 1, ino },
            size: 0,
            mode,
            kind,
            sha256: self.sha256.unwrap_or_else(|| Sha256::of(self.path.as_bytes())),
            evidence,
            gap,
            package: self.package.as_ref().map(package),
        }
    }
}

impl Case {
    pub(super) fn expected(&self) -> String {
        self.reason.as_ref().map_or_else(|| self.verdict.clone(), |reason| format!("{} ({reason})", self.verdict))
    }
}

impl Event {
    /// A path without an origin is the image's, as long as the file could run from there at all.
    pub(super) fn attempt(&self) -> anyhow::Result<Attempt<'_>> {
        let hook = Hook::ALL.iter().find(|hook| hook.name() == self.hook);
        let hook = *hook.with_context(|| {
            let names: Vec<_> = Hook::ALL.iter().map(|hook| hook.name()).collect();
            format!("`{}` is no hook; these are: {}", self.hook, names.join(", "))
        })?;
        let origin = match &self.file.origin {
            None if self.file.path.is_empty() => Origin::Unspecified,
            None => Origin::ImageFile,
            Some(text) => {
                let known = Origin::NAMED.into_iter().find(|(name, _)| name == text);
                let names = Origin::NAMED.map(|(name, _)| name).join(", ");
                known.with_context(|| format!("`{text}` is no origin; these are: {names}"))?.1
            }
        };
        Ok(Attempt {
            hook: Some(hook),
            reason: None::<Reason>,
            path: &self.file.path,
            new_path: &self.file.new_path,
            name_only: false,
            origin,
            modified: self.file.modified,
            comm: &self.process.comm,
            network: self.network.as_ref().map(|network| (&*network.address, network.port, &*network.protocol)),
            operation: &self.operation,
        })
    }
}
