//! Where an image's SBOM comes from: a directory, the image itself, its registry, in the order that is configured.
//!
//! The first place that has anything decides. What lies there and may not be used is an error, never a reason to look
//! further: an attacker who can spoil one place must not choose another. Signatures are checked here, before anything
//! is parsed; parsing is the [`super::parser`]'s.

mod choose;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use plimsoll_policy::{SbomTrust, SignedBy};
use plimsoll_registry::{Client, Document, Platform, Reference, RegistryError};
use plimsoll_rootfs::{RootfsError, Tree, embedded_sboms};
use plimsoll_sbom::{EvidenceClass, Sha256};
use plimsoll_trust::{
    Allowlist, IdentityPattern, KeyError, MAX_DOCUMENT, Memory, MemoryError, Proof, PublicKey, Root, RootError, Signer,
    Trust, TrustError,
};
use serde::Deserialize;

use choose::{choose, unsigned};

/// Bytes of all SBOMs inside an image.
const MAX_EMBEDDED: u64 = 256 << 20;
const MAX_KEY: u64 = 64 << 10;
const MAX_ROOT: u64 = 4 << 20;

/// A place to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// Files named by the image's digest: `sha256-<digest>.json`, or `sha256-<digest>.allowlist.json`.
    Directory,
    /// The image's own `/var/lib/db/sbom`, `/usr/share/sbom` and their like.
    Image,
    /// What is attached to the image in its registry.
    Registry,
}

