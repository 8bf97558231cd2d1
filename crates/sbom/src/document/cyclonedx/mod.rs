//! CycloneDX 1.2 to 1.7 as JSON and XML. Files are components of type `file`; a file nested in a package belongs to it.
//!
//! Syft's `syft:location:N:path` properties name where a package was *found* (such as `/var/lib/dpkg/status`), not its
//! files, and are not read.

pub(super) mod json;
pub(super) mod xml;

use std::borrow::Cow;

use super::{Contents, Format, SbomError, SbomPackage, assembly::Assembly};
use crate::{digest::Digests, limits::Limits};

const VERSIONS: [&str; 6] = ["1.2", "1.3", "1.4", "1.5", "1.6", "1.7"];

/// A document while its components come in.
struct Bom {
    assembly: Assembly,
    name: String,
    tools: Vec<String>,
    /// Positions of the components being read, outermost first, for errors.
    positions: Vec<usize>,
}

impl Bom {
    fn new(limits: &Limits) -> Self {
        Self { assembly: Assembly::new(limits), name: String::new(), tools: Vec::new(), positions: Vec::new() }
    }

    fn tool(&mut self, name: Option<&str>, version: Option<&str>) {
        let Some(name) = name else { return };
        self.tools.push(version.map_or_else(|| name.to_owned(), |version| format!("{name} {version}")));
    }

    /// `components[0].components[2].hashes`
    fn place(&self) -> String {
        let mut path: Vec<String> = self.positions.iter().map(|position| format!("components[{position}]")).collect();
        path.push("hashes".to_owned());
        path.join(".")
    }

    fn finish(self, version: &str) -> Result<Contents, SbomError> {
        if !VERSIONS.contains(&version) {
            let version = version.chars().take(40).collect();
            return Err(SbomError::UnsupportedVersion { format: "CycloneDX", version, supported: "1.2 to 1.7" });
        }
        Ok(Contents {
            format: Format::CycloneDx,
            spec_version: version.to_owned(),
            name: self.name,
            generator: if self.tools.is_empty() { None } else { Some(self.tools.join(", ")) },
            assembly: self.assembly,
        })
    }
}

/// A component while its fields come in. Nested ones may come before its own name.
struct Component<'a> {
    kind: Option<Cow<'a, str>>,
    name: Option<Cow<'a, str>>,
    version: Option<Cow<'a, str>>,
    purl: Option<Cow<'a, str>>,
    digests: Digests,
    /// Values of `SrcFile` properties.
    sources: Vec<Cow<'a, str>>,
    /// Its place among the packages, if it had to be kept for it.
    package: Option<usize>,
    /// Files from this one on are nested in it, and belong to it unless something nested has them already.
    first_file: usize,
}

impl<'a> Component<'a> {
    fn begin(bom: &mut Bom, position: usize) -> Self {
        bom.positions.push(position);
        let first_file = bom.assembly.files.len();
        Self {
            kind: None,
            name: None,
            version: None,
            purl: None,
            digests: Digests::default(),
            sources: Vec::new(),
            package: None,
            first_file,
        }
    }

    fn is_file(&self) -> bool {
        self.kind.as_deref() == Some("file")
    }

    fn digest(&mut self, bom: &Bom, algorithm: &str, value: &str) -> Result<(), SbomError> {
        self.digests.add(algorithm, value).map_err(|source| SbomError::Digest { path: bom.place(), source })
    }

    /// cdxgen puts the paths into `SrcFile` properties, and a base name into `name`.
    fn property(&mut self, name: Option<&str>, value: Option<Cow<'a, str>>) {
        if name == Some("SrcFile") {
            self.sources.extend(value);
        }
    }

    /// Keeps its place before those nested in it, where it is known to need one.
    fn before_nested(&mut self, bom: &mut Bom) -> Result<(), SbomError> {
        if self.package.is_none() && self.kind.is_some() && !self.is_file() {
            let entry = SbomPackage { name: String::new(), version: None, purl: None };
            self.package = Some(bom.assembly.add_package(entry)?);
        }
        Ok(())
    }

    fn finish(self, bom: &mut Bom) -> Result<(), SbomError> {
        bom.positions.pop();
        if self.is_file() { self.finish_file(bom) } else { self.finish_package(bom) }
    }

    fn finish_file(self, bom: &mut Bom) -> Result<(), SbomError> {
        if self.sources.is_empty() {
            bom.assembly.add_file(self.name.as_deref().unwrap_or_default(), self.digests, None)?;
        }
        for path in &self.sources {
            bom.assembly.add_file(path, self.digests, None)?;
        }
        Ok(())
    }

    fn finish_package(self, bom: &mut Bom) -> Result<(), SbomError> {
        let entry = SbomPackage {
            name: self.name.map(Cow::into_owned).unwrap_or_default(),
            version: self.version.map(Cow::into_owned),
            purl: self.purl.map(Cow::into_owned),
        };
        let index = match self.package {
            Some(index) => {
                if let Some(kept) = bom.assembly.packages.get_mut(index) {
                    *kept = entry;
                }
                index
            }
            None => bom.assembly.add_package(entry)?,
        };
        for file in bom.assembly.files.iter_mut().skip(self.first_file) {
            file.package.get_or_insert(index);
        }
        Ok(())
    }
}
