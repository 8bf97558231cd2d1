//! Which exec-capable files of an image the SBOM stands behind, and how strongly.

mod claims;
mod declared;
mod verdict;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, Serializer};

use crate::{
    database::{DatabaseKind, PackageDatabase},
    digest::Sha256,
    document::Sbom,
    listing::{ExecFact, ExecKind, InodeKey, Listing, Node},
    path::display_path,
};
use claims::Claims;
use declared::Declared;
pub use declared::{UndeclaredPackage, undeclared_packages};

/// Missing files kept by name; the rest is counted.
const MAX_MISSING: usize = 1000;

/// Why a file may be trusted, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceClass {
    /// It is in the image's layers; the SBOM knows nothing of it.
    LayerOnly,
    /// A package of the SBOM has this path; no digest to compare with.
    PackagePath,
    /// A package of the SBOM has this path with a digest that agrees, weaker than SHA-256 or out of the image itself.
    PackageDigest,
    /// The SBOM lists this path with the file's SHA-256.
    SbomDigest,
}

impl EvidenceClass {
    /// Every class, weakest first.
    pub const ALL: [Self; 4] = [Self::LayerOnly, Self::PackagePath, Self::PackageDigest, Self::SbomDigest];

    /// The class's name in policies, events and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LayerOnly => "layer-only",
            Self::PackagePath => "package-path",
            Self::PackageDigest => "package-digest",
            Self::SbomDigest => "sbom-digest",
        }
    }
}

impl fmt::Display for EvidenceClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for EvidenceClass {
    type Err = UnknownEvidenceClass;

    fn from_str(text: &str) -> Result<Self, UnknownEvidenceClass> {
        let found = Self::ALL.into_iter().find(|class| class.name() == text);
        found.ok_or_else(|| UnknownEvidenceClass { name: text.chars().take(80).collect() })
    }
}

/// A word that is no evidence class.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not an evidence class; these are: layer-only, package-path, package-digest, sbom-digest")]
pub struct UnknownEvidenceClass {
    /// The word.
    pub name: String,
}

/// The result of joining an SBOM with an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Inventory {
    /// Every exec-capable file of the image, sorted by the path's bytes.
    pub files: Vec<InventoryFile>,
    /// Files that look like code, are listed, and are not in the image. At most 1000; [`Coverage::missing`] has all.
    pub missing: Vec<MissingFile>,
    /// The counts.
    pub coverage: Coverage,
    /// SHA-256 of the SBOM document.
    pub sbom_digest: Sha256,
}

/// An exec-capable file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct InventoryFile {
    /// Where it lies, links resolved; absolute, in the notation of [`display_path`].
    pub path: String,
    /// Identity on the lower filesystem.
    pub inode: InodeKey,
    /// Bytes.
    pub size: u64,
    /// Permission bits (`0o7777`); in JSON an octal string.
    #[serde(serialize_with = "octal")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub mode: u32,
    /// How it would run.
    pub kind: ExecKind,
    /// SHA-256 of the file in the image.
    pub sha256: Sha256,
    /// Why it may be trusted. `None` if its content contradicts what is declared: never allowed as it is.
    pub evidence: Option<EvidenceClass>,
    /// What is wrong, if the evidence is `layer-only` or none.
    pub gap: Option<Gap>,
    /// The package behind it, wherever one is known, declared in the SBOM or not.
    pub package: Option<PackageRef>,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum Gap {
    /// Nothing in the SBOM stands behind it.
    Undeclared,
    /// It is declared, with other content.
    Mismatch {
        /// The digest declared, as `algorithm:hex`.
        expected: String,
        /// Who declared it.
        by: MismatchSource,
    },
}

/// Who declared a digest that the file does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum MismatchSource {
    /// The SBOM.
    Sbom,
    /// A package database of the image.
    Database(DatabaseKind),
}

impl fmt::Display for MismatchSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sbom => f.write_str("SBOM"),
            Self::Database(kind) => write!(f, "{kind} database"),
        }
    }
}

/// The package behind a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PackageRef {
    /// Name.
    pub name: String,
    /// Version; empty if the SBOM states none.
    pub version: String,
    /// Package URL, if the SBOM has one.
    pub purl: Option<String>,
}

