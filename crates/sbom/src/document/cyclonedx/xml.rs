//! The XML form. Entities other than XML's own five are refused, and so is a document type, which could declare some.

use std::borrow::Cow;

use quick_xml::{
    Reader, XmlVersion,
    escape::resolve_xml_entity,
    events::{BytesRef, BytesStart, Event},
};

use super::{Bom, Component};
use crate::{
    document::{Contents, SbomError, json::place_of},
    limits::Limits,
};

/// What every version's namespace starts with; the version follows.
const NAMESPACE: &str = "http://cyclonedx.org/schema/bom/";

/// Reads the XML form.
pub(in super::super) fn read(text: &str, limits: &Limits) -> Result<Contents, SbomError> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut document = Document::new(limits);
    loop {
        let event = reader.read_event().map_err(|error| {
            let place = place_of(text, offset(reader.error_position()));
            SbomError::Malformed { place, reason: error.to_string().chars().take(200).collect() }
        })?;
        if matches!(event, Event::Eof) {
            break;
        }
        document.take(event).map_err(|fault| match fault {
            Fault::Words(reason) => {
                SbomError::Malformed { place: place_of(text, offset(reader.buffer_position())), reason: reason.into() }
            }
            Fault::TooDeep => {
                SbomError::TooDeep { place: place_of(text, offset(reader.buffer_position())), limit: limits.max_depth }
            }
            Fault::Refusal(error) => error,
        })?;
    }
    if !document.frames.is_empty() || document.version.is_none() {
        return Err(SbomError::Truncated { place: place_of(text, text.len()) });
    }
    document.bom.finish(&document.version.unwrap_or_default())
}

fn offset(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

/// What is wrong, before it has a place.
enum Fault {
    Words(&'static str),
    TooDeep,
    Refusal(SbomError),
}

impl From<SbomError> for Fault {
    fn from(error: SbomError) -> Self {
        Self::Refusal(error)
    }
}

/// An open element.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frame {
    Bom,
    Metadata,
    /// What the document is about.
    Described,
    Tools,
    Tool,
    Components,
    Component,
    Hashes,
    Properties,
    Text(Field),
    Ignored,
}

/// An element whose text counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Name,
    Version,
    Purl,
    Hash,
    Property,
}

struct Document {
    bom: Bom,
    max_depth: usize,
    version: Option<String>,
    frames: Vec<Frame>,
    components: Vec<Component<'static>>,
    /// Components met in each open `components`.
    positions: Vec<usize>,
    tool: (Option<String>, Option<String>),
    /// Text of the open element, if it counts.
    text: String,
    /// `alg` of a hash, `name` of a property.
    attribute: String,
}

impl Document {
    fn new(limits: &Limits) -> Self {
        Self {
            bom: Bom::new(limits),
            max_depth: limits.max_depth,
            version: None,
            frames: Vec::new(),
            components: Vec::new(),
            positions: Vec::new(),
            tool: (None, None),
            text: String::new(),
            attribute: String::new(),
        }
    }

