//! Package databases inside an image: which package put which file there, with which digest.
//!
//! They authenticate nothing by themselves, since they are part of the image. They tie the packages an SBOM declares
//! to files, and their digests tell whether a file is still what its package shipped.
//!
//! Beside the databases of package managers, what languages leave behind counts as one: Python's `RECORD`, and what
//! programs say about themselves.

mod apk;
mod built_in;
mod dpkg;
mod python;
mod rpm;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use apk::parse_apk;
pub use built_in::{cargo_crate, go_module, java_artifact, npm_package, self_described};
pub use dpkg::{DpkgSources, parse_dpkg};
pub use python::{PythonDistribution, parse_python};
pub use rpm::{BrokenContainer, parse_rpm};

use crate::{limits::Limits, path::normalise};

/// Problems kept word by word; the rest is counted.
const MAX_PROBLEMS: usize = 64;

/// Whose database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum DatabaseKind {
    /// Debian's, or distroless' reduced form of it.
    Dpkg,
    /// Alpine's, Wolfi's, Chainguard's.
    Apk,
    /// Fedora's, Red Hat's, SUSE's, Azure Linux'.
    Rpm,
    /// Distributions that pip and its like installed.
    Python,
    /// Directories of `node_modules`.
    Npm,
    /// Java archives that name their artifact.
    Java,
    /// Go programs that name their module.
    Go,
    /// Rust programs that name their crate.
    Cargo,
}

impl DatabaseKind {
    /// The type that package URLs of its packages have.
    pub(crate) fn purl_type(self) -> &'static str {
        match self {
            Self::Dpkg => "deb",
            Self::Apk => "apk",
            Self::Rpm => "rpm",
            Self::Python => "pypi",
            Self::Npm => "npm",
            Self::Java => "maven",
            Self::Go => "golang",
            Self::Cargo => "cargo",
        }
    }
}

impl fmt::Display for DatabaseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dpkg => "dpkg",
            Self::Apk => "apk",
            Self::Rpm => "rpm",
            Self::Python => "Python",
            Self::Npm => "npm",
            Self::Java => "Java",
            Self::Go => "Go",
            Self::Cargo => "Cargo",
        })
    }
}

/// One package database of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageDatabase {
    /// Whose.
    pub kind: DatabaseKind,
    /// Installed packages.
    pub packages: Vec<DatabasePackage>,
    /// Their files. A path may occur under several packages.
    pub files: Vec<DatabaseFile>,
    /// Entries that were left out, or lost their digest, because they make no sense. At most 64.
    pub problems: Vec<DatabaseProblem>,
    /// All such entries, those beyond 64 included.
    pub problem_count: usize,
}

/// An installed package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabasePackage {
    /// Name.
    pub name: String,
    /// Version, epoch and revision included.
    pub version: String,
    /// Architecture in the distribution's words, if stated.
    pub architecture: Option<String>,
}

/// A file, directory or link a package put into the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseFile {
    /// Relative to the image's root, without a leading slash; links are not resolved.
    pub path: Vec<u8>,
    /// What the package shipped, if recorded.
    pub digest: Option<DatabaseDigest>,
    /// Index in [`PackageDatabase::packages`].
    pub package: usize,
}

/// A digest as strong as the database records it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseDigest {
    /// dpkg.
    Md5([u8; 16]),
    /// apk 2.
    Sha1([u8; 20]),
    /// apk 3: the first 20 bytes of a SHA-256.
    Sha256Prefix([u8; 20]),
    /// rpm, and Python's `RECORD`.
    Sha256([u8; 32]),
}

impl fmt::Display for DatabaseDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Md5(digest) => write!(f, "md5:{}", hex::encode(digest)),
            Self::Sha1(digest) => write!(f, "sha1:{}", hex::encode(digest)),
            Self::Sha256(digest) => write!(f, "sha256:{}", hex::encode(digest)),
            Self::Sha256Prefix(digest) => write!(f, "sha256-160:{}", hex::encode(digest)),
        }
    }
}

/// A file of the database, by the name messages show.
#[derive(Clone, Copy, Debug)]
pub struct NamedSource<'a> {
    /// File name without directories, such as `libc6:amd64.md5sums`.
    pub name: &'a str,
    /// Content.
    pub bytes: &'a [u8],
}

