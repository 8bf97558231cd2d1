//! SPDX 3.0 as JSON-LD. Everything is an element of `@graph`; packages and files are tied by relationships of the type
//! `contains`, from one element to several. Elements and hashes may stand where they are used or be referred to by id.
//!
//! Read as the serialisation's schema has it, not as JSON-LD at large: no context is ever fetched.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, de::MapAccess};
use serde_json::value::RawValue;

use super::super::{
    Contents, Format, SbomError, SbomPackage,
    assembly::Assembly,
    json::List,
    links::Links,
    stream::{self, Each, Target, Text},
};
use crate::{digest::Digests, limits::Limits};

/// Reads the JSON-LD form.
pub(in super::super) fn json(text: &str, limits: &Limits) -> Result<Contents, SbomError> {
    stream::json(text, || Graph::new(limits))?.finish()
}

struct Graph<'a> {
    assembly: Assembly,
    links: Links<'a>,
    version: Option<Cow<'a, str>>,
    name: Option<Cow<'a, str>>,
    tools: Vec<String>,
    /// Hashes that stand by themselves, by id.
    hashes: Vec<(Cow<'a, str>, Hash<'a>)>,
    /// Files whose hashes are referred to, by index.
    waiting: Vec<(usize, Cow<'a, str>)>,
    limit: usize,
    refusal: Option<SbomError>,
}

#[derive(Deserialize)]
struct Element<'a> {
    #[serde(borrow, rename = "type", alias = "@type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "spdxId", alias = "@id")]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "specVersion")]
    spec_version: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "software_packageVersion")]
    package_version: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "software_packageUrl")]
    package_url: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "software_fileKind")]
    file_kind: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "externalIdentifier", default)]
    identifiers: List<OneOrId<'a, Identifier<'a>>>,
    #[serde(borrow, rename = "verifiedUsing", default)]
    verified_using: List<OneOrId<'a, Hash<'a>>>,
    #[serde(borrow, rename = "relationshipType")]
    relationship: Option<Cow<'a, str>>,
    #[serde(borrow)]
    from: Option<&'a RawValue>,
    #[serde(borrow)]
    to: Option<&'a RawValue>,
    #[serde(borrow)]
    algorithm: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "hashValue")]
    hash_value: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Identifier<'a> {
    #[serde(borrow, rename = "externalIdentifierType")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    identifier: Option<Cow<'a, str>>,
}

/// Some writers give hashes another type than `Hash`; having both fields makes one.
#[derive(Deserialize)]
struct Hash<'a> {
    #[serde(borrow)]
    algorithm: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "hashValue")]
    value: Option<Cow<'a, str>>,
}

/// An object in its place, or the id of one.
enum OneOrId<'a, T> {
    One(T),
    Id(Cow<'a, str>),
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for OneOrId<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let read = if raw.starts_with('"') {
            serde_json::from_str::<Text<'de>>(raw).map(|id| Self::Id(id.0))
        } else {
            serde_json::from_str(raw).map(Self::One)
        };
        read.map_err(serde::de::Error::custom)
    }
}

impl<'a> Graph<'a> {
    fn new(limits: &Limits) -> Self {
        Self {
            assembly: Assembly::new(limits),
            links: Links::new(limits.max_files / 2),
            version: None,
            name: None,
            tools: Vec::new(),
            hashes: Vec::new(),
            waiting: Vec::new(),
            limit: limits.max_files,
            refusal: None,
        }
    }

    fn element(&mut self, mut element: Element<'a>) -> Result<(), SbomError> {
        if let Some(version) = element.spec_version.take() {
            self.version.get_or_insert(version);
        }
        let kind = element.kind.as_deref().unwrap_or_default();
        match kind.rsplit(['/', '_', ':', '#']).next().unwrap_or_default() {
            "File" if element.file_kind.as_deref() != Some("directory") => self.file(element),
            "Package" => self.package(element),
            "Relationship" | "LifecycleScopedRelationship" => self.relationship(&element),
            "SpdxDocument" => {
                self.name = element.name;
                Ok(())
            }
            "Tool" => {
                self.tools.extend(element.name.map(Cow::into_owned));
                Ok(())
            }
            _ => self.hash(element),
        }
    }

    fn package(&mut self, element: Element<'a>) -> Result<(), SbomError> {
        let identified = element.identifiers.0.iter().find_map(|identifier| match identifier {
            OneOrId::One(one) if matches!(one.kind.as_deref(), Some("packageUrl" | "packageURL" | "purl")) => {
                one.identifier.as_deref()
            }
            _ => None,
        });
        let entry = SbomPackage {
            name: element.name.map(Cow::into_owned).unwrap_or_default(),
            version: element.package_version.map(Cow::into_owned),
            purl: element.package_url.as_deref().or(identified).map(str::to_owned),
        };
        let index = self.assembly.add_package(entry)?;
        if let Some(id) = element.id {
            self.links.package(id, index);
        }
        Ok(())
    }

