//! Untrusted bytes in, an [`Inventory`] out: which files of an image the SBOM stands behind, and how strongly.
//!
//! ```text
//! SBOM document ── parse ──────────────> Sbom ────────────┐
//! package databases ── parse_dpkg/... ─> PackageDatabase ─┼─ inventory() ─> Inventory
//! merged image tree (plimsoll-rootfs) ─> Listing ─────────┘
//! ```
//!
//! Most container SBOMs list packages and no files, so the join with the image's own package database is the normal
//! way. This crate does no I/O, needs no privilege, and bounds the size, depth and number of everything it reads.
#![forbid(unsafe_code)]

mod changes;
mod database;
mod digest;
mod document;
mod inventory;
mod limits;
mod listing;
mod path;
mod purl;

pub use changes::{Changes, Gained, Lost, PackageChange, Replaced, Side};
pub use database::{
    BrokenContainer, DatabaseDigest, DatabaseError, DatabaseFile, DatabaseKind, DatabasePackage, DatabaseProblem,
    DpkgSources, Malformed, NamedSource, PackageDatabase, PythonDistribution, cargo_crate, go_module, java_artifact,
    npm_package, parse_apk, parse_dpkg, parse_python, parse_rpm, self_described,
};
pub use digest::{Digests, InvalidDigest, Sha256};
pub use document::{
    Format, Place, RejectedPaths, Sbom, SbomError, SbomFile, SbomPackage, Statement, Subject, Wrapping, parse,
};
pub use inventory::{
    Coverage, EvidenceClass, Gap, Inventory, InventoryFile, MismatchSource, MissingFile, PackageRef, UndeclaredPackage,
    UnknownEvidenceClass, inventory, inventory_by, undeclared_packages,
};
pub use limits::Limits;
pub use listing::{ExecFact, ExecKind, FileFact, InodeKey, Listing, ListingError, Node};
pub use path::{InvalidPath, display_path};
