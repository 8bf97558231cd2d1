//! Where commands take documents from, and whom they believe.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use indicatif::ProgressBar;
use plimsoll_registry::{Client, Config, Document, Platform, Reference};
use plimsoll_sbom::Sha256;
use plimsoll_trust::{Candidate, IdentityPattern, MAX_DOCUMENT, Proof, PublicKey, Root, Signer, Trust};

/// Which registries are asked, and how.
#[derive(clap::Args)]
pub(super) struct RegistryArguments {
    /// Ask for this platform's image, where there are several.
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// Ask HOST first for what is in REGISTRY; may be given several times.
    #[arg(long, value_name = "REGISTRY=HOST")]
    mirror: Vec<String>,
    /// Speak to this registry without TLS. Loopback needs no such word.
    #[arg(long, value_name = "HOST:PORT")]
    insecure: Vec<String>,
    /// Docker's configuration with logins and credential helpers [default: $DOCKER_CONFIG/config.json, or
    /// ~/.docker/config.json]
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// Certificate authorities in PEM, beside the system's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Keep what is fetched here, by digest.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Ask no registry; use what `--cache` has.
    #[arg(long, requires = "cache")]
    offline: bool,
    /// Seconds for all requests together.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
}

/// Whose signatures count.
#[derive(clap::Args)]
pub(super) struct TrustArguments {
    /// Accept what this public key signed (PEM, as `cosign` and `openssl` write it); may be given several times.
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Accept what a certificate of this identity signed; a `*` at the end stands for anything.
    #[arg(long, value_name = "IDENTITY", requires = "issuer", requires = "trust_root")]
    identity: Option<String>,
    /// The OpenID Connect issuer that vouches for the identity.
    #[arg(long, value_name = "URL", requires = "identity")]
    issuer: Option<String>,
    /// Authorities and logs that certificates are checked against: sigstore's `trusted_root.json`.
    #[arg(long, value_name = "FILE")]
    trust_root: Option<PathBuf>,
}

/// An image, and where it is if not only in files.
pub(super) struct Image {
    pub(super) digest: Sha256,
    pub(super) reference: Option<Reference>,
}

/// Documents about an image.
pub(super) struct Documents {
    /// What they may call the image.
    pub(super) subjects: Vec<Sha256>,
    pub(super) all: Vec<Attached>,
    /// A registry, `cache` or `files`.
    pub(super) from: String,
}

/// One document, with a name for people.
pub(super) struct Attached {
    pub(super) place: String,
    pub(super) media_type: String,
    pub(super) digest: Sha256,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) bytes: Vec<u8>,
}

impl Attached {
    pub(super) fn candidate(&self) -> Candidate<'_> {
        Candidate { bytes: &self.bytes, annotations: &self.annotations }
    }
}

impl From<Document> for Attached {
    fn from(document: Document) -> Self {
        Self {
            place: document.origin.to_string(),
            media_type: document.media_type,
            digest: document.digest,
            annotations: document.annotations,
            bytes: document.bytes,
        }
    }
}

/// Reads `REPOSITORY@sha256:...` or `sha256:...`.
pub(super) fn image(text: &str) -> anyhow::Result<Image> {
    if let Ok(digest) = text.parse() {
        return Ok(Image { digest, reference: None });
    }
    let reference: Reference = text.parse().with_context(|| format!("`{text}` is not an image's name"))?;
    let digest = reference.digest().with_context(|| {
        format!("`{text}` names no digest, and tags move; write `{text}@sha256:...`, as `crane digest` or a pod's status give it")
    })?;
    let digest = digest.parse().with_context(|| format!("`{text}` has no SHA-256 digest"))?;
    Ok(Image { digest, reference: Some(reference) })
}

