//! From a container's layers and its SBOM to an inventory that events can be explained with.

use std::{
    cell::OnceCell,
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use plimsoll_policy::SbomTrust;
use plimsoll_rootfs::{LayerCache, Options, RootfsError, Tree};
use plimsoll_sbom::{Coverage, EvidenceClass, InodeKey, Inventory, InventoryFile, Sha256};

use super::{
    mounts,
    mounts::Overlay,
    parser::{Parser, ParserError},
    sources::{Evidence, SourceError, Sourced, Sources},
    spec::within,
};

/// Why an image has no inventory.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error(
        "the container carries no image digest, so its SBOM cannot be found; set the annotation \
         `dev.plimsoll.image.digest`"
    )]
    NoDigest,
    #[error("{0:?} is not an image digest, which reads `sha256:` and 64 hexadecimal digits")]
    Digest(String),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("cannot use the SBOM from {place}")]
    Sbom {
        place: String,
        #[source]
        source: ParserError,
    },
    #[error("cannot read `{path}`")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("layer `{path}` is on {filesystem}, whose inodes cannot be told apart reliably from user space")]
    Filesystem { path: PathBuf, filesystem: &'static str },
    #[error("cannot read the image's layers")]
    Rootfs(#[from] RootfsError),
}

/// An image, as far as its code goes.
#[derive(Debug)]
pub struct Image {
    /// Digest of its manifest.
    pub digest: Sha256,
    /// Names the layers and the evidence; equal for equal content.
    pub identity: String,
    /// Its exec-capable files with their evidence.
    pub inventory: Inventory,
    /// Who had to sign the SBOM when it was used.
    pub trust: SbomTrust,
    /// Its layers on the node.
    pub overlay: Overlay,
    by_inode: HashMap<InodeKey, usize>,
}

impl Image {
    /// The image's file with this identity.
    pub fn file(&self, inode: InodeKey) -> Option<&InventoryFile> {
        self.inventory.files.get(*self.by_inode.get(&inode)?)
    }
}

type Shared = Arc<Mutex<Option<Arc<Image>>>>;

/// Images seen so far: the layers of one are read once, whatever the number of its containers.
#[derive(Debug)]
pub struct Images {
    sources: Sources,
    parser: Parser,
    layers: LayerCache,
    host: PathBuf,
    /// At most [`Images::CAPACITY`]; the inner lock makes later callers wait for the first one's work.
    known: Mutex<HashMap<(Vec<PathBuf>, Sha256), Shared>>,
}

impl Images {
    const CAPACITY: usize = 256;

    /// Finds layers under `host`.
    pub fn new(sources: Sources, parser: Parser, layers: LayerCache, host: PathBuf) -> Self {
        Self { sources, parser, layers, host, known: Mutex::new(HashMap::new()) }
    }

    /// The inventory of the image with `digest`, whose layers are `overlay`'s, by an SBOM that satisfies `trust`.
    pub fn load(
        &self,
        digest: Option<&str>,
        reference: Option<&str>,
        overlay: &Overlay,
        trust: &SbomTrust,
    ) -> Result<Arc<Image>, ImageError> {
        let text = digest.ok_or(ImageError::NoDigest)?;
        let Ok(digest) = text.parse::<Sha256>() else { return Err(ImageError::Digest(text.to_owned())) };
        let layers: Vec<PathBuf> = overlay.layers.iter().map(|layer| within(&self.host, layer)).collect();
        for layer in &layers {
            supported(layer)?;
        }
        let tree = LazyTree { layers: &layers, cache: &self.layers, digest, read: OnceCell::new() };
        let sourced = self.sources.find(digest, reference, trust, &|| tree.get())?;
        let content = sourced.identity();
        let shared = self.slot((overlay.layers.clone(), content));
        let mut image = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(image) = image.as_ref().filter(|image| image.digest == digest && image.trust == *trust) {
            return Ok(Arc::clone(image));
        }
        let names: Vec<String> = overlay.layers.iter().map(|layer| mounts::display(layer)).collect();
        let inventory = self.inventory(digest, tree.get()?, sourced)?;
        let by_inode = inventory.files.iter().enumerate().map(|(index, file)| (file.inode, index)).collect();
        let built = Arc::new(Image {
            digest,
            identity: format!("{content}\n{}", names.join("\n")),
            inventory,
            trust: trust.clone(),
            overlay: overlay.clone(),
            by_inode,
        });
        Ok(Arc::clone(image.insert(built)))
    }

    fn slot(&self, key: (Vec<PathBuf>, Sha256)) -> Shared {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= Self::CAPACITY && !known.contains_key(&key) {
            // Whoever uses an image keeps it alive; only the sharing with later containers ends.
            known.clear();
        }
        Arc::clone(known.entry(key).or_default())
    }

    fn inventory(&self, digest: Sha256, tree: &Tree, sourced: Sourced) -> Result<Inventory, ImageError> {
        let Sourced { evidence, signer, cap, place } = sourced;
        let list = match evidence {
            Evidence::Allowlist(list) => *list,
            Evidence::Documents(documents) => {
                let parsed = self.parser.parse(&documents, tree);
                let parsed = parsed.map_err(|source| ImageError::Sbom { place: place.clone(), source })?;
                for problem in &parsed.problems {
                    tracing::warn!(image = %digest, %problem, "something in the image could not be used as evidence");
                }
                parsed.evidence
            }
        };
        let (mut inventory, binding) = list.bind(&tree.listing);
        weaken(&mut inventory, cap);
        tracing::info!(
            image = %digest, %place, signer = signer.as_deref().unwrap_or("nobody"), strongest = %cap,
            bound = binding.bound, unknown = binding.unknown, changed = binding.changed, "evidence for an image"
        );
        Ok(inventory)
    }
}

/// The image's tree, read when somebody asks for it.
struct LazyTree<'i> {
    layers: &'i [PathBuf],
    cache: &'i LayerCache,
    digest: Sha256,
    read: OnceCell<Tree>,
}

