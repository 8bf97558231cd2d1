//! Keeps what was fetched, by digest. Every read is checked against the digest, so that a damaged disk is noticed; the
//! directory is its owner's alone, so that nobody else writes there.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use plimsoll_sbom::Sha256;
use serde::{Deserialize, Serialize};

use crate::error::RegistryError;

const MAX_LISTING: u64 = 4 << 20;

#[derive(Debug)]
pub(crate) struct Cache {
    blobs: PathBuf,
    listings: PathBuf,
    max_bytes: u64,
}

/// A listing's file: the text, and what it must hash to.
#[derive(Serialize, Deserialize)]
struct Sealed {
    sha256: Sha256,
    text: String,
}

impl Cache {
    pub(crate) fn open(directory: &Path, max_bytes: u64) -> Result<Self, RegistryError> {
        let cache = Self { blobs: directory.join("blobs"), listings: directory.join("images"), max_bytes };
        for path in [&cache.blobs, &cache.listings] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.map_err(|source| RegistryError::File { path: path.clone(), source })?;
        }
        Ok(cache)
    }

    pub(crate) fn blob(&self, digest: Sha256, limit: u64) -> Result<Option<Vec<u8>>, RegistryError> {
        let path = self.blobs.join(digest.hex());
        let Some(bytes) = read(&path, limit)? else { return Ok(None) };
        if Sha256::of(&bytes) == digest { Ok(Some(bytes)) } else { Err(RegistryError::Damaged { path }) }
    }

    pub(crate) fn keep_blob(&self, digest: Sha256, bytes: &[u8]) -> Result<(), RegistryError> {
        write(&self.blobs.join(digest.hex()), bytes)?;
        self.evict()
    }

    /// What was last found for `key`, which is a file name.
    pub(crate) fn listing<T: for<'d> Deserialize<'d>>(&self, key: &str) -> Result<Option<T>, RegistryError> {
        let path = self.listings.join(key);
        let Some(bytes) = read(&path, MAX_LISTING)? else { return Ok(None) };
        let damaged = || RegistryError::Damaged { path: path.clone() };
        let Ok(sealed) = serde_json::from_slice::<Sealed>(&bytes) else { return Err(damaged()) };
        if Sha256::of(sealed.text.as_bytes()) != sealed.sha256 {
            return Err(damaged());
        }
        match serde_json::from_str(&sealed.text) {
            Ok(listing) => Ok(Some(listing)),
            Err(_unreadable) => Err(damaged()),
        }
    }

    pub(crate) fn keep_listing(&self, key: &str, listing: &impl Serialize) -> Result<(), RegistryError> {
        let path = self.listings.join(key);
        let failed = |error: serde_json::Error| RegistryError::File { path: path.clone(), source: error.into() };
        let text = serde_json::to_string(listing).map_err(failed)?;
        let sealed = Sealed { sha256: Sha256::of(text.as_bytes()), text };
        write(&path, &serde_json::to_vec(&sealed).map_err(failed)?)
    }

    /// Removes the blobs that were kept longest ago until the rest fits. A listing whose blob is gone is fetched anew.
    fn evict(&self) -> Result<(), RegistryError> {
        let failed = |source| RegistryError::File { path: self.blobs.clone(), source };
        let mut all: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.blobs).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let found = entry.metadata().map_err(failed)?;
            all.push((found.modified().map_err(failed)?, found.len(), entry.path()));
        }
        let mut total: u64 = all.iter().map(|(_, size, _)| size).sum();
        all.sort();
        for (_, size, path) in all {
            if total <= self.max_bytes {
                break;
            }
            fs::remove_file(&path).map_err(|source| RegistryError::File { path, source })?;
            total = total.saturating_sub(size);
        }
        Ok(())
    }
}

fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, RegistryError> {
    let failed = |source| RegistryError::File { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(RegistryError::Damaged { path: path.to_owned() });
    }
    Ok(Some(bytes))
}

/// Whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<(), RegistryError> {
    static DRAFTS: AtomicU64 = AtomicU64::new(0);
    let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
    let draft = path.with_extension(format!("draft-{}-{number}", std::process::id()));
    let written = fs::write(&draft, bytes).and_then(|()| fs::rename(&draft, path));
    written.map_err(|source| RegistryError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_checked_and_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path(), 10).unwrap();
        let (first, second) = (Sha256::of(b"first"), Sha256::of(b"second one"));
        cache.keep_blob(first, b"first").unwrap();
        assert_eq!(cache.blob(first, 100).unwrap().as_deref(), Some(b"first".as_slice()));
        fs::write(directory.path().join("blobs").join(first.hex()), b"other").unwrap();
        assert!(matches!(cache.blob(first, 100), Err(RegistryError::Damaged { .. })));
        cache.keep_blob(second, b"second one").unwrap();
        let kept = fs::read_dir(directory.path().join("blobs")).unwrap().count();
        assert_eq!(kept, 1, "10 bytes are kept, not 15");
    }

    #[test]
    fn a_changed_listing_is_damage() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path(), 10).unwrap();
        cache.keep_listing("a", &vec!["x".to_owned()]).unwrap();
        assert_eq!(cache.listing::<Vec<String>>("a").unwrap(), Some(vec!["x".to_owned()]));
        assert_eq!(cache.listing::<Vec<String>>("b").unwrap(), None);
        let path = directory.path().join("images/a");
        let changed = fs::read_to_string(&path).unwrap().replace('x', "y");
        fs::write(&path, changed).unwrap();
        assert!(matches!(cache.listing::<Vec<String>>("a"), Err(RegistryError::Damaged { .. })));
    }
}
