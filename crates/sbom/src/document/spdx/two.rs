//! The model of SPDX 2.2 and 2.3, and its JSON form.

use std::borrow::Cow;

use serde::{Deserialize, de::MapAccess};

use super::super::{
    Contents, Format, SbomError, SbomPackage,
    assembly::{Assembly, digests},
    json::List,
    links::Links,
    stream::{self, Each, Target, Text},
};
use crate::{digest::Digests, limits::Limits};

/// A document while its parts come in, in whatever order.
pub(super) struct Document<'a> {
    assembly: Assembly,
    links: Links<'a>,
    version: Option<Cow<'a, str>>,
    name: Option<Cow<'a, str>>,
    tools: Vec<String>,
    /// Files met so far, for errors.
    files: usize,
    refusal: Option<SbomError>,
}

/// Reads the JSON form.
pub(in super::super) fn json(text: &str, limits: &Limits) -> Result<Contents, SbomError> {
    stream::json(text, || Document::new(limits))?.finish()
}

impl<'a> Document<'a> {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            assembly: Assembly::new(limits),
            links: Links::new(limits.max_files / 2),
            version: None,
            name: None,
            tools: Vec::new(),
            files: 0,
            refusal: None,
        }
    }

    pub(super) fn version(&mut self, version: Cow<'a, str>) {
        self.version = Some(version);
    }

    pub(super) fn name(&mut self, name: Cow<'a, str>) {
        self.name = Some(name);
    }

    /// `Tool: syft-1.0`; persons and organisations wrote nothing.
    pub(super) fn creator(&mut self, creator: &str) {
        if let Some(tool) = creator.strip_prefix("Tool:") {
            self.tools.push(tool.trim().to_owned());
        }
    }

    /// Answers the package's index.
    pub(super) fn package(&mut self, id: Option<Cow<'a, str>>, package: SbomPackage) -> Result<usize, SbomError> {
        let index = self.assembly.add_package(package)?;
        if let Some(id) = id {
            self.links.package(id, index);
        }
        Ok(index)
    }

    /// `package` is the one the file stands below, where that means something.
    pub(super) fn file(
        &mut self,
        id: Option<Cow<'a, str>>,
        path: &str,
        digests: Digests,
        package: Option<usize>,
    ) -> Result<(), SbomError> {
        if let (Some(index), Some(id)) = (self.assembly.add_file(path, digests, package)?, id) {
            self.links.file(id, index);
        }
        Ok(())
    }

    pub(super) fn contain(&mut self, package: Cow<'a, str>, file: Cow<'a, str>) -> Result<(), SbomError> {
        self.links.contain(&mut self.assembly, package, file)
    }

    /// Relationships other than of containment say nothing about files.
    pub(super) fn relationship(
        &mut self,
        left: Cow<'a, str>,
        kind: &str,
        right: Cow<'a, str>,
    ) -> Result<(), SbomError> {
        match kind {
            "CONTAINS" => self.contain(left, right),
            "CONTAINED_BY" => self.contain(right, left),
            _ => Ok(()),
        }
    }

    pub(super) fn finish(mut self) -> Result<Contents, SbomError> {
        let spec_version = match self.version.as_deref() {
            Some("SPDX-2.2") => "2.2",
            Some("SPDX-2.3") => "2.3",
            other => return Err(unsupported(other.unwrap_or("(none)"))),
        };
        self.links.finish(&mut self.assembly);
        Ok(Contents {
            format: Format::Spdx,
            spec_version: spec_version.to_owned(),
            name: self.name.map(Cow::into_owned).unwrap_or_default(),
            generator: if self.tools.is_empty() { None } else { Some(self.tools.join(", ")) },
            assembly: self.assembly,
        })
    }

    fn read_package(&mut self, package: Package<'a>) -> Result<(), SbomError> {
        let purl = package.external_refs.0.iter().find(|reference| reference.kind.as_deref() == Some("purl"));
        let purl = purl.and_then(|reference| reference.locator.as_deref());
        let entry = SbomPackage {
            name: package.name.into_owned(),
            version: package.version_info.map(Cow::into_owned),
            purl: purl.map(str::to_owned),
        };
        self.package(Some(package.id.clone()), entry)?;
        for file in package.has_files.0 {
            self.contain(package.id.clone(), file.0)?;
        }
        Ok(())
    }

    fn read_file(&mut self, file: File<'a>) -> Result<(), SbomError> {
        let position = self.files;
        self.files += 1;
        let pairs = file.checksums.0.iter().map(|checksum| (&*checksum.algorithm, &*checksum.checksum_value));
        let digests = digests(pairs, || format!("files[{position}].checksums"))?;
        self.file(Some(file.id), &file.path, digests, None)
    }

    fn read_relationship(&mut self, relationship: Relationship<'a>) -> Result<(), SbomError> {
        self.relationship(relationship.element, &relationship.kind, relationship.related)
    }
}

impl<'a> Target<'a> for Document<'a> {
    const FIELDS: &'static [&'static str] =
        &["spdxVersion", "name", "creationInfo", "packages", "files", "relationships"];

    fn take<A: MapAccess<'a>>(&mut self, field: &'static str, map: &mut A) -> Result<(), A::Error> {
        match field {
            "spdxVersion" => self.version(map.next_value::<Text<'a>>()?.0),
            "name" => self.name = map.next_value::<Option<Text<'a>>>()?.map(|name| name.0),
            "creationInfo" => {
                let info: Option<CreationInfo<'a>> = map.next_value()?;
                info.iter().flat_map(|info| &info.creators.0).for_each(|creator| self.creator(&creator.0));
            }
            "packages" => map.next_value_seed(Each::of(self, Self::read_package))?,
            "files" => map.next_value_seed(Each::of(self, Self::read_file))?,
            _ => map.next_value_seed(Each::of(self, Self::read_relationship))?,
        }
        Ok(())
    }

    fn refusal(&mut self) -> &mut Option<SbomError> {
        &mut self.refusal
    }
}

fn unsupported(version: &str) -> SbomError {
    let version = version.chars().take(40).collect();
    SbomError::UnsupportedVersion { format: "SPDX", version, supported: "SPDX-2.2, SPDX-2.3, 3.0 as JSON-LD" }
}

#[derive(Deserialize)]
struct CreationInfo<'a> {
    #[serde(borrow, default)]
    creators: List<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Package<'a> {
    #[serde(borrow, rename = "SPDXID")]
    id: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    version_info: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    external_refs: List<ExternalRef<'a>>,
    #[serde(borrow, default)]
    has_files: List<Text<'a>>,
}

#[derive(Deserialize)]
struct ExternalRef<'a> {
    #[serde(borrow, rename = "referenceType")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "referenceLocator")]
    locator: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow, rename = "SPDXID")]
    id: Cow<'a, str>,
    #[serde(borrow, rename = "fileName")]
    path: Cow<'a, str>,
    #[serde(borrow, default)]
    checksums: List<Checksum<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Checksum<'a> {
    #[serde(borrow)]
    algorithm: Cow<'a, str>,
    #[serde(borrow)]
    checksum_value: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Relationship<'a> {
    #[serde(borrow, rename = "spdxElementId")]
    element: Cow<'a, str>,
    #[serde(borrow, rename = "relationshipType")]
    kind: Cow<'a, str>,
    #[serde(borrow, rename = "relatedSpdxElement")]
    related: Cow<'a, str>,
}