/// Why an image has no SBOM that may be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("no SBOM for image `{digest}`: {tried}; put the image's SBOM into one of these places")]
    Nothing { digest: Sha256, tried: String },
    #[error("cannot read `{path}`")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{place}: this SBOM may not be used")]
    Untrusted {
        place: String,
        #[source]
        source: TrustError,
    },
    #[error("{place}: this allowlist may not be used")]
    Version {
        place: String,
        #[source]
        source: MemoryError,
    },
    #[error("{place}: a compiled allowlist counts only if a signer of the policy's `sbom.signedBy` signed it")]
    UnsignedAllowlist { place: String },
    #[error("the image's registry gives no SBOM")]
    Registry(#[from] RegistryError),
    #[error("the image's reference `{0}` cannot be read, so its registry cannot be asked")]
    Reference(String),
    #[error("key `{path}`, which the policy names, cannot be used")]
    Key {
        path: PathBuf,
        #[source]
        source: KeyError,
    },
    #[error("trust root `{path}` cannot be used")]
    Root {
        path: PathBuf,
        #[source]
        source: RootError,
    },
    #[error("the policy names an identity, and no `trust.root` is configured to check certificates against")]
    NoRoot,
    #[error("the policy's identity `{0}` has a `*` that is not at its end")]
    Identity(String),
    #[error("cannot read SBOMs inside the image")]
    Rootfs(#[from] RootfsError),
}

/// What was found and may be used.
#[derive(Debug)]
pub struct Sourced {
    /// What it is.
    pub evidence: Evidence,
    /// Who signed it, of those the policy accepts.
    pub signer: Option<String>,
    /// The strongest evidence it may give.
    pub cap: EvidenceClass,
    /// Where it was, for people.
    pub place: String,
}

/// A list that needs no parsing, or documents that do.
#[derive(Debug)]
pub enum Evidence {
    /// Compiled elsewhere, signed, and not rolled back.
    Allowlist(Box<Allowlist>),
    /// SBOMs.
    Documents(Vec<Vec<u8>>),
}

impl Sourced {
    /// Equal only if the same evidence follows.
    pub fn identity(&self) -> Sha256 {
        let mut parts = vec![self.cap.name().as_bytes().to_vec()];
        match &self.evidence {
            Evidence::Allowlist(list) => {
                parts.push(b"allowlist".to_vec());
                parts.extend(list.files.iter().map(|file| format!("{file:?}").into_bytes()));
                parts.push(list.sbom.0.to_vec());
            }
            Evidence::Documents(documents) => {
                parts.extend(documents.iter().map(|document| Sha256::of(document).0.to_vec()));
            }
        }
        Sha256::of(&parts.iter().map(|part| Sha256::of(part).0).collect::<Vec<_>>().concat())
    }
}

/// Where everything is.
#[derive(Debug)]
pub struct Places {
    /// Places in their order.
    pub order: Vec<Source>,
    /// SBOMs by image digest.
    pub directory: PathBuf,
    /// `<name>.pub` for each key that policies name.
    pub keys: PathBuf,
    /// Sigstore's `trusted_root.json`.
    pub root: Option<PathBuf>,
    /// Remembers versions of allowlists.
    pub memory: PathBuf,
}

/// Looks for SBOMs.
#[derive(Debug)]
pub struct Sources {
    places: Places,
    registry: Option<Client>,
    /// One at a time: it is a file.
    memory: Mutex<()>,
}

/// A document and its name.
struct Found {
    place: String,
    bytes: Vec<u8>,
    annotations: BTreeMap<String, String>,
}

impl From<Document> for Found {
    fn from(document: Document) -> Self {
        Self {
            place: format!("registry, {} {}", document.origin, document.digest),
            bytes: document.bytes,
            annotations: document.annotations,
        }
    }
}

impl Sources {
    /// `registry` is needed if the order names it.
    pub fn new(places: Places, registry: Option<Client>) -> Self {
        Self { places, registry, memory: Mutex::new(()) }
    }

    /// What `policy` lets be used for the image. `tree` gives its files, if they are asked for.
    pub fn find<'t>(
        &self,
        image: Sha256,
        reference: Option<&str>,
        policy: &SbomTrust,
        tree: &dyn Fn() -> Result<&'t Tree, RootfsError>,
    ) -> Result<Sourced, SourceError> {
        let trust = self.trust(policy)?;
        let mut tried = Vec::new();
        for source in &self.places.order {
            let found = match source {
                Source::Directory => self.in_directory(image, policy, &trust, &mut tried)?,
                Source::Image => in_image(tree()?, policy, &trust, &mut tried)?,
                Source::Registry => self.in_registry(image, reference, policy, &trust, &mut tried)?,
            };
            if let Some(found) = found {
                return self.never_rolled_back(image, found);
            }
        }
        Err(SourceError::Nothing { digest: image, tried: tried.join("; ") })
    }

    fn in_directory(
        &self,
        image: Sha256,
        policy: &SbomTrust,
        trust: &Trust,
        tried: &mut Vec<String>,
    ) -> Result<Option<Sourced>, SourceError> {
        let name = image.to_string().replace(':', "-");
        for ending in ["allowlist.json", "json"] {
            let path = self.places.directory.join(format!("{name}.{ending}"));
            match read(&path, MAX_DOCUMENT as u64)? {
                Some(bytes) => {
                    let place = path.display().to_string();
                    return choose(vec![Found { place, bytes, annotations: BTreeMap::new() }], &[image], policy, trust)
                        .map(Some);
                }
                None => tried.push(format!("`{}` does not exist", path.display())),
            }
        }
        Ok(None)
    }

    /// What is kept comes first, so that containers start without the registry; what is kept and may not be used is asked
    /// for again, since it may have been signed anew.
    fn in_registry(
        &self,
        image: Sha256,
        reference: Option<&str>,
        policy: &SbomTrust,
        trust: &Trust,
        tried: &mut Vec<String>,
    ) -> Result<Option<Sourced>, SourceError> {
        let Some(client) = &self.registry else { return Ok(None) };
        let Some(text) = reference else {
            tried.push("the container carries no image reference, so no registry can be asked".to_owned());
            return Ok(None);
        };
        let Ok(reference) = text.parse::<Reference>() else {
            return Err(SourceError::Reference(text.chars().take(200).collect()));
        };
        let platform = Platform::here();
        if let Some(kept) = client.cached(image, &platform)? {
            let documents = kept.documents.into_iter().map(Found::from).collect();
            match choose(documents, &kept.subjects, policy, trust) {
                Ok(sourced) => return Ok(Some(sourced)),
                Err(error) => tracing::info!(%image, %error, "what is kept may not be used; the registry is asked"),
            }
        }
        match client.fetch(&reference, image, &platform) {
            Ok(found) => {
                let documents = found.documents.into_iter().map(Found::from).collect();
                choose(documents, &found.subjects, policy, trust).map(Some)
            }
            Err(error @ RegistryError::Nothing { .. }) => {
                tried.push(error.to_string());
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn never_rolled_back(&self, image: Sha256, found: Sourced) -> Result<Sourced, SourceError> {
        if let Evidence::Allowlist(list) = &found.evidence {
            let _one_at_a_time = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            let remembered = Memory::open(&self.places.memory).and_then(|mut memory| list.remember(image, &mut memory));
            remembered.map_err(|source| SourceError::Version { place: found.place.clone(), source })?;
        }
        Ok(found)
    }

    fn trust(&self, policy: &SbomTrust) -> Result<Trust, SourceError> {
        let signers = policy.signed_by.iter().map(|signer| self.signer(signer)).collect::<Result<Vec<_>, _>>()?;
        let needs_root = policy.signed_by.iter().any(|signer| matches!(signer, SignedBy::Identity { .. }));
        let root = match (&self.places.root, needs_root) {
            (_, false) => None,
            (None, true) => return Err(SourceError::NoRoot),
            (Some(path), true) => {
                let text = text(path, MAX_ROOT)?;
                let root = Root::from_json(&text);
                Some(root.map_err(|source| SourceError::Root { path: path.clone(), source })?)
            }
        };
        Ok(Trust::new(signers, root))
    }

    fn signer(&self, signer: &SignedBy) -> Result<Signer, SourceError> {
        match signer {
            SignedBy::Key(name) => {
                let path = self.places.keys.join(format!("{name}.pub"));
                let key = PublicKey::from_pem(&text(&path, MAX_KEY)?);
                let key = key.map_err(|source| SourceError::Key { path, source })?;
                Ok(Signer { name: name.clone(), proof: Proof::Key(key) })
            }
            SignedBy::Identity { identity, issuer } => {
                let pattern = IdentityPattern::new(identity).ok_or_else(|| SourceError::Identity(identity.clone()))?;
                let proof = Proof::Identity { identity: pattern, issuer: issuer.clone() };
                Ok(Signer { name: identity.clone(), proof })
            }
        }
    }
}

fn in_image(
    tree: &Tree,
    policy: &SbomTrust,
    trust: &Trust,
    tried: &mut Vec<String>,
) -> Result<Option<Sourced>, SourceError> {
    let embedded = embedded_sboms(&mut tree.files(), &tree.listing, MAX_EMBEDDED)?;
    let Some(first) = embedded.first() else {
        tried.push("the image has none in /var/lib/db/sbom or /usr/share/sbom".to_owned());
        return Ok(None);
    };
    let place = format!("inside the image, {} and {} more", first.path, embedded.len() - 1);
    let cap = unsigned(policy, || (place.clone(), TrustError::Unsigned { asked: trust.asked() }))?;
    let documents = embedded.into_iter().map(|sbom| sbom.bytes).collect();
    Ok(Some(Sourced { evidence: Evidence::Documents(documents), signer: None, cap, place }))
}

fn text(path: &Path, limit: u64) -> Result<String, SourceError> {
    let failed = |source| SourceError::Read { path: path.to_owned(), source };
    let bytes = read(path, limit)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    String::from_utf8(bytes).map_err(|error| failed(io::Error::other(error)))
}

/// The file, whole; nothing if there is none.
fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, SourceError> {
    let failed = |source| SourceError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(failed(io::Error::other(format!("larger than the limit of {limit} bytes"))));
    }
    Ok(Some(bytes))
}

/// Every `<name>.pub` of a directory.
pub fn keys_of(directory: &Path) -> Result<Vec<Signer>, SourceError> {
    let failed = |source| SourceError::Read { path: directory.to_owned(), source };
    let mut signers = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "pub") {
            let key = PublicKey::from_pem(&text(&path, MAX_KEY)?);
            let key = key.map_err(|source| SourceError::Key { path: path.clone(), source })?;
            let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            signers.push(Signer { name, proof: Proof::Key(key) });
        }
    }
    signers.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(signers)
}
