use std::fmt;

use super::envelope::Wrapping;
use crate::digest::InvalidDigest;

/// A point in a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in bytes, from 1; 0 at the end of the document's last line.
    pub column: usize,
    /// JSON path such as `files[3].checksums`, if the value belongs to one.
    pub path: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)?;
        match &self.path {
            Some(path) => write!(f, ", at `{path}`"),
            None => Ok(()),
        }
    }
}

/// Why a document was refused. Nothing of it is used then.
#[derive(Debug, thiserror::Error)]
pub enum SbomError {
    /// More bytes than allowed.
    #[error("document of {size} bytes is larger than the limit of {limit}")]
    TooLarge {
        /// Bytes found.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not text.
    #[error("document is not UTF-8: byte {offset} (line {line}) starts no character")]
    NotUtf8 {
        /// Offset of the first wrong byte, from 0.
        offset: usize,
        /// Line it is on, from 1.
        line: usize,
    },
    /// Arrays and objects inside one another beyond the limit.
    #[error("{place}: nested deeper than {limit} levels")]
    TooDeep {
        /// Where the limit was passed.
        place: Place,
        /// Levels allowed.
        limit: usize,
    },
    /// The text stops inside a value.
    #[error("{place}: the document ends too early; it may have been cut off")]
    Truncated {
        /// The end.
        place: Place,
    },
    /// Not JSON, or a field that matters has the wrong type or comes twice.
    #[error("{place}: {reason}")]
    Malformed {
        /// Where.
        place: Place,
        /// What the JSON reader expected or found.
        reason: String,
    },
    /// None of the formats.
    #[error("no SBOM that can be read: looks like {looks_like}")]
    Unrecognised {
        /// What it may be, and what to do.
        looks_like: &'static str,
    },
    /// A version this reader does not know.
    #[error("{format} version `{version}` is not supported; supported: {supported}")]
    UnsupportedVersion {
        /// The format's name.
        format: &'static str,
        /// Version found.
        version: String,
        /// Versions that are read.
        supported: &'static str,
    },
    /// More entries than allowed.
    #[error("more than {limit} {what}")]
    TooMany {
        /// `files` or `packages`.
        what: &'static str,
        /// Entries allowed.
        limit: usize,
    },
    /// A digest whose value cannot be one. It is not taken for "no digest", which would weaken the evidence.
    #[error("`{path}`: {source}")]
    Digest {
        /// JSON path of the entry.
        path: String,
        /// What is wrong.
        source: InvalidDigest,
    },
    /// An envelope's payload that is not what envelopes hold.
    #[error("`payload` is not base64: {0}")]
    Payload(base64::DecodeError),
    /// The fault lies in what an envelope holds; places are counted from the start of that.
    #[error("inside the {wrapping}: {source}")]
    Inside {
        /// What the envelope is.
        wrapping: Wrapping,
        /// What is wrong with its content.
        source: Box<SbomError>,
    },
}
