//! Certificates and keys in files that are replaced while they are used, as cert-manager and Kubernetes' volumes do.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
    pem::{self, PemObject as _},
};
use tokio::{sync::watch, task, time};

/// How often files are looked at. Polling sees what a watch on a directory of symbolic links misses.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes of a file of certificates.
const MAX_BYTES: u64 = 1 << 20;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("cannot read `{path}`")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{path}` has more than {MAX_BYTES} bytes; is it the right file?")]
    TooLarge { path: PathBuf },
    #[error("`{path}` has no {what} in PEM")]
    Pem {
        path: PathBuf,
        what: &'static str,
        #[source]
        source: pem::Error,
    },
}

/// The certificates in a file; at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let bytes = read(path)?;
    let failed = |source| FileError::Pem { path: path.to_owned(), what: "certificate", source };
    let found: Vec<_> = CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().map_err(failed)?;
    if found.is_empty() { Err(failed(pem::Error::NoItemsFound)) } else { Ok(found) }
}

/// The revocation lists in a file; at least one.
pub fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, FileError> {
    let bytes = read(path)?;
    let failed = |source| FileError::Pem { path: path.to_owned(), what: "revocation list", source };
    let lists = CertificateRevocationListDer::pem_slice_iter(&bytes);
    let found: Vec<_> = lists.collect::<Result<_, _>>().map_err(failed)?;
    if found.is_empty() { Err(failed(pem::Error::NoItemsFound)) } else { Ok(found) }
}

/// The private key in a file.
pub fn key(path: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    let failed = |source| FileError::Pem { path: path.to_owned(), what: "private key", source };
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(failed)
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > MAX_BYTES {
        return Err(FileError::TooLarge { path: path.to_owned() });
    }
    fs::read(path).map_err(failed)
}

/// A set of files that is looked at again and again.
#[derive(Clone, Debug)]
pub struct Files(Vec<PathBuf>);

impl Files {
    pub fn new(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(paths.into_iter().collect())
    }

    /// What the files have now; one that cannot be read is empty.
    pub fn contents(&self) -> Vec<Vec<u8>> {
        self.0.iter().map(|path| read(path).unwrap_or_default()).collect()
    }

    /// Loads the files whenever they change, and publishes what comes of it; must be called inside a tokio runtime.
    /// `seen` is what they had when `first` was loaded. A load that fails is tried again at every look, since files are
    /// replaced one by one; `failed` is told once for each content.
    pub fn watch<T: Send + Sync + 'static, E: Send + 'static>(
        self,
        seen: Vec<Vec<u8>>,
        first: T,
        load: impl Fn() -> Result<T, E> + Send + Sync + 'static,
        failed: impl Fn(E) + Send + 'static,
    ) -> watch::Receiver<T> {
        let (publish, published) = watch::channel(first);
        task::spawn(async move {
            let mut looks = time::interval(LOOK);
            let (mut loaded, mut told) = (seen, None);
            while !publish.is_closed() {
                looks.tick().await;
                let now = self.contents();
                if now == loaded {
                    continue;
                }
                match load() {
                    // What was loaded may be newer than what was seen: then the next look loads it once more.
                    Ok(value) => {
                        publish.send_replace(value);
                        loaded = now;
                        told = None;
                    }
                    Err(error) if told.as_ref() != Some(&now) => {
                        failed(error);
                        told = Some(now);
                    }
                    Err(_) => {}
                }
            }
        });
        published
    }
}
