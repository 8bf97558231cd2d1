//! All the places where something about an image may be attached to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::{Duration, Instant},
};

use oci_spec::{
    distribution::Reference,
    image::{Descriptor, ImageIndex, ImageManifest},
};
use plimsoll_sbom::Sha256;
use serde::{Deserialize, Serialize};

use crate::{
    cache::Cache,
    config::Config,
    error::RegistryError,
    manifest::{self, ACCEPTED, Manifest},
    transport::{Answer, Connector, MAX_MANIFEST, Transport},
};

/// Bytes of one document. Base64 makes a 64 MiB SBOM a third larger.
const MAX_DOCUMENT: u64 = 96 << 20;
/// Bytes of all documents of an image.
const MAX_TOTAL: u64 = 256 << 20;
const MAX_DOCUMENTS: usize = 64;
/// Manifests that are looked into for one image.
const MAX_MANIFESTS: usize = 100;
const MAX_PAGES: usize = 10;

/// What an image of several platforms is wanted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// As in image indexes: `linux`.
    pub os: String,
    /// As in image indexes: `amd64`, `arm64`.
    pub architecture: String,
}

impl Platform {
    /// The one this program runs on.
    pub fn here() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned() }
    }
}

/// How a document was attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// By the referrers API.
    Referrer,
    /// By the referrers tag `sha256-<digest>`.
    ReferrerTag,
    /// By `cosign`'s tag `sha256-<digest>.att`.
    AttestationTag,
    /// By `cosign`'s old tag `sha256-<digest>.sbom`; nothing in such a document says which image it is about.
    SbomTag,
    /// By BuildKit, in the image index.
    BuildKit,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Referrer => "referrer",
            Self::ReferrerTag => "referrer-tag",
            Self::AttestationTag => "attestation-tag",
            Self::SbomTag => "sbom-tag",
            Self::BuildKit => "buildkit",
        })
    }
}

/// A document as the registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// How it was attached.
    pub origin: Origin,
    /// SHA-256 of the bytes.
    pub digest: Sha256,
    /// As the registry states it.
    pub media_type: String,
    /// Of its layer.
    pub annotations: BTreeMap<String, String>,
    /// The content, which has the digest.
    pub bytes: Vec<u8>,
}

/// What is attached to an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The image's digests: the platform's manifest first, then the index, if there is one.
    pub subjects: Vec<Sha256>,
    /// In the order of the places: referrers, tags, BuildKit.
    pub documents: Vec<Document>,
    /// Who gave them: a registry, or `cache`.
    pub from: String,
}

/// Asks registries.
#[derive(Debug)]
pub struct Client {
    config: Config,
    connector: Connector,
    cache: Option<Cache>,
}

/// What the cache remembers of an image.
#[derive(Serialize, Deserialize)]
struct Listing {
    subjects: Vec<Sha256>,
    documents: Vec<Listed>,
}

#[derive(Serialize, Deserialize)]
struct Listed {
    origin: Origin,
    digest: Sha256,
    media_type: String,
    annotations: BTreeMap<String, String>,
}

impl Client {
    /// Reads certificates and makes the cache's directory; asks nothing yet.
    pub fn new(config: Config) -> Result<Self, RegistryError> {
        let cache = config.cache.as_deref().map(|path| Cache::open(path, config.cache_bytes)).transpose()?;
        Ok(Self { connector: Connector::new(&config)?, cache, config })
    }

    /// What the cache has for the image, whole or nothing.
    pub fn cached(&self, digest: Sha256, platform: &Platform) -> Result<Option<Found>, RegistryError> {
        let Some(cache) = &self.cache else { return Ok(None) };
        let Some(listing) = cache.listing::<Listing>(&key(digest, platform))? else { return Ok(None) };
        let mut documents = Vec::new();
        for Listed { origin, digest, media_type, annotations } in listing.documents {
            let Some(bytes) = cache.blob(digest, MAX_DOCUMENT)? else { return Ok(None) };
            documents.push(Document { origin, digest, media_type, annotations, bytes });
        }
        Ok(Some(Found { subjects: listing.subjects, documents, from: "cache".to_owned() }))
    }

