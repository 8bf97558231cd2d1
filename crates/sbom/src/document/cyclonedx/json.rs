//! The JSON form.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor, value::SeqAccessDeserializer},
};

use super::{Bom, Component};
use crate::{
    document::{
        Contents, SbomError,
        json::List,
        stream::{self, Each, Object, Target, Text},
    },
    limits::Limits,
};

/// Reads the JSON form.
pub(in super::super) fn read(text: &str, limits: &Limits) -> Result<Contents, SbomError> {
    let document =
        stream::json(text, || Document { bom: Bom::new(limits), format: None, version: None, refusal: None })?;
    if document.format.as_deref() != Some("CycloneDX") {
        return Err(SbomError::Unrecognised { looks_like: "JSON whose `bomFormat` is not `CycloneDX`" });
    }
    document.bom.finish(document.version.as_deref().unwrap_or("(none)"))
}

struct Document<'a> {
    bom: Bom,
    format: Option<Cow<'a, str>>,
    version: Option<Cow<'a, str>>,
    refusal: Option<SbomError>,
}

impl<'a> Target<'a> for Document<'a> {
    const FIELDS: &'static [&'static str] = &["bomFormat", "specVersion", "metadata", "components"];

    fn take<A: MapAccess<'a>>(&mut self, field: &'static str, map: &mut A) -> Result<(), A::Error> {
        match field {
            "bomFormat" => self.format = Some(map.next_value::<Text<'a>>()?.0),
            "specVersion" => self.version = Some(map.next_value::<Text<'a>>()?.0),
            "metadata" => {
                let Some(metadata) = map.next_value::<Option<Metadata<'a>>>()? else { return Ok(()) };
                let described = metadata.component.and_then(|component| component.name);
                self.bom.name = described.map(Cow::into_owned).unwrap_or_default();
                for tool in &metadata.tools.0 {
                    self.bom.tool(tool.name.as_deref(), tool.version.as_deref());
                }
            }
            _ => map.next_value_seed(Components { bom: &mut self.bom, refusal: &mut self.refusal })?,
        }
        Ok(())
    }

    fn refusal(&mut self) -> &mut Option<SbomError> {
        &mut self.refusal
    }
}

/// A list of components that may be null.
struct Components<'t> {
    bom: &'t mut Bom,
    refusal: &'t mut Option<SbomError>,
}

impl<'de> DeserializeSeed<'de> for Components<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Components<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        for position in 0.. {
            let one = One { bom: self.bom, refusal: self.refusal, position };
            if sequence.next_element_seed(one)?.is_none() {
                break;
            }
        }
        Ok(())
    }
}

/// One component of a list.
struct One<'t> {
    bom: &'t mut Bom,
    refusal: &'t mut Option<SbomError>,
    position: usize,
}

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = ();

    /// Recurses as deep as the components nest, which [`Limits::max_depth`] bounds.
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let component = Component::begin(self.bom, self.position);
        let mut open = Open { bom: self.bom, refusal: self.refusal, component };
        Object(&mut open).deserialize(deserializer)?;
        for (field, value) in [("type", &open.component.kind), ("name", &open.component.name)] {
            if value.is_none() {
                return Err(serde::de::Error::missing_field(field));
            }
        }
        open.component.finish(open.bom).map_err(|error| {
            *open.refusal = Some(error);
            serde::de::Error::custom("refused")
        })
    }
}

/// A component being read.
struct Open<'t, 'a> {
    bom: &'t mut Bom,
    refusal: &'t mut Option<SbomError>,
    component: Component<'a>,
}

impl<'a> Target<'a> for Open<'_, 'a> {
    const FIELDS: &'static [&'static str] = &["type", "name", "version", "purl", "hashes", "properties", "components"];

    fn take<A: MapAccess<'a>>(&mut self, field: &'static str, map: &mut A) -> Result<(), A::Error> {
        match field {
            "type" => self.component.kind = Some(map.next_value::<Text<'a>>()?.0),
            "name" => self.component.name = Some(map.next_value::<Text<'a>>()?.0),
            "version" => self.component.version = map.next_value::<Option<Text<'a>>>()?.map(|text| text.0),
            "purl" => self.component.purl = map.next_value::<Option<Text<'a>>>()?.map(|text| text.0),
            "hashes" => map.next_value_seed(Each::of(self, |open: &mut Self, hash: Hash<'a>| {
                open.component.digest(open.bom, &hash.alg, &hash.content)
            }))?,
            "properties" => map.next_value_seed(Each::of(self, |open: &mut Self, property: Property<'a>| {
                open.component.property(property.name.as_deref(), property.value);
                Ok(())
            }))?,
            _ => {
                if let Err(error) = self.component.before_nested(self.bom) {
                    return Err(self.refuse(error));
                }
                map.next_value_seed(Components { bom: self.bom, refusal: self.refusal })?;
            }
        }
        Ok(())
    }

    fn refusal(&mut self) -> &mut Option<SbomError> {
        self.refusal
    }
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
        while let Some(key) = map.next_key::<Text<'de>>()? {
            if key.0 == "components" {
                tools.0 = map.next_value::<List<Tool<'de>>>()?.0;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(tools)
    }
}
