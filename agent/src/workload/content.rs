//! From the digest of an index to that of the image in it which a container really has, by the container runtime's own store.
//!
//! A registry's digest often names an index of images for several platforms, where SBOMs speak of one image.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use plimsoll_sbom::Sha256;
use serde::Deserialize;

/// Bytes of a manifest or an index, as registries limit them.
const MAX_MANIFEST: u64 = 4 << 20;
/// Images in an index; those that exist have some dozens.
const MAX_IMAGES: usize = 1000;

/// What in the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    #[error("cannot read `{path}`")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{0}` is larger than {MAX_MANIFEST} bytes")]
    TooLarge(PathBuf),
    #[error("`{0}` has other content than its name says")]
    Changed(PathBuf),
    #[error("`{path}` is neither a manifest nor an index")]
    Parse {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("index `{0}` lists more than {MAX_IMAGES} images")]
    TooMany(Sha256),
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    manifests: Vec<Descriptor>,
    config: Option<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
}

/// A container runtime's store of blobs, each named by its SHA-256.
#[derive(Debug)]
pub struct Content {
    directory: PathBuf,
}

impl Content {
    /// `directory` has a file `blobs/sha256/<digits>` for each.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The image with the configuration `config` that `digest` names, or that is in the index it names. If the store does not have
    /// enough to tell, `digest` itself.
    pub fn image(&self, digest: Sha256, config: Sha256) -> Result<Sha256, ContentError> {
        let Some(named) = self.read(digest)? else { return Ok(digest) };
        if named.manifests.len() > MAX_IMAGES {
            return Err(ContentError::TooMany(digest));
        }
        let images = named.manifests.iter().filter_map(|image| image.digest.parse::<Sha256>().ok());
        for image in images {
            // Those for other platforms are not there.
            let found = self.read(image)?.and_then(|manifest| manifest.config);
            if found.is_some_and(|found| found.digest.parse() == Ok(config)) {
                return Ok(image);
            }
        }
        Ok(digest)
    }

    fn read(&self, digest: Sha256) -> Result<Option<Manifest>, ContentError> {
        let path = self.directory.join("blobs/sha256").join(digest.hex());
        let Some(bytes) = read_bounded(&path)? else { return Ok(None) };
        if Sha256::of(&bytes) != digest {
            return Err(ContentError::Changed(path));
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|source| ContentError::Parse { path, source })
    }
}

fn read_bounded(path: &Path) -> Result<Option<Vec<u8>>, ContentError> {
    let failed = |source| ContentError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_MANIFEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_MANIFEST {
        return Err(ContentError::TooLarge(path.to_owned()));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Store {
        directory: tempfile::TempDir,
    }

    impl Store {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            fs::create_dir_all(directory.path().join("blobs/sha256")).unwrap();
            Self { directory }
        }

        fn path(&self, digest: Sha256) -> PathBuf {
            self.directory.path().join("blobs/sha256").join(digest.hex())
        }

        fn put(&self, text: &str) -> Sha256 {
            let digest = Sha256::of(text.as_bytes());
            fs::write(self.path(digest), text).unwrap();
            digest
        }

        fn image(&self, digest: Sha256, config: Sha256) -> Result<Sha256, ContentError> {
            Content::new(self.directory.path().to_owned()).image(digest, config)
        }
    }

    fn manifest(config: Sha256) -> String {
        format!(r#"{{"schemaVersion":2,"config":{{"digest":"{config}","size":1}},"layers":[]}}"#)
    }

    #[test]
    fn an_index_leads_to_the_image_that_is_there() {
        let (store, config) = (Store::new(), Sha256::of(b"config"));
        let (other, elsewhere) = (store.put(&manifest(Sha256::of(b"other"))), Sha256::of(b"not pulled"));
        let image = store.put(&manifest(config));
        let index = store.put(&format!(
            r#"{{"manifests":[{{"digest":"{elsewhere}"}},{{"digest":"sha512:00"}},{{"digest":"{other}"}},{{"digest":"{image}"}}]}}"#
        ));
        assert_eq!(store.image(index, config).unwrap(), image);
        assert_eq!(store.image(image, config).unwrap(), image, "a manifest is its own");
        assert_eq!(store.image(index, Sha256::of(b"a third")).unwrap(), index, "none of them");
        assert_eq!(store.image(elsewhere, config).unwrap(), elsewhere, "not in the store");
    }

    #[test]
    fn content_that_is_not_what_its_name_says_is_refused() {
        let (store, config) = (Store::new(), Sha256::of(b"config"));
        let index = store.put("{}");
        fs::write(store.path(index), manifest(config)).unwrap();
        assert!(matches!(store.image(index, config), Err(ContentError::Changed(_))));
        let odd = store.put("[]");
        assert!(matches!(store.image(odd, config), Err(ContentError::Parse { .. })));
        let entry = format!(r#"{{"digest":"{config}"}}"#);
        let long = store.put(&format!(r#"{{"manifests":[{}]}}"#, vec![entry.as_str(); MAX_IMAGES + 1].join(",")));
        assert!(matches!(store.image(long, config), Err(ContentError::TooMany(_))));
        let file = File::create(store.path(config)).unwrap();
        file.set_len(MAX_MANIFEST + 1).unwrap();
        assert!(matches!(store.image(config, config), Err(ContentError::TooLarge(_))));
    }
}
