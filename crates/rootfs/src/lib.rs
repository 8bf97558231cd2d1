//! Reads an image's unpacked layers: merges them as overlayfs does, hashes what can run, finds the package databases.
//!
//! Layers are written by whoever built the image. Nothing outside a layer's directory is ever opened: every path is
//! opened from the layer's root with `openat2`, which refuses symbolic links, mount points and `..`; links are resolved
//! later, in the [`Listing`], in memory. A file that cannot be read is an error that names it: an inventory with holes
//! would deny what it should allow, and nobody would know why.
#![forbid(unsafe_code)]

mod content;
mod error;
mod languages;
mod layer;
mod merge;
mod packages;

use std::{fmt, path::PathBuf};

use plimsoll_sbom::{DatabaseKind, DatabaseProblem, Limits, Listing, Node, PackageDatabase};

pub use error::RootfsError;
use layer::Layer;
use merge::{Entry, Kind};

/// Bounds, and who wants to know how far it got.
#[derive(Clone, Copy)]
pub struct Options<'p> {
    /// Files, directories and links in the merged tree.
    pub max_nodes: usize,
    /// Bytes of one exec-capable file.
    pub max_file_bytes: u64,
    /// Bytes of all package databases together.
    pub max_database_bytes: u64,
    /// Entries of one package database.
    pub database_limits: Limits,
    /// Called after each file from the threads that read, so it must be quick.
    pub progress: Option<&'p (dyn Fn(Progress) + Sync)>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            max_nodes: 4_000_000,
            max_file_bytes: 16 << 30,
            max_database_bytes: 256 << 20,
            database_limits: Limits::default(),
            progress: None,
        }
    }
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("max_nodes", &self.max_nodes)
            .field("max_file_bytes", &self.max_file_bytes)
            .field("max_database_bytes", &self.max_database_bytes)
            .field("database_limits", &self.database_limits)
            .finish_non_exhaustive()
    }
}

/// How far the reading of file contents got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Files looked at.
    pub files: u64,
    /// Files to look at.
    pub total_files: u64,
    /// Bytes hashed.
    pub bytes: u64,
}

/// An image as its layers show it.
#[derive(Clone, Debug)]
pub struct Image {
    /// The merged tree.
    pub listing: Listing,
    /// The package databases in it.
    pub databases: Vec<PackageDatabase>,
    /// What was read around, worth telling a person.
    pub problems: Vec<Problem>,
    /// Bytes hashed.
    pub hashed_bytes: u64,
}

/// Something that did not stop the indexing and may explain a gap.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// An entry of a package database that makes no sense.
    #[error("{kind} database: {problem}")]
    Database {
        /// Whose database.
        kind: DatabaseKind,
        /// Which entry.
        problem: DatabaseProblem,
    },
    /// Further such entries.
    #[error("{kind} database: {count} more entries make no sense")]
    MoreInDatabase {
        /// Whose database.
        kind: DatabaseKind,
        /// How many were left out of the list.
        count: usize,
    },
    /// A database that is not understood; its packages' files have no package evidence.
    #[error("`{path}` is a package database of a kind that is not read; only digests in the SBOM cover its files")]
    UnsupportedDatabase {
        /// Path in the image.
        path: String,
    },
    /// A database that cannot be read; its packages' files have no package evidence.
    #[error("`{path}` cannot be read, and only digests in the SBOM cover its files: {reason}")]
    BrokenDatabase {
        /// Path in the image.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// rpm ended before it had written everything into its database.
    #[error(
        "`{path}` is not empty: what rpm changed last is not in its database yet; ask for an image made after `rpmdb --rebuilddb`"
    )]
    WriteAheadLog {
        /// Path in the image.
        path: String,
    },
    /// Several layers are merged by a user who cannot see how overlayfs marked them.
    #[error("not root: opaque directories (`trusted.overlay.*`) cannot be seen, so deleted files may be listed")]
    TrustedAttributesHidden,
}

/// Indexes an image.
///
/// `layers` are directories, the top one first, as in overlayfs' `lowerdir`; a plain root filesystem is one layer.
pub fn index(layers: &[PathBuf], options: &Options<'_>) -> Result<Image, RootfsError> {
    let layers: Vec<Layer> = layers.iter().map(|path| Layer::open(path)).collect::<Result<_, _>>()?;
    if layers.is_empty() {
        return Err(RootfsError::NoLayers);
    }
    let mut entries = merge::merge(&layers, options.max_nodes)?;
    let hashed_bytes = content::examine(&layers, &mut entries, options)?;
    let listing = listing(&entries)?;
    let mut problems = Vec::new();
    if layers.len() > 1 && !rustix::process::geteuid().is_root() {
        problems.push(Problem::TrustedAttributesHidden);
    }
    let databases = packages::discover(&layers, &entries, &listing, options, &mut problems)?;
    Ok(Image { listing, databases, problems, hashed_bytes })
}

fn listing(entries: &[Entry]) -> Result<Listing, RootfsError> {
    let mut listing = Listing::new();
    for entry in entries {
        let node = match &entry.kind {
            Kind::Directory => Node::Directory,
            Kind::File(fact) => Node::File(fact.clone()),
            Kind::Symlink(target) => Node::Symlink { target: target.clone() },
            Kind::Other => Node::Other,
        };
        listing.insert(&entry.path, node)?;
    }
    Ok(listing)
}
