//! Wrappings around a document, opened from the outside in: sigstore bundle, DSSE envelope, in-toto Statement, and the
//! `{Data}` object that early cosign put between statement and document.
//!
//! Each may be missing, none comes twice, and their order is fixed, so nesting ends. Nothing is verified here: whoever
//! trusts a signature checks it over the very bytes that this module reads.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    error::SbomError,
    json::{self, List},
};
use crate::digest::{Sha256, decode};

/// Subjects of one statement; real ones have as many as an image has platforms.
const MAX_SUBJECTS: usize = 10_000;

/// What a document can be wrapped in, outermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Wrapping {
    /// A sigstore bundle, version 0.1 to 0.3, with a DSSE envelope in it.
    SigstoreBundle,
    /// A DSSE envelope: a signed payload in base64.
    Dsse,
    /// An in-toto Statement, version 0.1 or 1.
    Statement,
    /// cosign's own predicate `{Data, Timestamp}`.
    CosignPredicate,
}

impl fmt::Display for Wrapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SigstoreBundle => "sigstore bundle",
            Self::Dsse => "DSSE envelope",
            Self::Statement => "in-toto statement",
            Self::CosignPredicate => "cosign predicate",
        })
    }
}

/// An in-toto Statement without its predicate. As true as its signature, which is not checked here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Statement {
    /// Such as `https://spdx.dev/Document`.
    pub predicate_type: String,
    /// What the document is about: for an image, its manifest.
    pub subjects: Vec<Subject>,
}

impl Statement {
    /// Whether one of the subjects has this SHA-256.
    pub fn names(&self, digest: &Sha256) -> bool {
        self.subjects.iter().any(|subject| subject.sha256().as_ref() == Some(digest))
    }
}

/// One subject of a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Subject {
    /// Image or file name; may be empty.
    pub name: String,
    /// Algorithm, as in `sha256`, to hex digits; not validated.
    pub digests: BTreeMap<String, String>,
}

impl Subject {
    /// The SHA-256, if it is given and is one.
    pub fn sha256(&self) -> Option<Sha256> {
        self.digests.get("sha256").and_then(|digits| decode(digits)).map(Sha256)
    }
}

/// What was taken off a document so far.
#[derive(Debug, Default)]
pub(super) struct Opened {
    pub(super) wrappings: Vec<Wrapping>,
    pub(super) statement: Option<Statement>,
}

impl Opened {
    /// Takes one wrapping off and answers what was in it.
    pub(super) fn open<'a>(&mut self, wrapping: Wrapping, text: &'a str) -> Result<Cow<'a, str>, SbomError> {
        let outer = self.wrappings.last().copied();
        let in_order = match wrapping {
            Wrapping::CosignPredicate => outer == Some(Wrapping::Statement),
            _ => outer.is_none_or(|outer| outer < wrapping),
        };
        if !in_order {
            return Err(SbomError::Unrecognised {
                looks_like: "an envelope in an envelope of the same or an inner kind",
            });
        }
        self.wrappings.push(wrapping);
        match wrapping {
            Wrapping::SigstoreBundle => bundle(text).map(Cow::Borrowed),
            Wrapping::Dsse => payload(text).map(Cow::Owned),
            Wrapping::Statement => self.statement(text),
            Wrapping::CosignPredicate => value(json::read::<CosignPredicate<'_>>(text)?.data),
        }
    }

    fn statement<'a>(&mut self, text: &'a str) -> Result<Cow<'a, str>, SbomError> {
        let statement: RawStatement<'a> = json::read(text)?;
        if statement.subject.0.len() > MAX_SUBJECTS {
            return Err(SbomError::TooMany { what: "subjects", limit: MAX_SUBJECTS });
        }
        let subjects = statement.subject.0.into_iter().map(|subject| Subject {
            name: subject.name.map(Cow::into_owned).unwrap_or_default(),
            digests: subject.digest.unwrap_or_default(),
        });
        self.statement =
            Some(Statement { predicate_type: statement.predicate_type.into_owned(), subjects: subjects.collect() });
        value(statement.predicate)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle<'a> {
    #[serde(borrow)]
    dsse_envelope: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    payload: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawStatement<'a> {
    #[serde(borrow)]
    predicate_type: Cow<'a, str>,
    #[serde(borrow, default)]
    subject: List<RawSubject<'a>>,
    #[serde(borrow)]
    predicate: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawSubject<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    digest: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct CosignPredicate<'a> {
    #[serde(borrow, rename = "Data")]
    data: Option<&'a RawValue>,
}

fn bundle(text: &str) -> Result<&str, SbomError> {
    let bundle: Bundle<'_> = json::read(text)?;
    let signed_digest =
        SbomError::Unrecognised { looks_like: "a sigstore bundle that holds no document, only a signature" };
    bundle.dsse_envelope.map(RawValue::get).ok_or(signed_digest)
}

/// Both base64 alphabets occur, with and without padding.
fn payload(text: &str) -> Result<String, SbomError> {
    let envelope: Envelope<'_> = json::read(text)?;
    let alphabet = if envelope.payload.contains(['-', '_']) { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
    let padding = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = GeneralPurpose::new(alphabet, padding).decode(&*envelope.payload).map_err(SbomError::Payload)?;
    json::text(&bytes)?;
    String::from_utf8(bytes).map_err(|error| SbomError::NotUtf8 { offset: error.utf8_error().valid_up_to(), line: 1 })
}

/// A document as it is, or as the text of a string.
fn value(raw: Option<&RawValue>) -> Result<Cow<'_, str>, SbomError> {
    let Some(raw) = raw.map(RawValue::get) else {
        return Err(SbomError::Unrecognised { looks_like: "an in-toto statement without a predicate" });
    };
    if raw.starts_with('"') { json::read::<Cow<'_, str>>(raw) } else { Ok(Cow::Borrowed(raw)) }
}