/// An entry that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{source_name}:{line}: {what}")]
pub struct DatabaseProblem {
    /// File of the database.
    pub source_name: String,
    /// Line, from 1; in a binary database the number of the record.
    pub line: usize,
    /// What is wrong.
    pub what: Malformed,
}

/// Ways in which an entry makes no sense, and what is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Such as `../x`; the entry is left out.
    #[error("path cannot be in an image; the entry is ignored")]
    Path,
    /// The file counts as having none.
    #[error("digest is of no known form; the file counts as having none")]
    Digest,
    /// The line is left out.
    #[error("line is of no known form; it is ignored")]
    Line,
    /// The package is left out with all its files.
    #[error("package has no name or version; it is ignored")]
    Package,
    /// A binary record; the package has no files then.
    #[error("package header does not fit together; its files count as nobody's")]
    Header,
}

/// Why a database was refused as a whole.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// A field that must be text is not.
    #[error("{source_name}:{line}: a name, version, architecture or status is not UTF-8")]
    NotUtf8 {
        /// File of the database.
        source_name: String,
        /// Line, from 1.
        line: usize,
        /// Where in the value.
        #[source]
        source: std::str::Utf8Error,
    },
    /// More entries than allowed.
    #[error("more than {limit} {what} in the {kind} database")]
    TooMany {
        /// Whose database.
        kind: DatabaseKind,
        /// `files`, `packages` or `lines`.
        what: &'static str,
        /// Entries allowed.
        limit: usize,
    },
    /// A binary database whose structure is broken.
    #[error("the {kind} database `{source_name}` cannot be read: {what}")]
    Broken {
        /// Whose database.
        kind: DatabaseKind,
        /// File of the database.
        source_name: String,
        /// What is wrong.
        #[source]
        what: BrokenContainer,
    },
}

/// Collects a database's entries within the limits.
struct Collector<'l> {
    limits: &'l Limits,
    database: PackageDatabase,
    /// Lines held in memory so far, whether or not they become files.
    lines: usize,
}

impl<'l> Collector<'l> {
    fn new(kind: DatabaseKind, limits: &'l Limits) -> Self {
        let database =
            PackageDatabase { kind, packages: Vec::new(), files: Vec::new(), problems: Vec::new(), problem_count: 0 };
        Self { limits, database, lines: 0 }
    }

    /// Counts a line that stays in memory. One file may take several: its name, its digest, its conffile entry.
    fn hold_line(&mut self) -> Result<(), DatabaseError> {
        self.lines += 1;
        self.bound("lines", self.lines, self.limits.max_files.saturating_mul(4))
    }

    /// Returns the package's index.
    fn package(&mut self, package: DatabasePackage) -> Result<usize, DatabaseError> {
        self.bound("packages", self.database.packages.len(), self.limits.max_packages)?;
        self.database.packages.push(package);
        Ok(self.database.packages.len() - 1)
    }

    /// Takes in a file whose path is normal already.
    fn file(&mut self, path: Vec<u8>, digest: Option<DatabaseDigest>, package: usize) -> Result<(), DatabaseError> {
        self.bound("files", self.database.files.len(), self.limits.max_files)?;
        self.database.files.push(DatabaseFile { path, digest, package });
        Ok(())
    }

    /// Brings a path to its normal form, or notes the problem.
    fn path(&mut self, path: &[u8], source: &str, line: usize) -> Option<Vec<u8>> {
        let normal = normalise(path);
        if normal.is_err() {
            self.problem(source, line, Malformed::Path);
        }
        normal.ok()
    }

    fn problem(&mut self, source: &str, line: usize, what: Malformed) {
        self.database.problem_count += 1;
        if self.database.problems.len() < MAX_PROBLEMS {
            self.database.problems.push(DatabaseProblem { source_name: source.to_owned(), line, what });
        }
    }

    fn bound(&self, what: &'static str, count: usize, limit: usize) -> Result<(), DatabaseError> {
        if count < limit { Ok(()) } else { Err(DatabaseError::TooMany { kind: self.database.kind, what, limit }) }
    }
}

/// Lines with their numbers, from 1; the last may lack its newline.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    bytes.split(|byte| *byte == b'\n').enumerate().map(|(index, line)| (index + 1, line))
}

fn utf8<'a>(bytes: &'a [u8], source_name: &str, line: usize) -> Result<&'a str, DatabaseError> {
    str::from_utf8(bytes).map_err(|source| DatabaseError::NotUtf8 { source_name: source_name.to_owned(), line, source })
}