impl LazyTree<'_> {
    fn get(&self) -> Result<&Tree, RootfsError> {
        if let Some(tree) = self.read.get() {
            return Ok(tree);
        }
        let started = Instant::now();
        let tree = Tree::read(self.layers, &Options { cache: Some(self.cache), ..Options::default() })?;
        for problem in &tree.problems {
            tracing::warn!(image = %self.digest, %problem, "something about the image's layers");
        }
        let (nodes, hashed) = (tree.listing.len(), tree.hashed_bytes);
        tracing::info!(image = %self.digest, nodes, hashed_bytes = hashed, took = ?started.elapsed(), "layers read");
        Ok(self.read.get_or_init(|| tree))
    }
}

/// No evidence counts as more than `cap`.
fn weaken(inventory: &mut Inventory, cap: EvidenceClass) {
    for file in &mut inventory.files {
        file.evidence = file.evidence.map(|evidence| evidence.min(cap));
    }
    let count = |class| inventory.files.iter().filter(|file| file.evidence == class).count();
    inventory.coverage = Coverage {
        sbom_digest: count(Some(EvidenceClass::SbomDigest)),
        package_digest: count(Some(EvidenceClass::PackageDigest)),
        package_path: count(Some(EvidenceClass::PackagePath)),
        layer_only: count(Some(EvidenceClass::LayerOnly)),
        ..inventory.coverage
    };
}

fn supported(layer: &Path) -> Result<(), ImageError> {
    match mounts::unsupported_lower(layer) {
        Ok(None) => Ok(()),
        Ok(Some(filesystem)) => Err(ImageError::Filesystem { path: layer.to_owned(), filesystem }),
        Err(source) => Err(ImageError::Read { path: layer.to_owned(), source }),
    }
}
