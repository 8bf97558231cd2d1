//! In-toto statements: which image a document is about.

use std::{borrow::Cow, collections::BTreeMap};

use plimsoll_sbom::Sha256;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{TrustError, shown};

/// Subjects of one statement.
const MAX_SUBJECTS: usize = 10_000;
const TYPES: [&str; 2] = ["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"];
/// Versions follow, as in `https://spdx.dev/Document/v2.3`.
const SBOM_PREDICATES: [&str; 4] =
    ["https://spdx.dev/Document", "https://cyclonedx.org/bom", "https://cyclonedx.org/schema", "https://syft.dev/bom"];

/// A statement whose predicate is still the bytes it came in.
#[derive(Debug)]
pub(crate) struct Statement<'a> {
    pub(crate) predicate_type: Cow<'a, str>,
    pub(crate) subjects: Vec<Sha256>,
    predicate: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    #[serde(rename = "_type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default)]
    subject: Vec<WireSubject>,
    #[serde(borrow)]
    predicate_type: Cow<'a, str>,
    #[serde(borrow)]
    predicate: &'a RawValue,
}

#[derive(Deserialize)]
struct WireSubject {
    #[serde(default)]
    digest: BTreeMap<String, String>,
}

/// What early `cosign` versions put around a predicate.
#[derive(Deserialize)]
struct CosignData<'a> {
    #[serde(rename = "Data", borrow)]
    data: &'a RawValue,
}

impl<'a> Statement<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, TrustError> {
        let wire: Wire<'a> = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        if !TYPES.contains(&&*wire.kind) {
            return Err(malformed(format!("its type is `{}`", wire.kind.chars().take(80).collect::<String>())));
        }
        if wire.subject.len() > MAX_SUBJECTS {
            return Err(malformed(format!("{} subjects, the limit is {MAX_SUBJECTS}", wire.subject.len())));
        }
        let digest = |subject: &WireSubject| format!("sha256:{}", subject.digest.get("sha256")?).parse().ok();
        Ok(Self {
            subjects: wire.subject.iter().filter_map(digest).collect(),
            predicate_type: wire.predicate_type,
            predicate: wire.predicate.get(),
        })
    }

    /// The one of `image`'s digests that the statement is about.
    pub(crate) fn about(&self, image: &[Sha256]) -> Result<Sha256, TrustError> {
        let found = image.iter().find(|digest| self.subjects.contains(digest));
        found.copied().ok_or_else(|| TrustError::OtherSubject { image: shown(image), subjects: shown(&self.subjects) })
    }

    pub(crate) fn is_sbom(&self) -> bool {
        let is =
            |prefix: &&str| self.predicate_type.strip_prefix(*prefix).is_some_and(|rest| !rest.starts_with(is_word));
        SBOM_PREDICATES.iter().any(is)
    }

    /// The document itself: the predicate, the text in it, or what is in its `Data`.
    pub(crate) fn document(&self) -> Result<Vec<u8>, TrustError> {
        let inner = match serde_json::from_str::<CosignData<'a>>(self.predicate) {
            Ok(cosign) => cosign.data.get(),
            Err(_no_such_field) => self.predicate,
        };
        if inner.starts_with('"') {
            let text: String = serde_json::from_str(inner).map_err(|error| malformed(error.to_string()))?;
            return Ok(text.into_bytes());
        }
        Ok(inner.as_bytes().to_vec())
    }

    /// The predicate as it stands there.
    pub(crate) fn predicate(&self) -> &'a str {
        self.predicate
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric()
}

fn malformed(reason: String) -> TrustError {
    TrustError::Malformed { what: "in-toto statement", reason }
}
