//! Digests, with their strength kept apart: only SHA-256 identifies content here.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::Digest as _;

/// A SHA-256 digest, 32 bytes. Shown and parsed as `sha256:<64 lower-case hex digits>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// Hashes `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// 64 lower-case hex digits, without the algorithm's name.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha256 {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let invalid = || InvalidDigest { algorithm: "sha256", value: text.chars().take(80).collect() };
        let digits = text.strip_prefix("sha256:").ok_or_else(invalid)?;
        decode(digits).map(Self).ok_or_else(invalid)
    }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Sha256 {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Sha256".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^sha256:[0-9a-f]{64}$" })
    }
}

/// A digest that is not the hex string its algorithm asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not a {algorithm} digest")]
pub struct InvalidDigest {
    /// Algorithm the digest was declared with.
    pub algorithm: &'static str,
    /// The value found, cut at 80 characters.
    pub value: String,
}

/// What an SBOM says about one file's content. Algorithms other than these three are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// The only one strong enough for `sbom-digest`.
    pub sha256: Option<Sha256>,
    /// Cross-check only.
    pub sha1: Option<[u8; 20]>,
    /// Cross-check only.
    pub md5: Option<[u8; 16]>,
}

impl Digests {
    /// Takes in one digest as SPDX (`SHA256`), CycloneDX (`SHA-256`) or Syft (`sha256`) spell it.
    ///
    /// Empty and all-zero values mean "not computed" to the generators that write them, and count as absent.
    pub(crate) fn add(&mut self, algorithm: &str, value: &str) -> Result<(), InvalidDigest> {
        if value.bytes().all(|digit| digit == b'0') {
            return Ok(());
        }
        let invalid = |algorithm| InvalidDigest { algorithm, value: value.chars().take(80).collect() };
        match algorithm.to_ascii_lowercase().as_str() {
            "sha256" | "sha-256" => {
                self.sha256 = Some(Sha256(decode(value).ok_or_else(|| invalid("sha256"))?));
            }
            "sha1" | "sha-1" => self.sha1 = Some(decode(value).ok_or_else(|| invalid("sha1"))?),
            "md5" => self.md5 = Some(decode(value).ok_or_else(|| invalid("md5"))?),
            _ => {}
        }
        Ok(())
    }

    /// Whether no digest is known.
    pub fn is_empty(&self) -> bool {
        self.sha256.is_none() && self.sha1.is_none() && self.md5.is_none()
    }
}

/// Exactly `2 * N` hex digits, or nothing.
pub(crate) fn decode<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    match hex::decode_to_slice(digits, &mut bytes) {
        Ok(()) => Some(bytes),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_round_trips() {
        let digest = Sha256::of(b"");
        let text = digest.to_string();
        assert_eq!(text, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(text.parse(), Ok(digest));
    }

    #[test]
    fn sha256_refuses_other_algorithms_and_lengths() {
        for text in ["", "sha256:", "sha256:00", "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709", "SHA256:é"] {
            assert!(text.parse::<Sha256>().is_err(), "{text}");
        }
    }

    #[test]
    fn zero_and_empty_digests_are_absent() {
        let mut digests = Digests::default();
        digests.add("SHA1", "0000000000000000000000000000000000000000").unwrap();
        digests.add("SHA-256", "").unwrap();
        digests.add("SHA512", "not looked at").unwrap();
        assert!(digests.is_empty());
    }

    #[test]
    fn a_malformed_digest_is_an_error_not_an_absence() {
        let error = Digests::default().add("SHA-256", "abc").unwrap_err();
        assert_eq!(error.to_string(), "`abc` is not a sha256 digest");
    }
}