    fn file(&mut self, element: Element<'a>) -> Result<(), SbomError> {
        let path = element.name.unwrap_or_default();
        let (mut digests, mut referred) = (Digests::default(), Vec::new());
        for entry in element.verified_using.0 {
            match entry {
                OneOrId::One(hash) => hash.add_to(&mut digests, &path)?,
                OneOrId::Id(id) => referred.push(id),
            }
        }
        let Some(index) = self.assembly.add_file(&path, digests, None)? else { return Ok(()) };
        if self.waiting.len() + referred.len() > self.limit {
            return Err(SbomError::TooMany { what: "hashes", limit: self.limit });
        }
        self.waiting.extend(referred.into_iter().map(|id| (index, id)));
        if let Some(id) = element.id {
            self.links.file(id, index);
        }
        Ok(())
    }

    fn relationship(&mut self, element: &Element<'a>) -> Result<(), SbomError> {
        // Written in capitals by some.
        let contains = element.relationship.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("contains"));
        let (Some(from), Some(to), true) = (element.from, element.to, contains) else { return Ok(()) };
        let package = self.reference(from)?;
        let targets: Vec<&'a RawValue> = if to.get().starts_with('[') { read(to)? } else { vec![to] };
        for target in targets {
            let file = self.reference(target)?;
            if let (Some(package), Some(file)) = (package.clone(), file) {
                self.links.contain(&mut self.assembly, package, file)?;
            }
        }
        Ok(())
    }

    /// The id that stands here, or that of the element that does; that element is taken in.
    fn reference(&mut self, raw: &'a RawValue) -> Result<Option<Cow<'a, str>>, SbomError> {
        match read::<OneOrId<'a, Element<'a>>>(raw)? {
            OneOrId::Id(id) => Ok(Some(id)),
            OneOrId::One(element) => {
                let id = element.id.clone();
                self.element(element)?;
                Ok(id)
            }
        }
    }

    fn hash(&mut self, element: Element<'a>) -> Result<(), SbomError> {
        if let (Some(id), Some(algorithm), Some(value)) = (element.id, element.algorithm, element.hash_value) {
            if self.hashes.len() >= self.limit {
                return Err(SbomError::TooMany { what: "hashes", limit: self.limit });
            }
            self.hashes.push((id, Hash { algorithm: Some(algorithm), value: Some(value) }));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Contents, SbomError> {
        let version = self.version.as_deref().unwrap_or("3.0");
        if !version.starts_with("3.0") {
            let version = version.chars().take(40).collect();
            return Err(SbomError::UnsupportedVersion { format: "SPDX", version, supported: "2.2, 2.3, 3.0" });
        }
        self.hashes.sort_by(|left, right| left.0.cmp(&right.0));
        for (file, id) in &self.waiting {
            let found = self.hashes.binary_search_by(|hash| hash.0.cmp(id)).ok();
            let (Some((_, hash)), Some(file)) =
                (found.and_then(|index| self.hashes.get(index)), self.assembly.files.get_mut(*file))
            else {
                continue;
            };
            hash.add_to(&mut file.digests, &file.path)?;
        }
        self.links.finish(&mut self.assembly);
        Ok(Contents {
            format: Format::Spdx,
            spec_version: version.to_owned(),
            name: self.name.map(Cow::into_owned).unwrap_or_default(),
            generator: if self.tools.is_empty() { None } else { Some(self.tools.join(", ")) },
            assembly: self.assembly,
        })
    }
}

impl Hash<'_> {
    fn add_to(&self, digests: &mut Digests, path: &str) -> Result<(), SbomError> {
        let (Some(algorithm), Some(value)) = (&self.algorithm, &self.value) else { return Ok(()) };
        let place = || format!("verifiedUsing of {}", crate::display_path(path.as_bytes()));
        digests.add(algorithm, value).map_err(|source| SbomError::Digest { path: place(), source })
    }
}

fn read<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Result<T, SbomError> {
    super::super::json::read(raw.get())
}

impl<'a> Target<'a> for Graph<'a> {
    const FIELDS: &'static [&'static str] = &["@graph"];

    fn take<A: MapAccess<'a>>(&mut self, _graph: &'static str, map: &mut A) -> Result<(), A::Error> {
        map.next_value_seed(Each::of(self, Self::element))
    }

    fn refusal(&mut self) -> &mut Option<SbomError> {
        &mut self.refusal
    }
}