    fn take(&mut self, event: Event<'_>) -> Result<(), Fault> {
        let counts = matches!(self.frames.last(), Some(Frame::Text(_)));
        match event {
            Event::Start(start) => self.start(&start)?,
            Event::End(_) => self.end()?,
            Event::Text(text) if counts => self.text.push_str(&text.xml_content(XmlVersion::Implicit1_0)),
            Event::CData(text) if counts => self.text.push_str(&text.xml_content(XmlVersion::Implicit1_0)),
            Event::GeneralRef(reference) if counts => self.text.push_str(&resolved(&reference)?),
            Event::DocType(_) => return Err(Fault::Words("a document type is not read")),
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, start: &BytesStart<'_>) -> Result<(), Fault> {
        if self.frames.len() >= self.max_depth {
            return Err(Fault::TooDeep);
        }
        let name = start.local_name();
        let frame = match (self.frames.last(), name.as_ref()) {
            (None, "bom") => self.root(start)?,
            (None, _) => {
                let looks_like = "XML that is not CycloneDX; of SPDX ask for JSON, YAML or tag-value";
                return Err(SbomError::Unrecognised { looks_like }.into());
            }
            (Some(Frame::Bom), "metadata") => Frame::Metadata,
            (Some(Frame::Bom), "components") => self.list(),
            (Some(Frame::Metadata), "tools") | (Some(Frame::Tools), "components") => Frame::Tools,
            (Some(Frame::Metadata), "component") => Frame::Described,
            (Some(Frame::Tools), "tool" | "component") => Frame::Tool,
            (Some(Frame::Components), "component") => self.component(start)?,
            (Some(Frame::Component), "components") => {
                if let Some(component) = self.components.last_mut() {
                    component.before_nested(&mut self.bom)?;
                }
                self.list()
            }
            (Some(Frame::Component), "hashes") => Frame::Hashes,
            (Some(Frame::Component), "properties") => Frame::Properties,
            (Some(Frame::Component), "purl") => Frame::Text(Field::Purl),
            (Some(Frame::Component | Frame::Tool | Frame::Described), "name") => Frame::Text(Field::Name),
            (Some(Frame::Component | Frame::Tool), "version") => Frame::Text(Field::Version),
            (Some(Frame::Hashes), "hash") => self.with_attribute(start, "alg", Field::Hash)?,
            (Some(Frame::Properties), "property") => self.with_attribute(start, "name", Field::Property)?,
            (Some(Frame::Text(_)), _) => return Err(Fault::Words("an element inside a text")),
            _ => Frame::Ignored,
        };
        self.text.clear();
        self.frames.push(frame);
        Ok(())
    }

    fn root(&mut self, start: &BytesStart<'_>) -> Result<Frame, Fault> {
        if self.version.is_some() {
            return Err(Fault::Words("a second root element"));
        }
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|_error| Fault::Words("an attribute that is none, or comes twice"))?;
            let is_namespace = attribute.key.as_ref().starts_with("xmlns");
            if is_namespace && let Some(version) = attribute.value.strip_prefix(NAMESPACE) {
                self.version = Some(version.to_owned());
            }
        }
        match &self.version {
            Some(_) => Ok(Frame::Bom),
            None => Err(SbomError::Unrecognised { looks_like: "XML with a `bom` that is not CycloneDX's" }.into()),
        }
    }

    fn list(&mut self) -> Frame {
        self.positions.push(0);
        Frame::Components
    }

    fn component(&mut self, start: &BytesStart<'_>) -> Result<Frame, Fault> {
        let position = self.positions.last_mut().map_or(0, |next| std::mem::replace(next, *next + 1));
        let mut component = Component::begin(&mut self.bom, position);
        component.kind = attribute(start, "type")?.map(Cow::Owned);
        if component.kind.is_none() {
            return Err(Fault::Words("a component without a type"));
        }
        self.components.push(component);
        Ok(Frame::Component)
    }

    fn with_attribute(&mut self, start: &BytesStart<'_>, name: &str, field: Field) -> Result<Frame, Fault> {
        self.attribute = attribute(start, name)?.unwrap_or_default();
        Ok(Frame::Text(field))
    }

    fn end(&mut self) -> Result<(), Fault> {
        match self.frames.pop() {
            Some(Frame::Text(field)) => self.end_text(field),
            Some(Frame::Component) => match self.components.pop() {
                Some(component) if component.name.is_none() => Err(Fault::Words("a component without a name")),
                Some(component) => Ok(component.finish(&mut self.bom)?),
                None => Ok(()),
            },
            Some(Frame::Components) => {
                self.positions.pop();
                Ok(())
            }
            Some(Frame::Tool) => {
                let (name, version) = std::mem::take(&mut self.tool);
                self.bom.tool(name.as_deref(), version.as_deref());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn end_text(&mut self, field: Field) -> Result<(), Fault> {
        let text = std::mem::take(&mut self.text);
        match (self.frames.last(), field) {
            (Some(Frame::Described), _) => self.bom.name = text,
            (Some(Frame::Tool), Field::Name) => self.tool.0 = Some(text),
            (Some(Frame::Tool), _) => self.tool.1 = Some(text),
            _ => return self.end_field(field, text),
        }
        Ok(())
    }

    fn end_field(&mut self, field: Field, text: String) -> Result<(), Fault> {
        let Some(component) = self.components.last_mut() else { return Ok(()) };
        let slot = match field {
            Field::Name => &mut component.name,
            Field::Version => &mut component.version,
            Field::Purl => &mut component.purl,
            Field::Hash => return Ok(component.digest(&self.bom, &self.attribute, text.trim())?),
            Field::Property => {
                component.property(Some(&self.attribute), Some(Cow::Owned(text)));
                return Ok(());
            }
        };
        if slot.is_some() {
            return Err(Fault::Words("a name, version or purl given twice"));
        }
        *slot = Some(Cow::Owned(text));
        Ok(())
    }
}

fn attribute(start: &BytesStart<'_>, name: &str) -> Result<Option<String>, Fault> {
    let broken = || Fault::Words("an attribute that is none, or comes twice");
    let found = start.try_get_attribute(name).map_err(|_error| broken())?;
    let value = found.map(|found| found.normalized_value(XmlVersion::Implicit1_0)).transpose();
    Ok(value.map_err(|_error| broken())?.map(Cow::into_owned))
}

/// `&#38;` and `&amp;`.
fn resolved(reference: &BytesRef<'_>) -> Result<Cow<'static, str>, Fault> {
    let unknown = || Fault::Words("a reference to an entity that XML does not define");
    match reference.resolve_char_ref() {
        Ok(Some(character)) => Ok(Cow::Owned(character.to_string())),
        Ok(None) => resolve_xml_entity(reference).map(Cow::Borrowed).ok_or_else(unknown),
        Err(_) => Err(unknown()),
    }
}