    /// Asks the mirrors of the image's registry and the registry itself, until one has something.
    pub fn fetch(&self, image: &Reference, digest: Sha256, platform: &Platform) -> Result<Found, RegistryError> {
        if self.config.offline {
            return self.cached(digest, platform)?.ok_or(RegistryError::Offline { digest });
        }
        let registry = image.resolve_registry();
        let mirrors = self.config.mirrors.get(image.registry()).or_else(|| self.config.mirrors.get(registry));
        let mut last = None;
        for host in mirrors.into_iter().flatten().map(String::as_str).chain([registry]) {
            match self.ask(host, image, digest, platform) {
                Err(error) if error.is_absence() && host != registry => {
                    tracing::debug!(mirror = host, %error, "the next registry is asked");
                    last = Some(error);
                }
                Err(error) => return Err(error),
                Ok(found) => {
                    self.keep(digest, platform, &found)?;
                    return Ok(found);
                }
            }
        }
        Err(last.unwrap_or(RegistryError::Offline { digest }))
    }

    fn ask(&self, host: &str, image: &Reference, digest: Sha256, platform: &Platform) -> Result<Found, RegistryError> {
        let deadline = Instant::now() + Duration::from_secs(self.config.timeout_seconds);
        let transport = Transport::new(&self.connector, &self.config, host, image.repository(), deadline)?;
        let mut search = Search { transport: &transport, seen: BTreeSet::new(), documents: Vec::new(), total: 0 };
        let (subjects, index) = search.subjects(digest, image.tag(), platform)?;
        for subject in &subjects {
            search.referrers(*subject)?;
        }
        for subject in &subjects {
            search.tag(&format!("sha256-{}.att", subject.hex()), Origin::AttestationTag)?;
        }
        if let Some(index) = &index {
            for descriptor in manifest::buildkit(index, &subjects) {
                search.attached(descriptor, Origin::BuildKit)?;
            }
        }
        for subject in &subjects {
            search.tag(&format!("sha256-{}.sbom", subject.hex()), Origin::SbomTag)?;
        }
        if search.documents.is_empty() {
            let (registry, repository) = (host.to_owned(), image.repository().to_owned());
            return Err(RegistryError::Nothing { registry, repository, digest });
        }
        Ok(Found { subjects, documents: search.documents, from: host.to_owned() })
    }

    fn keep(&self, digest: Sha256, platform: &Platform, found: &Found) -> Result<(), RegistryError> {
        let Some(cache) = &self.cache else { return Ok(()) };
        for document in &found.documents {
            cache.keep_blob(document.digest, &document.bytes)?;
        }
        let listed = |document: &Document| Listed {
            origin: document.origin,
            digest: document.digest,
            media_type: document.media_type.clone(),
            annotations: document.annotations.clone(),
        };
        let documents = found.documents.iter().map(listed).collect();
        cache.keep_listing(&key(digest, platform), &Listing { subjects: found.subjects.clone(), documents })
    }
}

fn key(digest: Sha256, platform: &Platform) -> String {
    let plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
    format!("{}-{}-{}", digest.hex(), plain(&platform.os), plain(&platform.architecture))
}

/// The search for one image in one registry.
struct Search<'t> {
    transport: &'t Transport<'t>,
    /// Manifests looked into.
    seen: BTreeSet<Sha256>,
    documents: Vec<Document>,
    total: u64,
}

