//! Reads an image's unpacked layers: merges them as overlayfs does, hashes what can run, finds the package databases.
//!
//! Layers are written by whoever built the image. Nothing outside a layer's directory is ever opened: every path is
//! opened from the layer's root with `openat2`, which refuses symbolic links, mount points and `..`; links are resolved
//! later, in the [`Listing`], in memory. A file that cannot be read is an error that names it: an inventory with holes
//! would deny what it should allow, and nobody would know why.
#![forbid(unsafe_code)]

mod cache;
mod content;
mod embedded;
mod error;
mod languages;
mod layer;
mod merge;
mod packages;
pub mod wire;

use std::{fmt, fs::File, path::PathBuf};

use plimsoll_sbom::{DatabaseKind, DatabaseProblem, Limits, Listing, Node, PackageDatabase, display_path};

pub use cache::LayerCache;
pub use embedded::{EmbeddedSbom, embedded_sboms};
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
    /// Where the hashes of layers are kept; without it every layer is read.
    pub cache: Option<&'p LayerCache>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            max_nodes: 4_000_000,
            max_file_bytes: 16 << 30,
            max_database_bytes: 256 << 20,
            database_limits: Limits::default(),
            progress: None,
            cache: None,
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
    /// What was known of a layer could not be read or kept; it is hashed again, which only takes time.
    #[error("index of a layer: {0}")]
    LayerCache(String),
}

/// Opens files of an image, and nothing else.
pub trait Files {
    /// The file at `path`, which is relative to the image's root and free of symbolic links; nothing if there is none.
    fn open(&mut self, path: &[u8]) -> Result<Option<File>, RootfsError>;

    /// The path for messages: on the node, where that is known.
    fn locate(&self, path: &[u8]) -> PathBuf {
        PathBuf::from(display_path(path))
    }
}

/// An image's merged tree, hashed, with its layers still open.
pub struct Tree {
    /// The tree.
    pub listing: Listing,
    /// What was read around, worth telling a person.
    pub problems: Vec<Problem>,
    /// Bytes hashed; what a cache knew is not among them.
    pub hashed_bytes: u64,
    layers: Vec<Layer>,
    /// Sorted by path.
    entries: Vec<Entry>,
}

impl Tree {
    /// Merges and hashes. `layers` are directories, the top one first, as in overlayfs' `lowerdir`; a plain root
    /// filesystem is one layer.
    pub fn read(layers: &[PathBuf], options: &Options<'_>) -> Result<Self, RootfsError> {
        let layers: Vec<Layer> = layers.iter().map(|path| Layer::open(path)).collect::<Result<_, _>>()?;
        if layers.is_empty() {
            return Err(RootfsError::NoLayers);
        }
        let mut problems = Vec::new();
        let mut entries = merge::merge(&layers, options.max_nodes)?;
        let hashed_bytes = content::examine(&layers, &mut entries, options, &mut problems)?;
        let listing = listing(&entries)?;
        if layers.len() > 1 && !rustix::process::geteuid().is_root() {
            problems.push(Problem::TrustedAttributesHidden);
        }
        Ok(Self { listing, problems, hashed_bytes, layers, entries })
    }

    /// What opens the tree's files.
    pub fn files(&self) -> TreeFiles<'_> {
        TreeFiles { layers: &self.layers, entries: &self.entries }
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree").field("nodes", &self.listing.len()).finish_non_exhaustive()
    }
}

/// Opens files in the layer that shows them.
#[expect(missing_debug_implementations, reason = "holds nothing but references")]
pub struct TreeFiles<'t> {
    layers: &'t [Layer],
    entries: &'t [Entry],
}

impl TreeFiles<'_> {
    fn entry(&self, path: &[u8]) -> Option<(&Layer, &Entry)> {
        let index = self.entries.binary_search_by(|entry| entry.path.as_slice().cmp(path)).ok()?;
        let entry = self.entries.get(index)?;
        Some((self.layers.get(entry.layer)?, entry))
    }
}

impl Files for TreeFiles<'_> {
    fn open(&mut self, path: &[u8]) -> Result<Option<File>, RootfsError> {
        let Some((layer, Entry { kind: Kind::File(..), .. })) = self.entry(path) else { return Ok(None) };
        let file = layer.open_file(path)?;
        layer.overlay_marks(path, &file)?;
        Ok(Some(file.into()))
    }

    fn locate(&self, path: &[u8]) -> PathBuf {
        self.entry(path).map_or_else(|| PathBuf::from(display_path(path)), |(layer, _)| layer.locate(path))
    }
}

/// Reads the package databases of a tree through `files`; adds to `problems` what makes no sense in them.
pub fn databases(
    files: &mut dyn Files,
    listing: &Listing,
    options: &Options<'_>,
    problems: &mut Vec<Problem>,
) -> Result<Vec<PackageDatabase>, RootfsError> {
    packages::discover(files, listing, options, problems)
}

/// Indexes an image: [`Tree::read`], and its [`databases`].
pub fn index(layers: &[PathBuf], options: &Options<'_>) -> Result<Image, RootfsError> {
    let tree = Tree::read(layers, options)?;
    let mut problems = tree.problems.clone();
    let databases = databases(&mut tree.files(), &tree.listing, options, &mut problems)?;
    Ok(Image { listing: tree.listing, databases, problems, hashed_bytes: tree.hashed_bytes })
}

fn listing(entries: &[Entry]) -> Result<Listing, RootfsError> {
    let mut listing = Listing::new();
    for entry in entries {
        let node = match &entry.kind {
            Kind::Directory => Node::Directory,
            Kind::File(fact, _) => Node::File(fact.clone()),
            Kind::Symlink(target) => Node::Symlink { target: target.clone() },
            Kind::Other => Node::Other,
        };
        listing.insert(&entry.path, node)?;
    }
    Ok(listing)
}
