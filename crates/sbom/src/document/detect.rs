//! What a text is, by its content alone.

use serde::de::IgnoredAny;

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

/// Tells by the first character, then by names that stand at the top. JSON nested beyond `max_depth` is refused; readers
/// of the other forms count depth themselves.
pub(super) fn content(text: &str, max_depth: usize) -> Result<Content, SbomError> {
    match text.trim_start().bytes().next() {
        Some(b'<') => Ok(Content::CycloneDxXml),
        Some(b'[') => Err(SbomError::Unrecognised { looks_like: "a list; an SBOM is a JSON object" }),
        Some(b'{') | None => object(text, max_depth),
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

/// The outermost object's fields tell documents and wrappings apart.
fn object(text: &str, max_depth: usize) -> Result<Content, SbomError> {
    let fields = json::outline(text, max_depth)?;
    let has = |name: &str| fields.iter().any(|(field, _)| field == name);
    let is_spdx = fields.iter().any(|(field, value)| field == "@context" && value.contains("spdx"));
    let found = [
        (has("spdxVersion"), Content::SpdxJson),
        (is_spdx && has("@graph"), Content::SpdxJsonLd),
        (has("bomFormat"), Content::CycloneDxJson),
        (has("artifacts") && has("schema"), Content::Syft),
        (has("dsseEnvelope") || has("messageSignature"), Content::Wrapped(Wrapping::SigstoreBundle)),
        (has("payload") && has("payloadType"), Content::Wrapped(Wrapping::Dsse)),
        (has("predicateType"), Content::Wrapped(Wrapping::Statement)),
        (has("Data"), Content::Wrapped(Wrapping::CosignPredicate)),
    ];
    let mut contents = found.into_iter().filter_map(|(present, content)| present.then_some(content));
    match (contents.next(), contents.next()) {
        (Some(content), None) => Ok(content),
        // Whoever verified the one must not be given the other.
        (Some(_), Some(_)) => Err(SbomError::Unrecognised { looks_like: "two formats at once" }),
        (None, _) => {
            json::read::<IgnoredAny>(text)?;
            let json_ld = "JSON-LD, but not SPDX 3 with its `@graph`";
            Err(SbomError::Unrecognised { looks_like: if has("@context") { json_ld } else { "some other JSON" } })
        }
    }
}
