//! An allowlist compiled away from the node: the evidence behind every file of one image, by path and digest.
//!
//! It travels as the predicate of an in-toto statement about the image, in a DSSE envelope: what finds, carries and checks
//! attestations finds, carries and checks allowlists. The predicate has one encoding only: JSON without spaces, fields in
//! the order below, files sorted by path. A reader writes it again and compares, so two different texts never mean the
//! same list.

use std::collections::HashMap;

use plimsoll_sbom::{EvidenceClass, ExecKind, Gap, Inventory, InventoryFile, Listing, PackageRef, Sha256};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    envelope::{IN_TOTO, seal},
    key::{KeyError, SigningKey},
    memory::{Memory, MemoryError, Seen},
};

/// Names the predicate.
pub(crate) const PREDICATE_TYPE: &str = "https://plimsoll.dev/allowlist/v1";
/// Files of one list.
const MAX_FILES: usize = 1_000_000;

/// Why an allowlist cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AllowlistError {
    /// Not the predicate's JSON.
    #[error("it cannot be read: {0}")]
    Malformed(String),
    /// Spaces, another order, or anything else a writer of allowlists does not write.
    #[error("it is not in its canonical encoding; it was written by something else, or changed")]
    NotCanonical,
    /// More than allowed.
    #[error("it lists {0} files, the limit is {MAX_FILES}")]
    TooManyFiles(usize),
    /// Two entries for a path, or entries out of order.
    #[error("its files are not sorted by path, each once: `{0}`")]
    Order(String),
    /// It could not be written.
    #[error("it cannot be written: {0}")]
    Encode(String),
    /// It could not be signed.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// The evidence behind every exec-capable file of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Allowlist {
    /// Counted by whoever compiles; a node that has seen a higher one for the image refuses this one.
    pub version: u64,
    /// SHA-256 of the SBOM document.
    pub sbom: Sha256,
    /// Who signed that SBOM, if the compiler checked.
    pub sbom_signer: Option<String>,
    /// Sorted by path.
    pub files: Vec<AllowlistFile>,
}

/// One exec-capable file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AllowlistFile {
    /// Where it lies in the image, as `plimsoll sbom allowlist` writes it.
    pub path: String,
    /// Its content.
    pub sha256: Sha256,
    /// How it would run.
    pub kind: ExecKind,
    /// As in [`InventoryFile::evidence`].
    pub evidence: Option<EvidenceClass>,
    /// As in [`InventoryFile::gap`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub gap: Option<Gap>,
    /// As in [`InventoryFile::package`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub package: Option<PackageRef>,
}

/// How an allowlist fits the files of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    /// Files whose content is the list's.
    pub bound: usize,
    /// Files of the node that the list does not know: `layer-only`.
    pub unknown: usize,
    /// Files with other content than the list's: never allowed as they are.
    pub changed: usize,
    /// Files of the list that the node does not have.
    pub absent: usize,
}

impl Allowlist {
    /// What `inventory` says, without what is true on one node only.
    pub fn of(inventory: &Inventory, version: u64, sbom_signer: Option<String>) -> Self {
        let file = |file: &InventoryFile| AllowlistFile {
            path: file.path.clone(),
            sha256: file.sha256,
            kind: file.kind,
            evidence: file.evidence,
            gap: file.gap.clone(),
            package: file.package.clone(),
        };
        let mut files: Vec<_> = inventory.files.iter().map(file).collect();
        files.sort_by(|left, right| left.path.cmp(&right.path));
        Self { version, sbom: inventory.sbom_digest, sbom_signer, files }
    }

    /// The canonical encoding.
    pub fn encode(&self) -> Result<Vec<u8>, AllowlistError> {
        serde_json::to_vec(self).map_err(|error| AllowlistError::Encode(error.to_string()))
    }

    /// Reads the canonical encoding and nothing else.
    pub fn read(text: &str) -> Result<Self, AllowlistError> {
        let list: Self = serde_json::from_str(text).map_err(|error| AllowlistError::Malformed(error.to_string()))?;
        if list.files.len() > MAX_FILES {
            return Err(AllowlistError::TooManyFiles(list.files.len()));
        }
        let unsorted = list.files.windows(2).find_map(|pair| match pair {
            [first, second] if first.path >= second.path => Some(second.path.clone()),
            _ => None,
        });
        if let Some(path) = unsorted {
            return Err(AllowlistError::Order(path));
        }
        if list.encode()? != text.as_bytes() {
            return Err(AllowlistError::NotCanonical);
        }
        Ok(list)
    }

    /// Refuses the list if `memory` has seen a newer one for the image, else remembers its version.
    pub fn remember(&self, image: Sha256, memory: &mut Memory) -> Result<Seen, MemoryError> {
        let digest = Sha256::of(&self.encode().map_err(|error| MemoryError::Encode(error.to_string()))?);
        memory.accept(&format!("the allowlist of {image}"), self.version, digest)
    }

    /// The signed statement that the image with digest `image` has this allowlist.
    pub fn sign(&self, image: Sha256, key: &SigningKey) -> Result<Vec<u8>, AllowlistError> {
        Ok(seal(IN_TOTO, &self.statement(image)?, key)?)
    }

    /// The statement without a signature.
    pub fn statement(&self, image: Sha256) -> Result<Vec<u8>, AllowlistError> {
        let subject = json!([{ "name": "image", "digest": { "sha256": image.hex() } }]);
        let predicate = String::from_utf8(self.encode()?).map_err(|error| AllowlistError::Encode(error.to_string()))?;
        // Put together as text: the predicate must stay byte for byte what was encoded.
        Ok(format!(
            r#"{{"_type":"https://in-toto.io/Statement/v1","subject":{subject},"predicateType":"{PREDICATE_TYPE}","predicate":{predicate}}}"#
        )
        .into_bytes())
    }

    /// Binds the list to the files of a node: what has the list's content has its evidence, what has other content has
    /// none, what the list does not know is `layer-only`.
    pub fn bind(&self, listing: &Listing) -> (Inventory, Binding) {
        let by_path: HashMap<&str, &AllowlistFile> = self.files.iter().map(|file| (file.path.as_str(), file)).collect();
        let mut binding = Binding::default();
        let inventory = plimsoll_sbom::inventory_by(listing, self.sbom, |path, exec| match by_path.get(path) {
            Some(file) if file.sha256 == exec.sha256 => {
                binding.bound += 1;
                (file.evidence, file.gap.clone(), file.package.clone())
            }
            Some(file) => {
                binding.changed += 1;
                let gap = Gap::Mismatch { expected: file.sha256.to_string(), by: plimsoll_sbom::MismatchSource::Sbom };
                (None, Some(gap), file.package.clone())
            }
            None => {
                binding.unknown += 1;
                (Some(EvidenceClass::LayerOnly), Some(Gap::Undeclared), None)
            }
        });
        binding.absent = self.files.len().saturating_sub(binding.bound + binding.changed);
        (inventory, binding)
    }
}
