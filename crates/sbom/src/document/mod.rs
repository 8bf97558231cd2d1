//! SBOM documents: SPDX 2.2, 2.3 and 3.0, CycloneDX 1.2 to 1.7, Syft's own format, bare or wrapped.
//!
//! Syntax is left to `serde_json`, `serde-saphyr` and `quick-xml`. What the formats mean is read by hand, by tolerant
//! structures of the few fields that matter, because no published
//! crate reads what generators really emit: `cyclonedx-bom` refuses CycloneDX 1.6 and 1.7; `spdx-rs` and `serde-spdx`
//! refuse files without checksums (early Syft) or a purpose spelled `OPERATING-SYSTEM` (melange); none knows Syft's
//! format. Unknown fields and values are ignored; a wrong type, a malformed digest or a field given twice is an error.
//!
//! Links between elements are read as single edges and never followed further, so a cycle among them costs nothing.

mod assembly;
mod cyclonedx;
mod detect;
mod envelope;
mod error;
mod json;
mod links;
mod spdx;
mod stream;
mod syft;

use std::fmt;

use serde::Serialize;

pub use envelope::{Statement, Subject, Wrapping};
pub use error::{Place, SbomError};

use crate::{
    digest::{Digests, Sha256},
    limits::Limits,
};
use assembly::Assembly;
use detect::Content;
use envelope::Opened;

/// A document's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// Files, in the document's order, those nested in another file before it. One path may occur more than once: entries are alternatives.
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    let limits = &limits.within(bytes.len());
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
    let max_depth = limits.max_depth.min(Limits::DEEPEST);
    let limits = &Limits { max_depth, ..*limits };
    match detect::content(text, max_depth)? {
        Content::SpdxJson => spdx::two::json(text, limits),
        Content::SpdxJsonLd => spdx::three::json(text, limits),
        Content::SpdxYaml => spdx::yaml::read(text, limits),
        Content::SpdxTagValue => spdx::tag_value::read(text, limits),
        Content::CycloneDxJson => cyclonedx::json::read(text, limits),
        Content::CycloneDxXml => cyclonedx::xml::read(text, limits),
        Content::Syft => syft::read(text, limits),
        Content::Wrapped(wrapping) => {
            let inside = |error| SbomError::Inside { wrapping, source: Box::new(error) };
            let inner = opened.open(wrapping, text)?;
            unwrapped(&inner, opened, limits).map_err(inside)
        }
    }
}
