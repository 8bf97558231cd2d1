//! Manifests and what in them may be about an image's content.

use std::collections::BTreeMap;

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};
use plimsoll_sbom::Sha256;

pub(crate) const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";
const BUILDKIT: &str = "attestation-manifest";
/// Where the different writers say what kind of statement is inside.
const PREDICATE_TYPES: [&str; 3] = ["predicateType", "in-toto.io/predicate-type", "dev.sigstore.bundle.predicateType"];
/// What predicate types of interest begin with.
const OF_INTEREST: [&str; 5] = [
    "https://spdx.dev/Document",
    "https://cyclonedx.org/",
    "https://syft.dev/bom",
    "https://plimsoll.dev/allowlist/",
    // `cosign` allows its short names.
    "cosign.sigstore.dev/attestation/v1",
];
/// What media types of documents begin with.
const DOCUMENTS: [&str; 10] = [
    "application/vnd.dev.sigstore.bundle",
    "application/vnd.dsse.envelope",
    "application/vnd.in-toto",
    "application/vnd.plimsoll.allowlist",
    "application/spdx",
    "text/spdx",
    "application/vnd.cyclonedx",
    "application/vnd.syft",
    "application/vnd.docker.attestation.manifest",
    "application/json",
];

pub(crate) enum Manifest {
    Index(Box<ImageIndex>),
    Image(Box<ImageManifest>),
}

impl Manifest {
    /// Told by content: registries and old writers leave media types out.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(serde::Deserialize)]
        struct Probe {
            manifests: Option<serde::de::IgnoredAny>,
        }
        let probe: Probe = serde_json::from_slice(bytes)?;
        if probe.manifests.is_some() {
            serde_json::from_slice(bytes).map(Box::new).map(Self::Index)
        } else {
            serde_json::from_slice(bytes).map(Box::new).map(Self::Image)
        }
    }
}

/// A descriptor's SHA-256; other algorithms are not used for what is looked for here.
pub(crate) fn digest(descriptor: &Descriptor) -> Option<Sha256> {
    descriptor.digest().to_string().parse().ok()
}

/// The image for a platform.
pub(crate) fn for_platform<'i>(index: &'i ImageIndex, os: &str, architecture: &str) -> Option<&'i Descriptor> {
    index.manifests().iter().find(|descriptor| {
        let platform = descriptor.platform().as_ref();
        platform.is_some_and(|platform| {
            platform.os().to_string() == os && platform.architecture().to_string() == architecture
        })
    })
}

/// BuildKit's attestations about one of `subjects`.
pub(crate) fn buildkit<'i>(index: &'i ImageIndex, subjects: &'i [Sha256]) -> impl Iterator<Item = &'i Descriptor> {
    index.manifests().iter().filter(|descriptor| {
        let annotation = |name: &str| descriptor.annotations().as_ref().and_then(|all| all.get(name));
        let about = annotation(REFERENCE_DIGEST).and_then(|text| text.parse().ok());
        annotation(REFERENCE_TYPE).is_some_and(|kind| kind == BUILDKIT)
            && about.is_some_and(|digest: Sha256| subjects.contains(&digest))
    })
}

/// Whether a referrer may hold something of interest; one that does not say is looked into.
pub(crate) fn may_interest(descriptor: &Descriptor) -> bool {
    descriptor.artifact_type().as_ref().is_none_or(is_document)
        && predicate(descriptor).is_none_or(|predicate| interests(&predicate))
}

/// Layers that may hold something of interest, each with its annotations.
pub(crate) fn documents(manifest: &ImageManifest) -> impl Iterator<Item = (&Descriptor, BTreeMap<String, String>)> {
    let whole = manifest
        .annotations()
        .iter()
        .flatten()
        .find_map(|(name, value)| PREDICATE_TYPES.contains(&name.as_str()).then(|| value.clone()));
    let wanted = whole.is_none_or(|predicate| interests(&predicate));
    let layers = manifest.layers().iter().filter(move |layer| {
        wanted && is_document(layer.media_type()) && predicate(layer).is_none_or(|predicate| interests(&predicate))
    });
    layers.map(|layer| (layer, layer.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect()))
}

fn is_document(kind: &MediaType) -> bool {
    let kind = kind.to_string();
    DOCUMENTS.iter().any(|document| kind.starts_with(document))
}

fn predicate(descriptor: &Descriptor) -> Option<String> {
    let annotations = descriptor.annotations().as_ref()?;
    PREDICATE_TYPES.iter().find_map(|name| annotations.get(*name)).cloned()
}

fn interests(predicate: &str) -> bool {
    OF_INTEREST.iter().any(|prefix| predicate.starts_with(prefix))
}