/// A file that is listed and absent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MissingFile {
    /// Path as listed, absolute, in the notation of [`display_path`].
    pub path: String,
    /// The package that would have it, if known.
    pub package: Option<PackageRef>,
}

/// Counts over one inventory. `files` is the sum of the six that follow it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct Coverage {
    /// Exec-capable files.
    pub files: usize,
    /// With evidence `sbom-digest`.
    pub sbom_digest: usize,
    /// With evidence `package-digest`.
    pub package_digest: usize,
    /// With evidence `package-path`.
    pub package_path: usize,
    /// With evidence `layer-only`: undeclared.
    pub layer_only: usize,
    /// Declared with other content.
    pub mismatch: usize,
    /// Listed, looking like code, and absent.
    pub missing: usize,
}

impl Coverage {
    /// Files whose evidence is at least `weakest`.
    pub fn accepted(&self, weakest: EvidenceClass) -> usize {
        EvidenceClass::ALL.into_iter().filter(|class| *class >= weakest).map(|class| self.count(class)).sum()
    }

    /// Files whose evidence is exactly `class`.
    pub fn count(&self, class: EvidenceClass) -> usize {
        match class {
            EvidenceClass::LayerOnly => self.layer_only,
            EvidenceClass::PackagePath => self.package_path,
            EvidenceClass::PackageDigest => self.package_digest,
            EvidenceClass::SbomDigest => self.sbom_digest,
        }
    }

    fn add(&mut self, evidence: Option<EvidenceClass>) {
        self.files += 1;
        *match evidence {
            Some(EvidenceClass::LayerOnly) => &mut self.layer_only,
            Some(EvidenceClass::PackagePath) => &mut self.package_path,
            Some(EvidenceClass::PackageDigest) => &mut self.package_digest,
            Some(EvidenceClass::SbomDigest) => &mut self.sbom_digest,
            None => &mut self.mismatch,
        } += 1;
    }
}

/// Joins an image's tree with its SBOM and its package databases.
///
/// Pure and deterministic. A digest in the SBOM settles a file; else a package that the SBOM declares and the database
/// ties to the file does; else nothing stands behind it.
pub fn inventory(listing: &Listing, sbom: &Sbom, databases: &[PackageDatabase]) -> Inventory {
    let declared = Declared::new(sbom, databases);
    let claims = Claims::gather(listing, sbom, databases, &declared);
    let mut coverage = Coverage { missing: claims.missing_count, ..Coverage::default() };
    let files = collect(listing, &mut coverage, |path, exec| verdict::of(exec, claims.of(path), sbom));
    Inventory { files, missing: claims.missing, coverage, sbom_digest: sbom.digest }
}

/// As [`inventory`], where `judge` says what stands behind a file: it is given the path as people see it and the content,
/// and answers with evidence, gap and package. For allowlists that were compiled elsewhere.
pub fn inventory_by(
    listing: &Listing,
    sbom_digest: Sha256,
    mut judge: impl FnMut(&str, &ExecFact) -> (Option<EvidenceClass>, Option<Gap>, Option<PackageRef>),
) -> Inventory {
    let mut coverage = Coverage::default();
    let files = collect(listing, &mut coverage, |path, exec| {
        let (evidence, gap, package) = judge(&display_path(path), exec);
        verdict::Finding { evidence, gap, package }
    });
    Inventory { files, missing: Vec::new(), coverage, sbom_digest }
}

fn collect(
    listing: &Listing,
    coverage: &mut Coverage,
    mut judge: impl FnMut(&[u8], &ExecFact) -> verdict::Finding,
) -> Vec<InventoryFile> {
    let mut files = Vec::new();
    for (path, node) in listing.iter() {
        let Node::File(file) = node else { continue };
        let Some(exec) = &file.exec else { continue };
        let finding = judge(path, exec);
        coverage.add(finding.evidence);
        files.push(InventoryFile {
            path: display_path(path),
            inode: file.inode,
            size: file.size,
            mode: file.mode,
            kind: exec.kind,
            sha256: exec.sha256,
            evidence: finding.evidence,
            gap: finding.gap,
            package: finding.package,
        });
    }
    files
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn octal<S: Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{mode:04o}"))
}
