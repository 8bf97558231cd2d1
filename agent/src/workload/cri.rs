//! Asks the container runtime, over CRI, which image a container was made from.
//!
//! The container's own status says that, so that a tag which has moved since does not matter.

use std::{path::Path, time::Duration};

use plimsoll_proto::cri::{
    ContainerStatusRequest, Image, ImageSpec, ImageStatusRequest, image_service_client::ImageServiceClient,
    runtime_service_client::RuntimeServiceClient,
};
use plimsoll_sbom::Sha256;
use tokio::{runtime::Handle, time::timeout};
use tonic::{
    Code, Status,
    transport::{self, Channel, Endpoint},
};

use super::{
    content::{Content, ContentError},
    spec::within,
};
use crate::config;

/// How long the runtime may take for all questions about one container, which waits meanwhile.
const PATIENCE: Duration = Duration::from_secs(20);
/// Digests of one image, one for each repository it was pulled from.
const MAX_DIGESTS: usize = 256;

/// Why an image's digest is not known.
#[derive(Debug, thiserror::Error)]
pub enum CriError {
    #[error("`cri.endpoint`: `{endpoint}` is not the path of a socket")]
    Endpoint {
        endpoint: String,
        #[source]
        source: transport::Error,
    },
    #[error("the container runtime cannot say which image the container was made from")]
    Call(#[from] Box<Status>),
    #[error("the container runtime did not say within {} s which image the container was made from", PATIENCE.as_secs())]
    Late,
    #[error("the container runtime does not know the image {0:?} that it made the container from")]
    NoImage(String),
    #[error(
        "the container runtime knows no registry's digest of the image {0:?}; pull it from a registry, or give the image a \
         second name that ends with `@` and its manifest's digest"
    )]
    NoDigest(String),
    #[error("the container runtime's store")]
    Content(#[from] ContentError),
}

/// A container runtime that is asked.
#[derive(Debug)]
pub struct Cri {
    channel: Channel,
    content: Content,
    handle: Handle,
}

impl Cri {
    /// Connects when it is asked first, and again whenever the runtime has gone. The runtime's files are seen under `host`. Needs to
    /// be called inside of `tokio`.
    pub fn new(config: &config::Cri, host: &Path) -> Result<Self, CriError> {
        let endpoint = format!("unix:{}", config.endpoint.display());
        let channel = Endpoint::from_shared(endpoint.clone())
            .map_err(|source| CriError::Endpoint { endpoint, source })?
            .connect_timeout(PATIENCE)
            .connect_lazy();
        Ok(Self { channel, content: Content::new(within(host, &config.content)), handle: Handle::current() })
    }

    /// The digest of the image that the container was made from; `None` if it is not the runtime's container. `reference` is what the
    /// container says its image is called, if it does. Blocks, and must not be called on one of `tokio`'s own threads.
    pub fn digest(&self, container: &str, reference: Option<&str>) -> Result<Option<String>, CriError> {
        let asked = self.handle.block_on(async { timeout(PATIENCE, self.image(container, reference)).await });
        let Some(image) = asked.map_err(|_late| CriError::Late)?? else { return Ok(None) };
        let digest = digest(&image, reference).ok_or_else(|| CriError::NoDigest(shortened(&image.id)))?;
        // CRI-O writes the digits alone. Without them, nothing in the store can be told to be the container's.
        let config = image.id.parse().or_else(|_bare| format!("sha256:{}", image.id).parse::<Sha256>());
        let Ok(config) = config else { return Ok(Some(digest.to_string())) };
        Ok(Some(self.content.image(digest, config)?.to_string()))
    }

    async fn image(&self, container: &str, reference: Option<&str>) -> Result<Option<Image>, CriError> {
        let mut containers = RuntimeServiceClient::new(self.channel.clone());
        let request = ContainerStatusRequest { container_id: container.to_owned(), verbose: false };
        let name = match containers.container_status(request).await {
            Ok(response) => {
                let status = response.into_inner().status.unwrap_or_default();
                if status.image_id.is_empty() { status.image_ref } else { status.image_id }
            }
            // CRI-O knows a container only once its hooks have run; what it calls the image is an annotation of its own.
            Err(status) if status.code() == Code::NotFound => match reference {
                Some(reference) => reference.to_owned(),
                None => return Ok(None),
            },
            Err(status) => return Err(Box::new(status).into()),
        };
        let mut images = ImageServiceClient::new(self.channel.clone());
        let image = ImageSpec { image: name.clone(), ..ImageSpec::default() };
        let request = ImageStatusRequest { image: Some(image), verbose: false };
        let response = images.image_status(request).await.map_err(Box::new)?;
        response.into_inner().image.map(Some).ok_or_else(|| CriError::NoImage(shortened(&name)))
    }
}

/// Of the image's digests that of the repository which `reference` names, else the first.
fn digest(image: &Image, reference: Option<&str>) -> Option<Sha256> {
    let parsed = image.repo_digests.iter().take(MAX_DIGESTS).filter_map(|name| {
        let (repository, digest) = name.split_once('@')?;
        Some((repository, digest.parse::<Sha256>().ok()?))
    });
    let all: Vec<_> = parsed.collect();
    let own = reference.map(repository);
    let named = all.iter().find(|(repository, _)| Some(*repository) == own);
    named.or_else(|| all.first()).map(|(_, digest)| *digest)
}

/// A reference without its tag and digest.
fn repository(reference: &str) -> &str {
    let tagged = reference.split_once('@').map_or(reference, |(tagged, _)| tagged);
    match tagged.rsplit_once(':') {
        // A colon before a slash is a port's.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => tagged,
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_containers_own_repository() {
        let digests = ["a", "b"].map(|content| Sha256::of(content.as_bytes()));
        let image = Image {
            repo_digests: vec![
                "registry.example/other@sha256:zz".to_owned(),
                format!("registry.example/other@{}", digests[0]),
                format!("registry.example:5000/web@{}", digests[1]),
            ],
            ..Image::default()
        };
        assert_eq!(digest(&image, Some("registry.example:5000/web:1")), Some(digests[1]));
        assert_eq!(digest(&image, Some("registry.example:5000/web@sha256:00")), Some(digests[1]));
        assert_eq!(digest(&image, Some("registry.example:5000/api")), Some(digests[0]), "the first that is one");
        assert_eq!(digest(&image, None), Some(digests[0]));
        assert_eq!(digest(&Image::default(), None), None);
    }
}
