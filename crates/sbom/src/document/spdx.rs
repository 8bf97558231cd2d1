//! SPDX 2.2 and 2.3 JSON. Packages and files are tied by `CONTAINS`, its reverse `CONTAINED_BY`, or `hasFiles`.

use std::{borrow::Cow, collections::HashMap};

use serde::Deserialize;

use super::{
    Contents, Format, SbomError, SbomPackage,
    assembly::{Assembly, digests},
    json::{self, List},
};
use crate::limits::Limits;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    #[serde(borrow)]
    spdx_version: Cow<'a, str>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    creation_info: Option<CreationInfo<'a>>,
    #[serde(borrow, default)]
    packages: List<Package<'a>>,
    #[serde(borrow, default)]
    files: List<File<'a>>,
    #[serde(borrow, default)]
    relationships: List<Relationship<'a>>,
}

#[derive(Deserialize)]
struct CreationInfo<'a> {
    #[serde(borrow, default)]
    creators: List<Cow<'a, str>>,
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
    has_files: List<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef<'a> {
    #[serde(borrow)]
    reference_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reference_locator: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
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
#[serde(rename_all = "camelCase")]
struct Relationship<'a> {
    #[serde(borrow)]
    spdx_element_id: Cow<'a, str>,
    #[serde(borrow, rename = "relationshipType")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    related_spdx_element: Cow<'a, str>,
}

pub(super) fn parse(text: &str, limits: &Limits) -> Result<Contents, SbomError> {
    let document: Document<'_> = json::read(text)?;
    let spec_version = match &*document.spdx_version {
        "SPDX-2.2" => "2.2",
        "SPDX-2.3" => "2.3",
        other => return Err(unsupported(other)),
    };
    let assembly = assemble(&document, limits)?;
    Ok(Contents {
        format: Format::Spdx,
        spec_version: spec_version.to_owned(),
        generator: document.creation_info.as_ref().and_then(generator),
        name: document.name.map(Cow::into_owned).unwrap_or_default(),
        assembly,
    })
}

fn unsupported(version: &str) -> SbomError {
    let version = version.chars().take(40).collect();
    SbomError::UnsupportedVersion { format: "SPDX", version, supported: "SPDX-2.2, SPDX-2.3" }
}

fn generator(info: &CreationInfo<'_>) -> Option<String> {
    let tools: Vec<&str> =
        info.creators.0.iter().filter_map(|creator| creator.strip_prefix("Tool:")).map(str::trim).collect();
    if tools.is_empty() { None } else { Some(tools.join(", ")) }
}

fn assemble(document: &Document<'_>, limits: &Limits) -> Result<Assembly, SbomError> {
    let mut assembly = Assembly::new(limits);
    let (mut packages, mut files) = (HashMap::new(), HashMap::new());
    for package in &document.packages.0 {
        let index = assembly.add_package(package_of(package))?;
        packages.entry(&*package.id).or_insert(index);
    }
    for (position, file) in document.files.0.iter().enumerate() {
        let pairs = file.checksums.0.iter().map(|checksum| (&*checksum.algorithm, &*checksum.checksum_value));
        let digests = digests(pairs, || format!("files[{position}].checksums"))?;
        if let Some(index) = assembly.add_file(&file.path, digests, None)? {
            files.entry(&*file.id).or_insert(index);
        }
    }
    for (package, file) in containments(document) {
        if let (Some(&package), Some(&file)) = (packages.get(package), files.get(file)) {
            assembly.contain(package, file);
        }
    }
    Ok(assembly)
}

fn package_of(package: &Package<'_>) -> SbomPackage {
    let purl = package
        .external_refs
        .0
        .iter()
        .find(|reference| reference.reference_type.as_deref() == Some("purl"))
        .and_then(|reference| reference.reference_locator.as_deref());
    SbomPackage {
        name: package.name.to_string(),
        version: package.version_info.as_deref().map(str::to_owned),
        purl: purl.map(str::to_owned),
    }
}

/// Pairs of ids, container first. Which of them are packages and files is not known here.
fn containments<'d>(document: &'d Document<'_>) -> impl Iterator<Item = (&'d str, &'d str)> {
    let related = document.relationships.0.iter().filter_map(|relationship| {
        let (left, right) = (&*relationship.spdx_element_id, &*relationship.related_spdx_element);
        match &*relationship.kind {
            "CONTAINS" => Some((left, right)),
            "CONTAINED_BY" => Some((right, left)),
            _ => None,
        }
    });
    let listed = document
        .packages
        .0
        .iter()
        .flat_map(|package| package.has_files.0.iter().map(move |file| (&*package.id, &**file)));
    related.chain(listed)
}
