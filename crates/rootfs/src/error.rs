use std::path::PathBuf;

use plimsoll_sbom::{DatabaseError, ListingError};
use rustix::io::Errno;

/// Why an image could not be indexed. Paths are those on the node.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    /// Nothing was given.
    #[error("an image needs at least one layer")]
    NoLayers,
    /// A system call failed.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried: `open`, `read`, `examine`...
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// Something is mounted inside a layer, so what lies there is not the layer's.
    #[error("`{}` is a mount point inside the image; unmount it, or give the directory as unpacked", path.display())]
    MountPoint {
        /// Where.
        path: PathBuf,
    },
    /// The layer relies on an overlayfs feature under which a directory's or file's content lies elsewhere.
    #[error("`{}` has the attribute `{attribute}`; unpack the image without overlayfs redirects and metadata-only copies", path.display())]
    OverlayFeature {
        /// Where.
        path: PathBuf,
        /// `trusted.overlay.redirect`, `trusted.overlay.metacopy` or their `user.` forms.
        attribute: String,
    },
    /// Somebody writes to the layer.
    #[error("`{}` changed while it was read; an image's layers must not be written to", path.display())]
    Changed {
        /// Which file.
        path: PathBuf,
    },
    /// More than the options allow.
    #[error("more than {limit} files, directories and links in the image")]
    TooManyNodes {
        /// Nodes allowed.
        limit: usize,
    },
    /// Too much to hash.
    #[error("`{}` has {size} bytes, more than the limit of {limit} for a file that can run", path.display())]
    FileTooLarge {
        /// Which file.
        path: PathBuf,
        /// Bytes found.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// Too much to read into memory.
    #[error("`{}` takes the package databases beyond the limit of {limit} bytes", path.display())]
    DatabaseTooLarge {
        /// The file that was one too many.
        path: PathBuf,
        /// Bytes allowed for all together.
        limit: u64,
    },
    /// More SBOMs inside the image than any builder leaves there.
    #[error("more than {limit} SBOMs inside the image")]
    TooManySboms {
        /// Documents allowed.
        limit: usize,
    },
    /// A device number that the kernel's 32-bit encoding cannot hold.
    #[error("device {major}:{minor} of `{}` does not fit the kernel's encoding", path.display())]
    Device {
        /// Which file.
        path: PathBuf,
        /// Device major.
        major: u32,
        /// Device minor.
        minor: u32,
    },
    /// The merged tree is not a tree.
    #[error(transparent)]
    Listing(#[from] ListingError),
    /// A package database was refused.
    #[error("cannot use the image's package database")]
    Database(#[from] DatabaseError),
}
