//! Stored events in a file that can be checked without a collector: one JSON object a line, each with a checksum, so that
//! damage is found where it is. The checksum is no proof, anyone can make one; the chain and the signatures are.

mod verify;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use plimsoll_proto::limits;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::Link;

pub use self::verify::{Broken, Coverage, Fault, MAX_CHAIN, Place, Report, Signed, Verifier};

/// Version of the format.
pub const VERSION: u32 = 1;
/// Bytes of a line; more is no line of an export.
pub const LINE_BYTES: usize = 4 * limits::EVENT_BYTES;
/// Between a line's content and its checksum.
const SUM: &str = ",\"crc32\":\"";

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    Export(Head),
    /// What follows is of this numbering.
    Numbering(Numbering),
    /// Numbers that the file has no events of.
    Gap(Gap),
    /// The next event begins here; only at the start of a numbering and behind a gap.
    From(From),
    Event(Event),
    /// Certificates that checkpoints further down name.
    Certificates(Certificates),
    Checkpoint(Checkpoint),
    /// What a node has counted as lost.
    Loss(Loss),
    End(End),
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    pub version: u32,
    pub exported_unix_ns: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numbering {
    pub node: String,
    pub boot_id: String,
    pub spool_id: String,
    /// The highest number that is known of.
    pub last_sequence: u64,
    /// Whether the agent kept a chain.
    pub chained: bool,
}

/// Both ends are included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    pub first: u64,
    pub last: u64,
    pub cause: Cause,
}

/// Why there are no events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The oldest ones: the collector keeps only so many.
    Retention,
    /// The node has counted as many stretches of its spool as lost.
    SpoolCorrupt,
    /// They never came, and nobody says why.
    Missing,
    /// They came, and the collector refused them for good.
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct From {
    pub sequence: u64,
    /// The link before it.
    pub chain: Option<Link>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    pub sequence: u64,
    /// The event as the node sent it.
    pub record: Binary,
    /// The link after it.
    pub chain: Option<Link>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificates {
    /// In DER, the node's own first.
    pub chain: Vec<Binary>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    pub statement: Binary,
    pub scheme: u32,
    pub signature: Binary,
    /// SHA-256 of the certificate whose key signed, in hexadecimal.
    pub certificate: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    pub node: String,
    pub cause: String,
    pub count: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Lines, this one too.
    pub lines: u64,
}

/// Bytes, written as base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary(pub Vec<u8>);

impl Serialize for Binary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(D::Error::custom)
    }
}

impl Line {
    /// The line with its checksum and its end.
    pub fn write(&self, into: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        let start = into.len();
        serde_json::to_writer(&mut *into, self)?;
        // Every line is an object: what it ends with is moved behind the checksum.
        into.pop();
        let sum = crc32fast::hash(into.get(start..).unwrap_or_default());
        into.extend_from_slice(format!("{SUM}{sum:08x}\"}}\n").as_bytes());
        Ok(())
    }

    /// Reads a line without its end.
    pub fn read(line: &[u8]) -> Result<Self, Fault> {
        let text = std::str::from_utf8(line).map_err(|_not_text| Fault::Damaged)?;
        let (content, sum) = text.rsplit_once(SUM).ok_or(Fault::Damaged)?;
        let expected = crc32fast::hash(content.as_bytes());
        if sum != format!("{expected:08x}\"}}") {
            return Err(Fault::Damaged);
        }
        serde_json::from_str(&format!("{content}}}")).map_err(Fault::NoLine)
    }
}
