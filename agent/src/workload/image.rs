//! From a container's layers and its SBOM to an inventory that events can be explained with.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use plimsoll_sbom::{InodeKey, Inventory, InventoryFile, Limits, SbomError, Sha256};

use super::{mounts, mounts::Overlay, spec::within};

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
    #[error("no SBOM for image `{digest}`: `{path}` does not exist; put the image's SBOM there")]
    NoSbom { digest: Sha256, path: PathBuf },
    #[error("cannot read `{path}`")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot use SBOM `{path}`")]
    Sbom {
        path: PathBuf,
        #[source]
        source: SbomError,
    },
    #[error("layer `{path}` is on {filesystem}, whose inodes cannot be told apart reliably from user space")]
    Filesystem { path: PathBuf, filesystem: &'static str },
    #[error("cannot read the image's layers")]
    Rootfs(#[from] plimsoll_rootfs::RootfsError),
}

/// An image, as far as its code goes.
#[derive(Debug)]
pub struct Image {
    /// Digest of its manifest.
    pub digest: Sha256,
    /// Names the layers and the SBOM; equal for equal content.
    pub identity: String,
    /// Its exec-capable files with their evidence.
    pub inventory: Inventory,
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
    sboms: PathBuf,
    host: PathBuf,
    /// At most [`Images::CAPACITY`]; the inner lock makes later callers wait for the first one's work.
    known: Mutex<HashMap<(Vec<PathBuf>, Sha256), Shared>>,
}

impl Images {
    const CAPACITY: usize = 256;

    /// Finds SBOMs in `sboms`, and layers under `host`.
    pub fn new(sboms: PathBuf, host: PathBuf) -> Self {
        Self { sboms, host, known: Mutex::new(HashMap::new()) }
    }

    /// The inventory of the image with `digest`, whose layers are `overlay`'s.
    pub fn load(&self, digest: Option<&str>, overlay: &Overlay) -> Result<Arc<Image>, ImageError> {
        let text = digest.ok_or(ImageError::NoDigest)?;
        let Ok(digest) = text.parse::<Sha256>() else { return Err(ImageError::Digest(text.to_owned())) };
        let (path, bytes) = self.read_sbom(digest)?;
        let shared = self.slot((overlay.layers.clone(), Sha256::of(&bytes)));
        let mut image = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(image) = image.as_ref().filter(|image| image.digest == digest) {
            return Ok(Arc::clone(image));
        }
        let built = Arc::new(self.build(digest, overlay, &path, &bytes)?);
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

    fn read_sbom(&self, digest: Sha256) -> Result<(PathBuf, Vec<u8>), ImageError> {
        let path = self.sboms.join(format!("{}.json", digest.to_string().replace(':', "-")));
        let limit = Limits::default().max_bytes as u64;
        let file = File::open(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ImageError::NoSbom { digest, path: path.clone() },
            _ => ImageError::Read { path: path.clone(), source },
        })?;
        let mut bytes = Vec::new();
        // One byte more than allowed: the parser then says that it is too large.
        let read = file.take(limit + 1).read_to_end(&mut bytes);
        match read {
            Ok(_) => Ok((path, bytes)),
            Err(source) => Err(ImageError::Read { path, source }),
        }
    }

    fn build(&self, digest: Sha256, overlay: &Overlay, path: &Path, bytes: &[u8]) -> Result<Image, ImageError> {
        let sbom = plimsoll_sbom::parse(bytes, &Limits::default())
            .map_err(|source| ImageError::Sbom { path: path.to_owned(), source })?;
        let layers: Vec<PathBuf> = overlay.layers.iter().map(|layer| within(&self.host, layer)).collect();
        for layer in &layers {
            supported(layer)?;
        }
        let indexed = plimsoll_rootfs::index(&layers, &plimsoll_rootfs::Options::default())?;
        for problem in &indexed.problems {
            tracing::warn!(image = %digest, %problem, "something in the image could not be used as evidence");
        }
        let inventory = plimsoll_sbom::inventory(&indexed.listing, &sbom, &indexed.databases);
        let by_inode = inventory.files.iter().enumerate().map(|(index, file)| (file.inode, index)).collect();
        let names: Vec<String> = overlay.layers.iter().map(|layer| mounts::display(layer)).collect();
        let identity = format!("{}\n{}", inventory.sbom_digest, names.join("\n"));
        Ok(Image { digest, identity, inventory, by_inode })
    }
}

fn supported(layer: &Path) -> Result<(), ImageError> {
    match mounts::unsupported_lower(layer) {
        Ok(None) => Ok(()),
        Ok(Some(filesystem)) => Err(ImageError::Filesystem { path: layer.to_owned(), filesystem }),
        Err(source) => Err(ImageError::Read { path: layer.to_owned(), source }),
    }
}
