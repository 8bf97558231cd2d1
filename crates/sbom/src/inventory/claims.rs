//! What SBOM and databases say about each exec-capable file, and what they say about files that are not there.

use std::collections::{BTreeSet, HashMap};

use super::{
    MAX_MISSING, MissingFile, PackageRef,
    declared::{Declared, database_package, sbom_package},
};
use crate::{
    database::{DatabaseDigest, DatabaseKind, DatabasePackage, PackageDatabase},
    document::{Sbom, SbomFile},
    listing::{Listing, Node},
    path::{display_path, looks_executable},
};

/// A database's entry for a file.
pub(super) struct Owner<'d> {
    pub(super) kind: DatabaseKind,
    pub(super) digest: Option<DatabaseDigest>,
    pub(super) package: &'d DatabasePackage,
    /// The SBOM's package that declares it.
    pub(super) declared: Option<usize>,
}

/// Everything said about one file.
#[derive(Default)]
pub(super) struct FileClaims<'d> {
    pub(super) entries: Vec<&'d SbomFile>,
    pub(super) owners: Vec<Owner<'d>>,
}

pub(super) struct Claims<'d> {
    by_path: HashMap<Vec<u8>, FileClaims<'d>>,
    /// The first [`MAX_MISSING`] in order.
    pub(super) missing: Vec<MissingFile>,
    pub(super) missing_count: usize,
}

/// Where a listed path leads.
enum Spot {
    ExecCapable(Vec<u8>),
    /// A file that cannot run, a directory or a link: of no interest.
    Other,
    Absent,
}

impl<'d> Claims<'d> {
    pub(super) fn gather(
        listing: &Listing,
        sbom: &'d Sbom,
        databases: &'d [PackageDatabase],
        declared: &Declared,
    ) -> Self {
        let mut by_path: HashMap<Vec<u8>, FileClaims<'d>> = HashMap::new();
        let mut missing = BTreeSet::new();
        for file in &sbom.files {
            match spot(listing, file.path.as_bytes()) {
                Spot::ExecCapable(path) => by_path.entry(path).or_default().entries.push(file),
                Spot::Absent => {
                    let package = file.package.and_then(|package| sbom_package(sbom, package));
                    note_missing(&mut missing, file.path.as_bytes(), package);
                }
                Spot::Other => {}
            }
        }
        for (index, database) in databases.iter().enumerate() {
            for file in &database.files {
                let Some(package) = database.packages.get(file.package) else { continue };
                let declared = declared.get(index, file.package);
                match (spot(listing, &file.path), declared) {
                    (Spot::ExecCapable(path), declared) => {
                        let owner = Owner { kind: database.kind, digest: file.digest, package, declared };
                        by_path.entry(path).or_default().owners.push(owner);
                    }
                    (Spot::Absent, Some(declared)) => {
                        let package = sbom_package(sbom, declared).unwrap_or_else(|| database_package(package));
                        note_missing(&mut missing, &file.path, Some(package));
                    }
                    (Spot::Absent, None) | (Spot::Other, _) => {}
                }
            }
        }
        Self::finish(by_path, missing)
    }

    /// What is said about the file that lies at `path`.
    pub(super) fn of(&self, path: &[u8]) -> Option<&FileClaims<'d>> {
        self.by_path.get(path)
    }

    fn finish(by_path: HashMap<Vec<u8>, FileClaims<'d>>, missing: BTreeSet<(Vec<u8>, Option<PackageRef>)>) -> Self {
        // One path may be missing in the SBOM's and in a database's name; it is missing once.
        let mut paths: Vec<MissingFile> = Vec::new();
        let mut count = 0;
        let mut last: Option<Vec<u8>> = None;
        for (path, package) in missing.into_iter().rev() {
            if last.as_ref() != Some(&path) {
                count += 1;
                paths.push(MissingFile { path: display_path(&path), package });
            }
            last = Some(path);
        }
        paths.reverse();
        paths.truncate(MAX_MISSING);
        Self { by_path, missing: paths, missing_count: count }
    }
}

/// The last component is not followed: an entry that names a link says nothing about the link's target, which may be
/// another package's file.
fn spot(listing: &Listing, path: &[u8]) -> Spot {
    let Some(path) = listing.locate(path) else { return Spot::Absent };
    match listing.get(&path) {
        Some(Node::File(file)) if file.exec.is_some() => Spot::ExecCapable(path),
        Some(_) => Spot::Other,
        None => Spot::Absent,
    }
}

fn note_missing(missing: &mut BTreeSet<(Vec<u8>, Option<PackageRef>)>, path: &[u8], package: Option<PackageRef>) {
    if looks_executable(path) {
        missing.insert((path.to_vec(), package));
    }
}
