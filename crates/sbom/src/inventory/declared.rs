//! Which packages of the image's databases the SBOM declares.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::PackageRef;
use crate::{
    database::{DatabaseKind, DatabasePackage, PackageDatabase},
    document::{Sbom, SbomPackage},
    purl::Purl,
};

/// For every package of every database, the SBOM's package that declares it.
pub(super) struct Declared {
    /// By database, then by package.
    by_database: Vec<Vec<Option<usize>>>,
}

impl Declared {
    pub(super) fn new(sbom: &Sbom, databases: &[PackageDatabase]) -> Self {
        let mut candidates = Candidates::default();
        for (index, package) in sbom.packages.iter().enumerate() {
            candidates.add(index, package);
        }
        let of_database = |database: &PackageDatabase| {
            let purl_type = database.kind.purl_type();
            database.packages.iter().map(|package| candidates.find(purl_type, package)).collect()
        };
        Self { by_database: databases.iter().map(of_database).collect() }
    }

    /// Index of the SBOM's package, if it declares this one.
    pub(super) fn get(&self, database: usize, package: usize) -> Option<usize> {
        self.by_database.get(database)?.get(package).copied().flatten()
    }
}

/// A package of the image that the SBOM does not declare.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UndeclaredPackage {
    /// Whose database has it.
    pub database: DatabaseKind,
    /// Name.
    pub name: String,
    /// Version, as the database writes it.
    pub version: String,
    /// Files it has in the database.
    pub files: usize,
}

/// Installed packages that the SBOM does not declare, by database and name: what to ask its generator about.
pub fn undeclared_packages(sbom: &Sbom, databases: &[PackageDatabase]) -> Vec<UndeclaredPackage> {
    let declared = Declared::new(sbom, databases);
    let mut undeclared = Vec::new();
    for (index, database) in databases.iter().enumerate() {
        let mut files = vec![0_usize; database.packages.len()];
        for file in &database.files {
            if let Some(count) = files.get_mut(file.package) {
                *count += 1;
            }
        }
        let packages = database.packages.iter().zip(files).enumerate();
        let missing = packages.filter(|(package, _)| declared.get(index, *package).is_none());
        undeclared.extend(missing.map(|(_, (package, files))| UndeclaredPackage {
            database: database.kind,
            name: package.name.clone(),
            version: package.version.clone(),
            files,
        }));
    }
    undeclared.sort();
    undeclared
}

/// The SBOM's packages by what can identify them. Looked up in constant steps, however often one name is repeated.
#[derive(Default)]
struct Candidates {
    /// (type, name, version) -> architecture -> index, for packages with a package URL.
    by_purl: HashMap<(String, String, String), BTreeMap<Option<String>, usize>>,
    /// (name, version) -> index, for packages without one.
    by_name: HashMap<(String, String), usize>,
}

impl Candidates {
    /// A package URL, where there is one, is the word that counts; without any version nothing is identified.
    fn add(&mut self, index: usize, package: &SbomPackage) {
        if let Some(text) = package.purl.as_deref().filter(|purl| !purl.is_empty()) {
            let Some(purl) = Purl::parse(text) else { return };
            let is_source = purl.is_source();
            let Some(version) = purl.version else { return };
            if !is_source {
                let architectures = self.by_purl.entry((purl.kind, purl.name, version)).or_default();
                architectures.entry(purl.architecture).or_insert(index);
            }
        } else if let Some(version) = &package.version {
            self.by_name.entry((package.name.clone(), version.clone())).or_insert(index);
        }
    }

    fn find(&self, purl_type: &str, package: &DatabasePackage) -> Option<usize> {
        let (name, version) = (package.name.clone(), package.version.clone());
        let by_purl = self.by_purl.get(&(purl_type.to_owned(), name.clone(), version.clone()));
        let found = by_purl.and_then(|found| of_architecture(found, package.architecture.as_deref()));
        // Some generators leave rpm's epoch out.
        let plain = version.split_once(':').filter(|_| purl_type == "rpm").map(|(_, plain)| plain.to_owned());
        let without_epoch = || {
            let key = (purl_type.to_owned(), name.clone(), plain.clone()?);
            of_architecture(self.by_purl.get(&key)?, package.architecture.as_deref())
        };
        let by_name = |version: &String| self.by_name.get(&(name.clone(), version.clone())).copied();
        found.or_else(without_epoch).or_else(|| by_name(&version)).or_else(|| plain.as_ref().and_then(by_name))
    }
}

/// What distributions call a package that fits every architecture.
const EVERY: [&str; 3] = ["all", "any", "noarch"];

/// Agreed, unless both sides name an architecture and the two differ.
fn of_architecture(found: &BTreeMap<Option<String>, usize>, wanted: Option<&str>) -> Option<usize> {
    let get = |architecture: &str| found.get(&Some(architecture.to_owned())).copied();
    match wanted {
        None => found.values().next().copied(),
        Some(wanted) if EVERY.contains(&wanted) => get(wanted).or_else(|| found.values().next().copied()),
        Some(wanted) => get(wanted).or_else(|| found.get(&None).copied()).or_else(|| EVERY.into_iter().find_map(get)),
    }
}

pub(super) fn sbom_package(sbom: &Sbom, index: usize) -> Option<PackageRef> {
    sbom.packages.get(index).map(|package| PackageRef {
        name: package.name.clone(),
        version: package.version.clone().unwrap_or_default(),
        purl: package.purl.clone(),
    })
}

pub(super) fn database_package(package: &DatabasePackage) -> PackageRef {
    PackageRef { name: package.name.clone(), version: package.version.clone(), purl: None }
}
