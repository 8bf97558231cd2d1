//! Syft's native JSON: the richest of all, with paths already resolved inside the image.
//!
//! Since schema 1.0.6 files are in `files`, with their digests beside the metadata; before, they were in `fileMetadata`,
//! without ids and with the digests inside. `artifacts[].metadata.files` is what the package database claims, not what
//! Syft saw, and is not read: the database itself is.

use std::borrow::Cow;

use serde::{Deserialize, de::MapAccess};

use super::{
    Contents, Format, SbomError, SbomPackage,
    assembly::{Assembly, digests},
    json::List,
    links::Links,
    stream::{self, Each, Target},
};
use crate::limits::Limits;

/// Reads the document.
pub(super) fn read(text: &str, limits: &Limits) -> Result<Contents, SbomError> {
    let mut document = stream::json(text, || Document {
        assembly: Assembly::new(limits),
        links: Links::new(limits.max_files / 2),
        source: None,
        descriptor: None,
        version: None,
        files: 0,
        refusal: None,
    })?;
    document.links.finish(&mut document.assembly);
    Ok(Contents {
        format: Format::Syft,
        spec_version: document.version.map(Cow::into_owned).unwrap_or_default(),
        name: document.source.and_then(Source::name).unwrap_or_default(),
        generator: document.descriptor.as_ref().and_then(generator),
        assembly: document.assembly,
    })
}

struct Document<'a> {
    assembly: Assembly,
    links: Links<'a>,
    source: Option<Source<'a>>,
    descriptor: Option<Descriptor<'a>>,
    version: Option<Cow<'a, str>>,
    /// Files met so far, for errors.
    files: usize,
    refusal: Option<SbomError>,
}

impl<'a> Document<'a> {
    fn artifact(&mut self, artifact: Artifact<'a>) -> Result<(), SbomError> {
        let index = self.assembly.add_package(SbomPackage {
            name: artifact.name.into_owned(),
            version: artifact.version.map(Cow::into_owned),
            purl: artifact.purl.map(Cow::into_owned),
        })?;
        if let Some(id) = artifact.id {
            self.links.package(id, index);
        }
        Ok(())
    }

    /// Directories and links are listed too when every file was selected.
    fn file(&mut self, file: File<'a>) -> Result<(), SbomError> {
        let position = self.files;
        self.files += 1;
        if !file.is_regular() {
            return Ok(());
        }
        let early = file.metadata.iter().flat_map(|metadata| &metadata.digests.0);
        let pairs = file.digests.0.iter().chain(early).map(|digest| (&*digest.algorithm, &*digest.value));
        let digests = digests(pairs, || format!("files[{position}].digests"))?;
        if let (Some(index), Some(id)) = (self.assembly.add_file(&file.location.path, digests, None)?, file.id) {
            self.links.file(id, index);
        }
        Ok(())
    }

    fn relationship(&mut self, relationship: Relationship<'a>) -> Result<(), SbomError> {
        if relationship.kind == "contains" {
            self.links.contain(&mut self.assembly, relationship.parent, relationship.child)?;
        }
        Ok(())
    }
}

impl<'a> Target<'a> for Document<'a> {
    const FIELDS: &'static [&'static str] =
        &["artifacts", "artifactRelationships", "files", "fileMetadata", "source", "descriptor", "schema"];

    fn take<A: MapAccess<'a>>(&mut self, field: &'static str, map: &mut A) -> Result<(), A::Error> {
        match field {
            "artifacts" => map.next_value_seed(Each::of(self, Self::artifact))?,
            "artifactRelationships" => map.next_value_seed(Each::of(self, Self::relationship))?,
            "files" | "fileMetadata" => map.next_value_seed(Each::of(self, Self::file))?,
            "source" => self.source = map.next_value()?,
            "descriptor" => self.descriptor = map.next_value()?,
            _ => self.version = Some(map.next_value::<Schema<'a>>()?.version),
        }
        Ok(())
    }

    fn refusal(&mut self) -> &mut Option<SbomError> {
        &mut self.refusal
    }
}

fn generator(descriptor: &Descriptor<'_>) -> Option<String> {
    let name = descriptor.name.as_deref()?;
    Some(descriptor.version.as_deref().map_or_else(|| name.to_owned(), |version| format!("{name} {version}")))
}

#[derive(Deserialize)]
struct Artifact<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
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
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    location: Location<'a>,
    #[serde(borrow)]
    metadata: Option<Metadata<'a>>,
    #[serde(borrow, default)]
    digests: List<FileDigest<'a>>,
}

impl File<'_> {
    /// Early versions state no type, or write it `regularFile`.
    fn is_regular(&self) -> bool {
        let kind = self.metadata.as_ref().and_then(|metadata| metadata.kind.as_deref());
        kind.is_none_or(|kind| kind.is_empty() || kind.eq_ignore_ascii_case("RegularFile"))
    }
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
    #[serde(borrow, default)]
    digests: List<FileDigest<'a>>,
}

#[derive(Deserialize)]
struct FileDigest<'a> {
    #[serde(borrow)]
    algorithm: Cow<'a, str>,
    #[serde(borrow)]
    value: Cow<'a, str>,
}

/// `name` since schema 9; before, the image's name was in `target`, which for a directory is a string.
#[derive(Deserialize)]
struct Source<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    target: Option<&'a serde_json::value::RawValue>,
}

#[derive(Deserialize)]
struct Image<'a> {
    #[serde(borrow, rename = "userInput")]
    user_input: Option<Cow<'a, str>>,
}

impl Source<'_> {
    fn name(self) -> Option<String> {
        if self.name.is_some() {
            return self.name.map(Cow::into_owned);
        }
        let target = self.target?.get();
        serde_json::from_str::<String>(target)
            .or_else(|_| {
                serde_json::from_str::<Image<'_>>(target).map(|image| image.user_input.unwrap_or_default().into_owned())
            })
            .ok()
    }
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
