//! Syft's native JSON: the richest of the three, with paths already resolved inside the image.
//!
//! `artifacts[].metadata.files` is what the package database claims, not what Syft saw, and is not read: the database
//! itself is.

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
    #[serde(borrow, default)]
    artifacts: List<Artifact<'a>>,
    #[serde(borrow, default)]
    artifact_relationships: List<Relationship<'a>>,
    #[serde(borrow, default)]
    files: List<File<'a>>,
    #[serde(borrow)]
    source: Option<Source<'a>>,
    #[serde(borrow)]
    descriptor: Option<Descriptor<'a>>,
    #[serde(borrow)]
    schema: Schema<'a>,
}

#[derive(Deserialize)]
struct Artifact<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    version: Option<Cow<'a, str>>,
    #[serde(borrow)]
    purl: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Relationship<'a> {
    #[serde(borrow)]
    parent: Cow<'a, str>,
    #[serde(borrow)]
    child: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    location: Location<'a>,
    #[serde(borrow)]
    metadata: Option<Metadata<'a>>,
    #[serde(borrow, default)]
    digests: List<FileDigest<'a>>,
}

#[derive(Deserialize)]
struct Location<'a> {
    #[serde(borrow)]
    path: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct FileDigest<'a> {
    #[serde(borrow)]
    algorithm: Cow<'a, str>,
    #[serde(borrow)]
    value: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Source<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Descriptor<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    version: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Schema<'a> {
    #[serde(borrow)]
    version: Cow<'a, str>,
}

pub(super) fn parse(text: &str, limits: &Limits) -> Result<Contents, SbomError> {
    let document: Document<'_> = json::read(text)?;
    let assembly = assemble(&document, limits)?;
    Ok(Contents {
        format: Format::Syft,
        spec_version: document.schema.version.into_owned(),
        name: document.source.and_then(|source| source.name).map(Cow::into_owned).unwrap_or_default(),
        generator: document.descriptor.as_ref().and_then(generator),
        assembly,
    })
}

fn generator(descriptor: &Descriptor<'_>) -> Option<String> {
    let name = descriptor.name.as_deref()?;
    Some(descriptor.version.as_deref().map_or_else(|| name.to_owned(), |version| format!("{name} {version}")))
}

fn assemble(document: &Document<'_>, limits: &Limits) -> Result<Assembly, SbomError> {
    let mut assembly = Assembly::new(limits);
    let (mut packages, mut files) = (HashMap::new(), HashMap::new());
    for artifact in &document.artifacts.0 {
        let index = assembly.add_package(SbomPackage {
            name: artifact.name.to_string(),
            version: artifact.version.as_deref().map(str::to_owned),
            purl: artifact.purl.as_deref().map(str::to_owned),
        })?;
        packages.entry(&*artifact.id).or_insert(index);
    }
    for (position, file) in document.files.0.iter().enumerate().filter(|(_, file)| is_regular(file)) {
        let pairs = file.digests.0.iter().map(|digest| (&*digest.algorithm, &*digest.value));
        let digests = digests(pairs, || format!("files[{position}].digests"))?;
        if let Some(index) = assembly.add_file(&file.location.path, digests, None)? {
            files.entry(&*file.id).or_insert(index);
        }
    }
    for relationship in document.artifact_relationships.0.iter().filter(|relationship| relationship.kind == "contains")
    {
        if let (Some(&package), Some(&file)) = (packages.get(&*relationship.parent), files.get(&*relationship.child)) {
            assembly.contain(package, file);
        }
    }
    Ok(assembly)
}

/// Directories and links are listed too when every file was selected; early versions state no type.
fn is_regular(file: &File<'_>) -> bool {
    file.metadata.as_ref().and_then(|metadata| metadata.kind.as_deref()).is_none_or(|kind| kind == "RegularFile")
}