impl RegistryArguments {
    /// What is attached to the image, or what is in `files`.
    pub(super) fn documents(&self, image: &Image, files: &[PathBuf]) -> anyhow::Result<Documents> {
        if !files.is_empty() {
            let all = files.iter().map(|path| from_file(path)).collect::<anyhow::Result<_>>()?;
            return Ok(Documents { subjects: vec![image.digest], all, from: "files".to_owned() });
        }
        let Some(reference) = &image.reference else {
            bail!("`{}` says no registry; write `REPOSITORY@{}`, or give files", image.digest, image.digest)
        };
        let waiting = ProgressBar::new_spinner().with_message(format!("asking {}", reference.resolve_registry()));
        waiting.enable_steady_tick(Duration::from_millis(200));
        let found = Client::new(self.config()?)?.fetch(reference, image.digest, &self.platform()?);
        waiting.finish_and_clear();
        let found = found?;
        let all = found.documents.into_iter().map(Attached::from).collect();
        Ok(Documents { subjects: found.subjects, all, from: found.from })
    }

    fn platform(&self) -> anyhow::Result<Platform> {
        let Some(text) = &self.platform else { return Ok(Platform::here()) };
        let (os, architecture) = text.split_once('/').context("a platform is written as in `linux/amd64`")?;
        Ok(Platform { os: os.to_owned(), architecture: architecture.to_owned() })
    }

    fn config(&self) -> anyhow::Result<Config> {
        let mut mirrors: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for mirror in &self.mirror {
            let (registry, host) =
                mirror.split_once('=').context("a mirror is written as in `docker.io=mirror.example`")?;
            mirrors.entry(registry.to_owned()).or_default().push(host.to_owned());
        }
        Ok(Config {
            mirrors,
            insecure: self.insecure.clone(),
            credentials: self.credentials.clone().or_else(docker_config),
            ca: self.ca.clone(),
            cache: self.cache.clone(),
            offline: self.offline,
            timeout_seconds: self.timeout,
            ..Config::default()
        })
    }
}

impl TrustArguments {
    /// The accepted signers; a key's name is its file's.
    pub(super) fn trust(&self) -> anyhow::Result<Trust> {
        let mut signers = Vec::new();
        for path in &self.key {
            let unusable = || format!("cannot use `{}`", path.display());
            let text = fs::read_to_string(path).with_context(unusable)?;
            let proof = Proof::Key(PublicKey::from_pem(&text).with_context(unusable)?);
            let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            signers.push(Signer { name, proof });
        }
        if let (Some(identity), Some(issuer)) = (&self.identity, &self.issuer) {
            let pattern = IdentityPattern::new(identity)
                .with_context(|| format!("`{identity}` is not an identity: a `*` stands only at its end"))?;
            let proof = Proof::Identity { identity: pattern, issuer: issuer.clone() };
            signers.push(Signer { name: identity.clone(), proof });
        }
        let root = self.trust_root.as_deref().map(trust_root).transpose()?;
        Ok(Trust::new(signers, root))
    }
}

fn trust_root(path: &Path) -> anyhow::Result<Root> {
    let unusable = || format!("cannot use `{}`", path.display());
    let text = fs::read_to_string(path).with_context(unusable)?;
    Root::from_json(&text).with_context(unusable)
}

fn from_file(path: &Path) -> anyhow::Result<Attached> {
    let unreadable = || format!("cannot read `{}`", path.display());
    let size = fs::metadata(path).with_context(unreadable)?.len();
    ensure!(size <= MAX_DOCUMENT as u64, "`{}` is larger than the limit of {MAX_DOCUMENT} bytes", path.display());
    let bytes = fs::read(path).with_context(unreadable)?;
    Ok(Attached {
        place: path.display().to_string(),
        media_type: String::new(),
        digest: Sha256::of(&bytes),
        annotations: BTreeMap::new(),
        bytes,
    })
}

/// Where docker keeps its logins, if it does.
fn docker_config() -> Option<PathBuf> {
    let directory = env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let directory = directory.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".docker")))?;
    Some(directory.join("config.json")).filter(|path| path.is_file())
}
