//! SBOM documents: SPDX 2.2 and 2.3, CycloneDX 1.2 to 1.7, Syft's own format, all as JSON.
//!
//! The readers are written by hand, as tolerant serde structures of the few fields that matter, because no published
//! crate reads what generators really emit: `cyclonedx-bom` refuses CycloneDX 1.6 and 1.7; `spdx-rs` and `serde-spdx`
//! refuse files without checksums (early Syft) or a purpose spelled `OPERATING-SYSTEM` (melange); none knows Syft's
//! format. Unknown fields and values are ignored; a wrong type, a malformed digest or a field given twice is an error.
//!
//! Links between elements are read as single edges and never followed further, so a cycle among them costs nothing.

mod assembly;
mod cyclonedx;
mod envelope;
mod error;
mod json;
mod spdx;
mod syft;

use std::fmt;

use serde::{Deserialize, Serialize, de::IgnoredAny};

pub use envelope::{Statement, Subject, Wrapping};
pub use error::{Place, SbomError};

use crate::{
    digest::{Digests, Sha256},
    limits::Limits,
};
use assembly::Assembly;
use envelope::Opened;

/// A document's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// SPDX 2.2 or 2.3 JSON.
    Spdx,
    /// CycloneDX JSON.
    #[serde(rename = "cyclonedx")]
    CycloneDx,
    /// Syft's native JSON.
    Syft,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spdx => "SPDX",
            Self::CycloneDx => "CycloneDX",
            Self::Syft => "Syft",
        })
    }
}

/// A document, reduced to what can stand behind a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sbom {
    /// The document's kind.
    pub format: Format,
    /// Version of the format, as the document states it: `2.3`, `1.6`, `16.0.18`.
    pub spec_version: String,
    /// What the document describes, in its own words; may be empty.
    pub name: String,
    /// The tools that wrote it, if stated.
    pub generator: Option<String>,
    /// Packages, in the document's order.
    pub packages: Vec<SbomPackage>,
    /// Files, in the document's order. One path may occur more than once: entries are alternatives.
    pub files: Vec<SbomFile>,
    /// File entries that were left out because their path can name no file of an image.
    pub rejected: RejectedPaths,
    /// SHA-256 of the bytes given, wrappings included.
    pub digest: Sha256,
    /// What the document was wrapped in, outermost first; empty if it was bare. No signature was checked.
    pub wrappings: Vec<Wrapping>,
    /// The in-toto statement around the document, if it had one.
    pub statement: Option<Statement>,
}

/// A package as the SBOM names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SbomPackage {
    /// Name.
    pub name: String,
    /// Version, if stated.
    pub version: Option<String>,
    /// Package URL, if stated; not validated.
    pub purl: Option<String>,
}

/// A file as the SBOM lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SbomFile {
    /// Relative to the image's root, without a leading slash; links are not resolved.
    pub path: String,
    /// Digests the document gives; empty if it gives none.
    pub digests: Digests,
    /// Index in [`Sbom::packages`] of the first package said to contain the file.
    pub package: Option<usize>,
}

/// File entries left out, such as `../../etc/passwd`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RejectedPaths {
    /// How many.
    pub count: usize,
    /// The first five, as shown to people.
    pub examples: Vec<String>,
}

/// Reads a document, whatever its format and whatever it is wrapped in: both are decided by content.
///
/// Either the whole document is taken in or nothing is. `bytes` may start with a UTF-8 byte order mark. Signatures of
/// envelopes are not checked.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Sbom, SbomError> {
    if bytes.len() > limits.max_bytes {
        return Err(SbomError::TooLarge { size: bytes.len(), limit: limits.max_bytes });
    }
    let mut opened = Opened::default();
    let contents = unwrapped(json::text(bytes)?, &mut opened, limits)?;
    Ok(Sbom {
        format: contents.format,
        spec_version: contents.spec_version,
        name: contents.name,
        generator: contents.generator,
        packages: contents.assembly.packages,
        files: contents.assembly.files,
        rejected: contents.assembly.rejected,
        digest: Sha256::of(bytes),
        wrappings: opened.wrappings,
        statement: opened.statement,
    })
}

/// What a format's reader makes of a document.
struct Contents {
    format: Format,
    spec_version: String,
    name: String,
    generator: Option<String>,
    assembly: Assembly,
}

/// Recurses once for each wrapping, of which there are four at most.
fn unwrapped(text: &str, opened: &mut Opened, limits: &Limits) -> Result<Contents, SbomError> {
    json::check_depth(text, limits.max_depth.min(Limits::DEEPEST))?;
    match detect(text)? {
        Content::Document(Format::Spdx) => spdx::parse(text, limits),
        Content::Document(Format::CycloneDx) => cyclonedx::parse(text, limits),
        Content::Document(Format::Syft) => syft::parse(text, limits),
        Content::Wrapped(wrapping) => {
            let inside = |error| SbomError::Inside { wrapping, source: Box::new(error) };
            let inner = opened.open(wrapping, text)?;
            unwrapped(&inner, opened, limits).map_err(inside)
        }
    }
}

/// What a text turns out to be.
#[derive(Clone, Copy)]
enum Content {
    Document(Format),
    Wrapped(Wrapping),
}

/// The top-level fields that tell documents and wrappings apart; their values do not matter here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    spdx_version: Option<IgnoredAny>,
    bom_format: Option<IgnoredAny>,
    artifacts: Option<IgnoredAny>,
    schema: Option<IgnoredAny>,
    #[serde(rename = "@context")]
    context: Option<IgnoredAny>,
    payload: Option<IgnoredAny>,
    payload_type: Option<IgnoredAny>,
    predicate_type: Option<IgnoredAny>,
    dsse_envelope: Option<IgnoredAny>,
    message_signature: Option<IgnoredAny>,
    #[serde(rename = "Data")]
    data: Option<IgnoredAny>,
}

fn detect(text: &str) -> Result<Content, SbomError> {
    match text.trim_start().chars().next() {
        Some('<') => return Err(SbomError::Unrecognised { looks_like: "XML; ask the generator for JSON" }),
        // serde would take a list for the fields in their order.
        Some('[') => return Err(SbomError::Unrecognised { looks_like: "a list; an SBOM is a JSON object" }),
        _ => {}
    }
    let probe: Probe = json::read(text)?;
    let found = [
        (probe.spdx_version.is_some(), Content::Document(Format::Spdx)),
        (probe.bom_format.is_some(), Content::Document(Format::CycloneDx)),
        (probe.artifacts.is_some() && probe.schema.is_some(), Content::Document(Format::Syft)),
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
            Err(SbomError::Unrecognised { looks_like: "JSON-LD, perhaps SPDX 3; ask the generator for SPDX 2.3" })
        }
        (None, _) => Err(SbomError::Unrecognised { looks_like: "some other JSON" }),
    }
}
