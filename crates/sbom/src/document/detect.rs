//! What a text is, by its content alone.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::{SbomError, envelope::Wrapping, json};

/// What a text turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    SpdxJson,
    SpdxJsonLd,
    SpdxYaml,
    SpdxTagValue,
    CycloneDxJson,
    CycloneDxXml,
    Syft,
    Wrapped(Wrapping),
}

/// The top-level fields that tell documents and wrappings apart; their values do not matter here, but for the context.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe<'a> {
    spdx_version: Option<IgnoredAny>,
    bom_format: Option<IgnoredAny>,
    artifacts: Option<IgnoredAny>,
    schema: Option<IgnoredAny>,
    #[serde(borrow, rename = "@context")]
    context: Option<&'a RawValue>,
    #[serde(rename = "@graph")]
    graph: Option<IgnoredAny>,
    payload: Option<IgnoredAny>,
    payload_type: Option<IgnoredAny>,
    predicate_type: Option<IgnoredAny>,
    dsse_envelope: Option<IgnoredAny>,
    message_signature: Option<IgnoredAny>,
    #[serde(rename = "Data")]
    data: Option<IgnoredAny>,
}

/// Tells by the first character, then by names that stand at the top.
pub(super) fn content(text: &str) -> Result<Content, SbomError> {
    match text.trim_start().bytes().next() {
        Some(b'<') => Ok(Content::CycloneDxXml),
        Some(b'[') => Err(SbomError::Unrecognised { looks_like: "a list; an SBOM is a JSON object" }),
        Some(b'{') | None => object(text),
        Some(_) => lines(text),
    }
}

/// A tag at the start of a line. Neither form can have the other's.
fn lines(text: &str) -> Result<Content, SbomError> {
    let starts =
        |line: &str, word: &str| line.strip_prefix(word).is_some_and(|rest| rest.trim_start().starts_with(':'));
    for line in text.lines() {
        if starts(line, "SPDXVersion") {
            return Ok(Content::SpdxTagValue);
        }
        if ["spdxVersion", "\"spdxVersion\"", "'spdxVersion'"].iter().any(|key| starts(line, key)) {
            return Ok(Content::SpdxYaml);
        }
    }
    // Whatever starts like JSON and is not gets JSON's error.
    match json::read::<IgnoredAny>(text) {
        Err(error @ SbomError::Truncated { .. }) => Err(error),
        _ => Err(SbomError::Unrecognised { looks_like: "text that is neither JSON, XML nor SPDX tag-value or YAML" }),
    }
}

fn object(text: &str) -> Result<Content, SbomError> {
    let probe: Probe<'_> = json::read(text)?;
    let is_spdx_context = probe.context.is_some_and(|context| context.get().contains("spdx"));
    let found = [
        (probe.spdx_version.is_some(), Content::SpdxJson),
        (is_spdx_context && probe.graph.is_some(), Content::SpdxJsonLd),
        (probe.bom_format.is_some(), Content::CycloneDxJson),
        (probe.artifacts.is_some() && probe.schema.is_some(), Content::Syft),
        (
            probe.dsse_envelope.is_some() || probe.message_signature.is_some(),
            Content::Wrapped(Wrapping::SigstoreBundle),
        ),
        (probe.payload.is_some() && probe.payload_type.is_some(), Content::Wrapped(Wrapping::Dsse)),
        (probe.predicate_type.is_some(), Content::Wrapped(Wrapping::Statement)),
        (probe.data.is_some(), Content::Wrapped(Wrapping::CosignPredicate)),
    ];
    let mut contents = found.into_iter().filter_map(|(present, content)| present.then_some(content));
    match (contents.next(), contents.next()) {
        (Some(content), None) => Ok(content),
        // Whoever verified the one must not be given the other.
        (Some(_), Some(_)) => Err(SbomError::Unrecognised { looks_like: "two formats at once" }),
        (None, _) if probe.context.is_some() => {
            Err(SbomError::Unrecognised { looks_like: "JSON-LD, but not SPDX 3 with its `@graph`" })
        }
        (None, _) => Err(SbomError::Unrecognised { looks_like: "some other JSON" }),
    }
}
