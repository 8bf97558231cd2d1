//! CycloneDX 1.2 to 1.7 JSON. Files are components of type `file`; a file nested in a package belongs to it.
//!
//! Syft's `syft:location:N:path` properties name where a package was *found* (such as `/var/lib/dpkg/status`), not its
//! files, and are not read.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor, value::SeqAccessDeserializer},
};

use super::{
    Contents, Format, SbomError, SbomPackage,
    assembly::{Assembly, digests},
    json::{self, List},
};
use crate::limits::Limits;

const VERSIONS: [&str; 6] = ["1.2", "1.3", "1.4", "1.5", "1.6", "1.7"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    #[serde(borrow)]
    bom_format: Cow<'a, str>,
    #[serde(borrow)]
    spec_version: Cow<'a, str>,
    #[serde(borrow)]
    metadata: Option<Metadata<'a>>,
    #[serde(borrow, default)]
    components: List<Component<'a>>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    component: Option<Tool<'a>>,
    #[serde(borrow, default)]
    tools: Tools<'a>,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    version: Option<Cow<'a, str>>,
}

/// A list up to 1.4; since 1.5 also an object with `components`.
#[derive(Default)]
struct Tools<'a>(Vec<Tool<'a>>);

#[derive(Deserialize)]
struct Component<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    version: Option<Cow<'a, str>>,
    #[serde(borrow)]
    purl: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    hashes: List<Hash<'a>>,
    #[serde(borrow, default)]
    properties: List<Property<'a>>,
    #[serde(borrow, default)]
    components: List<Component<'a>>,
}

#[derive(Deserialize)]
struct Hash<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow)]
    content: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Property<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    value: Option<Cow<'a, str>>,
}

pub(super) fn parse(text: &str, limits: &Limits) -> Result<Contents, SbomError> {
    let document: Document<'_> = json::read(text)?;
    if document.bom_format != "CycloneDX" {
        return Err(SbomError::Unrecognised { looks_like: "JSON whose `bomFormat` is not `CycloneDX`" });
    }
    if !VERSIONS.contains(&&*document.spec_version) {
        let version = document.spec_version.chars().take(40).collect();
        return Err(SbomError::UnsupportedVersion { format: "CycloneDX", version, supported: "1.2 to 1.7" });
    }
    let mut assembly = Assembly::new(limits);
    for (position, component) in document.components.0.iter().enumerate() {
        add(&mut assembly, component, None, &|| format!("components[{position}]"))?;
    }
    let (name, generator) = document.metadata.map(described).unwrap_or_default();
    Ok(Contents {
        format: Format::CycloneDx,
        spec_version: document.spec_version.into_owned(),
        name,
        generator,
        assembly,
    })
}

fn described(metadata: Metadata<'_>) -> (String, Option<String>) {
    let name = metadata.component.and_then(|component| component.name).map(Cow::into_owned).unwrap_or_default();
    let tools: Vec<String> = metadata.tools.0.iter().filter_map(tool_name).collect();
    (name, if tools.is_empty() { None } else { Some(tools.join(", ")) })
}

fn tool_name(tool: &Tool<'_>) -> Option<String> {
    let name = tool.name.as_deref()?;
    Some(tool.version.as_deref().map_or_else(|| name.to_owned(), |version| format!("{name} {version}")))
}

/// Recurses as deep as the components nest, which [`Limits::max_depth`] bounds.
fn add(
    assembly: &mut Assembly,
    component: &Component<'_>,
    parent: Option<usize>,
    place: &dyn Fn() -> String,
) -> Result<(), SbomError> {
    let owner = if component.kind == "file" {
        add_file(assembly, component, parent, place)?;
        parent
    } else {
        Some(assembly.add_package(SbomPackage {
            name: component.name.to_string(),
            version: component.version.as_deref().map(str::to_owned),
            purl: component.purl.as_deref().map(str::to_owned),
        })?)
    };
    for (position, nested) in component.components.0.iter().enumerate() {
        add(assembly, nested, owner, &|| format!("{}.components[{position}]", place()))?;
    }
    Ok(())
}

/// Syft and sbom4files put the path into `name`; cdxgen puts a base name there and the paths into `SrcFile` properties.
fn add_file(
    assembly: &mut Assembly,
    component: &Component<'_>,
    package: Option<usize>,
    place: &dyn Fn() -> String,
) -> Result<(), SbomError> {
    let pairs = component.hashes.0.iter().map(|hash| (&*hash.alg, &*hash.content));
    let digests = digests(pairs, || format!("{}.hashes", place()))?;
    let sources = component.properties.0.iter().filter(|property| property.name.as_deref() == Some("SrcFile"));
    let mut paths = sources.filter_map(|property| property.value.as_deref()).peekable();
    if paths.peek().is_none() {
        assembly.add_file(&component.name, digests, package)?;
    }
    for path in paths {
        assembly.add_file(path, digests, package)?;
    }
    Ok(())
}

impl<'de: 'a, 'a> Deserialize<'de> for Tools<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ToolsVisitor)
    }
}

struct ToolsVisitor;

impl<'de> Visitor<'de> for ToolsVisitor {
    type Value = Tools<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tools, or an object with `components`")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Tools<'de>, E> {
        Ok(Tools::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<Tools<'de>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(sequence)).map(Tools)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tools<'de>, A::Error> {
        let mut tools = Tools::default();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if key == "components" {
                tools.0 = map.next_value::<List<Tool<'de>>>()?.0;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(tools)
    }
}
