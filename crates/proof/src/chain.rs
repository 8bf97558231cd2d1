//! The chain: every event's bytes are hashed together with the link before them, so that a link stands for all of the past.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest as _, Sha256};

/// Bytes of a link.
pub const LINK_BYTES: usize = 32;

/// First bytes of what is hashed, so that none of the three can be taken for another.
const RECORD: [u8; 1] = [0];
const LINK: [u8; 1] = [1];
const START: &[u8] = b"\x02plimsoll chain 1";

/// The state of a chain between two events.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Link([u8; LINK_BYTES]);

impl Link {
    /// Before the first event of a numbering.
    pub fn start(node: &str, boot_id: &str, spool_id: &str) -> Self {
        let mut hash = Sha256::new_with_prefix(START);
        for name in [node, boot_id, spool_id] {
            // With its length, `a` and `bc` are not what `ab` and `c` are.
            hash.update((name.len() as u64).to_be_bytes());
            hash.update(name);
        }
        Self(hash.finalize().into())
    }

    /// After one more event; `record` is the event as it was sent.
    #[must_use]
    pub fn next(self, record: &[u8]) -> Self {
        let record = Sha256::new_with_prefix(RECORD).chain_update(record).finalize();
        let hash = Sha256::new_with_prefix(LINK).chain_update(self.0).chain_update(record);
        Self(hash.finalize().into())
    }

    /// `None` if there are not [`LINK_BYTES`] of them.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Link {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Link {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut bytes = [0; LINK_BYTES];
        let text = String::deserialize(deserializer)?;
        hex::decode_to_slice(text, &mut bytes).map_err(D::Error::custom)?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_what_the_document_says() {
        // Made with sha256sum from the words of docs/proof.md.
        let start = Link::start("node-1", "boot", "spool");
        assert_eq!(start.to_string(), "e81abaf6dac241a638e1ba763d0bf142136c705b8eb3204ae06f8167409d894d");
        assert_eq!(
            start.next(b"\x08\x01").to_string(),
            "557f17551e0cd14b31abe861382174a219b1187c536cef7e7e57e76be2fcce15"
        );
    }

    #[test]
    fn names_cannot_be_shifted_into_each_other() {
        assert_ne!(Link::start("a", "bc", "d"), Link::start("ab", "c", "d"));
        assert_ne!(Link::start("a", "b", ""), Link::start("a", "", "b"));
    }

    #[test]
    fn every_byte_and_the_order_matter() {
        let start = Link::start("n", "b", "s");
        assert_ne!(start.next(b"ab"), start.next(b"ac"));
        assert_ne!(start.next(b"a").next(b"b"), start.next(b"b").next(b"a"));
        assert_ne!(start.next(b"a").next(b"b"), start.next(b"ab"));
        assert_eq!(Link::from_bytes(start.as_bytes()), Some(start));
        assert_eq!(Link::from_bytes(&[0; 31]), None);
    }
}