impl Search<'_> {
    /// The digests that documents about the image may name, and the index in which BuildKit keeps its own.
    fn subjects(
        &self,
        digest: Sha256,
        tag: Option<&str>,
        platform: &Platform,
    ) -> Result<(Vec<Sha256>, Option<Box<ImageIndex>>), RegistryError> {
        let Some(bytes) = self.transport.get_digest("manifests", digest, ACCEPTED, MAX_MANIFEST)? else {
            let (registry, repository) = (self.transport.registry.clone(), self.transport.repository.clone());
            return Err(RegistryError::NoImage { registry, repository, digest });
        };
        if let Manifest::Index(index) = self.read(&bytes)? {
            let mine = manifest::for_platform(&index, &platform.os, &platform.architecture);
            let mine = mine.and_then(manifest::digest);
            return Ok((mine.into_iter().chain([digest]).collect(), Some(index)));
        }
        // The platform's own manifest does not name its index; the tag it was pulled by may still lead there.
        let Some(tag) = tag else { return Ok((vec![digest], None)) };
        let Some(answer) = self.transport.get(&format!("manifests/{tag}"), ACCEPTED, MAX_MANIFEST)? else {
            return Ok((vec![digest], None));
        };
        match self.read(&answer.bytes)? {
            Manifest::Index(index) if index.manifests().iter().any(|one| manifest::digest(one) == Some(digest)) => {
                Ok((vec![digest, Sha256::of(&answer.bytes)], Some(index)))
            }
            _ => Ok((vec![digest], None)),
        }
    }

    /// The API, or where a registry does not have it, the tag that stands for it.
    fn referrers(&mut self, subject: Sha256) -> Result<(), RegistryError> {
        let first = self.transport.get(&format!("referrers/{subject}"), ACCEPTED, MAX_MANIFEST);
        // Registries without the API answer in many ways; all of them mean that there is none.
        let first = match first {
            Err(RegistryError::Status { status: 400 | 405 | 406 | 415 | 500.., .. }) => Ok(None),
            other => other,
        }?;
        let Some(mut answer) = first else {
            let path = format!("manifests/sha256-{}", subject.hex());
            return match self.transport.get(&path, ACCEPTED, MAX_MANIFEST)? {
                Some(answer) => self.page(&answer, Origin::ReferrerTag),
                None => Ok(()),
            };
        };
        for _ in 0..MAX_PAGES {
            self.page(&answer, Origin::Referrer)?;
            let Some(next) = answer.next.take() else { return Ok(()) };
            match self.transport.get_page(&next, ACCEPTED, MAX_MANIFEST)? {
                Some(more) => answer = more,
                None => return Ok(()),
            }
        }
        Err(self.too_many("pages of referrers", MAX_PAGES))
    }

    fn page(&mut self, answer: &Answer, origin: Origin) -> Result<(), RegistryError> {
        let Manifest::Index(index) = self.read(&answer.bytes)? else { return Ok(()) };
        for descriptor in index.manifests().iter().filter(|one| manifest::may_interest(one)) {
            self.attached(descriptor, origin)?;
        }
        Ok(())
    }

    fn tag(&mut self, tag: &str, origin: Origin) -> Result<(), RegistryError> {
        let Some(answer) = self.transport.get(&format!("manifests/{tag}"), ACCEPTED, MAX_MANIFEST)? else {
            return Ok(());
        };
        match self.read(&answer.bytes)? {
            Manifest::Image(image) => self.layers(&image, origin),
            Manifest::Index(_) => Ok(()),
        }
    }

    fn attached(&mut self, descriptor: &Descriptor, origin: Origin) -> Result<(), RegistryError> {
        let Some(digest) = manifest::digest(descriptor) else { return Ok(()) };
        if !self.seen.insert(digest) {
            return Ok(());
        }
        if self.seen.len() > MAX_MANIFESTS {
            return Err(self.too_many("attached manifests", MAX_MANIFESTS));
        }
        // Listed and not there is a registry in the middle of being cleaned: nothing is attached.
        let Some(bytes) = self.transport.get_digest("manifests", digest, ACCEPTED, MAX_MANIFEST)? else {
            return Ok(());
        };
        match self.read(&bytes)? {
            Manifest::Image(image) => self.layers(&image, origin),
            Manifest::Index(_) => Ok(()),
        }
    }

    fn layers(&mut self, image: &ImageManifest, origin: Origin) -> Result<(), RegistryError> {
        for (layer, annotations) in manifest::documents(image) {
            let Some(digest) = manifest::digest(layer) else { continue };
            if self.documents.iter().any(|known| known.digest == digest && known.annotations == annotations) {
                continue;
            }
            if self.documents.len() >= MAX_DOCUMENTS {
                return Err(self.too_many("documents", MAX_DOCUMENTS));
            }
            let left = MAX_TOTAL.saturating_sub(self.total).min(MAX_DOCUMENT);
            let Some(bytes) = self.transport.get_digest("blobs", digest, "*/*", left)? else {
                return Err(self.transport.malformed("a manifest", &format!("its layer {digest} is not there")));
            };
            self.total += bytes.len() as u64;
            let media_type = layer.media_type().to_string();
            self.documents.push(Document { origin, digest, media_type, annotations, bytes });
        }
        Ok(())
    }

    fn read(&self, bytes: &[u8]) -> Result<Manifest, RegistryError> {
        Manifest::read(bytes).map_err(|error| self.transport.malformed("a manifest", &error.to_string()))
    }

    fn too_many(&self, what: &'static str, limit: usize) -> RegistryError {
        RegistryError::TooMany { registry: self.transport.registry.clone(), what, limit }
    }
}
