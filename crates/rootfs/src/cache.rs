//! What is known of a layer's files, kept on disk: a layer is hashed once, however many images share it.
//!
//! A fact counts only while the file's inode, size, mode, and times of last change are those it was read with; nobody can
//! set the change time back. The whole is sealed with a digest: a damaged index is dropped and the layer read again, so
//! damage costs time and nothing else. The directory belongs to its owner alone, who could change the layers as well.

use std::{
    collections::HashMap,
    fs::{self, DirBuilder, File},
    io::{self, Read as _, Write as _},
    os::unix::{ffi::OsStrExt as _, fs::DirBuilderExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use plimsoll_sbom::{ExecFact, ExecKind, Sha256};
use rustix::io::Errno;

use crate::error::RootfsError;

const MAGIC: &[u8; 16] = b"plimsoll-layer1\n";
/// Bytes of one record; see [`encode`].
const RECORD: usize = 8 + 8 + 4 + 32 + 1 + 32 + 20 + 16;
const DIGEST: usize = 32;
/// Files of one layer.
const MAX_RECORDS: usize = 4_000_000;

/// Times of last change of content and of inode: seconds and nanoseconds of each.
pub(crate) type Stamp = [i64; 4];

/// Which content a fact is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) ino: u64,
    pub(crate) size: u64,
    pub(crate) mode: u32,
    pub(crate) stamp: Stamp,
}

/// Facts about the files of one layer: how each would run, or that it would not.
pub(crate) type Facts = HashMap<Identity, Option<ExecFact>>;

/// A directory with one index for each layer.
#[derive(Debug)]
pub struct LayerCache {
    directory: PathBuf,
    max_bytes: u64,
    drafts: AtomicU64,
}

impl LayerCache {
    /// Makes the directory. At most `max_bytes` are kept; the layers that were used longest ago go first.
    pub fn open(directory: &Path, max_bytes: u64) -> Result<Self, RootfsError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|error| failed("make", directory, &error))?;
        Ok(Self { directory: directory.to_owned(), max_bytes, drafts: AtomicU64::new(0) })
    }

    /// What is known of the layer `key`. Nothing, and why, if its index is damaged.
    pub(crate) fn load(&self, key: &str) -> (Facts, Option<String>) {
        let path = self.directory.join(key);
        match read(&path) {
            Ok(Some(bytes)) => match decode(&bytes) {
                Some(facts) => {
                    touch(&path);
                    (facts, None)
                }
                None => (Facts::new(), Some(format!("`{}` is damaged; the layer is read again", path.display()))),
            },
            Ok(None) => (Facts::new(), None),
            Err(error) => (Facts::new(), Some(format!("`{}` cannot be read: {error}", path.display()))),
        }
    }

    /// Keeps what is known of a layer, whole or not at all.
    pub(crate) fn save(&self, key: &str, facts: &Facts) -> Result<(), String> {
        let path = self.directory.join(key);
        let number = self.drafts.fetch_add(1, Ordering::Relaxed);
        let draft = self.directory.join(format!("{key}.{}-{number}.draft", std::process::id()));
        let written = File::create(&draft).and_then(|mut file| file.write_all(&encode(facts)));
        written
            .and_then(|()| fs::rename(&draft, &path))
            .and_then(|()| self.evict())
            .map_err(|error| format!("`{}` cannot be kept: {error}", path.display()))
    }

    fn evict(&self) -> io::Result<()> {
        let mut all: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            // Another thread may have renamed its draft meanwhile.
            if let Ok(found) = entry.metadata() {
                all.push((found.modified()?, found.len(), entry.path()));
            }
        }
        let mut total: u64 = all.iter().map(|(_, size, _)| size).sum();
        all.sort();
        for (_, size, path) in all {
            if total <= self.max_bytes {
                break;
            }
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => total = total.saturating_sub(size),
            }
        }
        Ok(())
    }
}

/// A layer's name in the cache: where it is, and which directory that is now.
pub(crate) fn key(path: &Path, device: u64, ino: u64) -> String {
    Sha256::of(&[path.as_os_str().as_bytes(), &device.to_le_bytes(), &ino.to_le_bytes()].concat()).hex()
}

fn failed(action: &'static str, path: &Path, error: &io::Error) -> RootfsError {
    let source = Errno::from_io_error(error).unwrap_or(Errno::IO);
    RootfsError::Io { action, path: path.to_owned(), source }
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take((MAGIC.len() + RECORD * MAX_RECORDS + DIGEST) as u64).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Marks as used; if that fails, the layer is only forgotten sooner.
fn touch(path: &Path) {
    if let Err(error) = File::open(path).and_then(|file| file.set_modified(SystemTime::now())) {
        drop(error);
    }
}

fn encode(facts: &Facts) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for (identity, fact) in facts.iter().take(MAX_RECORDS) {
        bytes.extend(identity.ino.to_le_bytes());
        bytes.extend(identity.size.to_le_bytes());
        bytes.extend(identity.mode.to_le_bytes());
        identity.stamp.iter().for_each(|time| bytes.extend(time.to_le_bytes()));
        bytes.push(fact.as_ref().map_or(0, |fact| kind_number(fact.kind)));
        match fact {
            Some(fact) => {
                bytes.extend(fact.sha256.0);
                bytes.extend(fact.sha1);
                bytes.extend(fact.md5);
            }
            None => bytes.extend([0; 32 + 20 + 16]),
        }
    }
    let digest = Sha256::of(&bytes);
    bytes.extend(digest.0);
    bytes
}

fn decode(bytes: &[u8]) -> Option<Facts> {
    let (sealed, digest) = bytes.split_last_chunk::<DIGEST>()?;
    if Sha256::of(sealed).0 != *digest {
        return None;
    }
    let records = sealed.strip_prefix(MAGIC)?.chunks_exact(RECORD);
    if !records.remainder().is_empty() {
        return None;
    }
    records.map(record).collect()
}

fn record(bytes: &[u8]) -> Option<(Identity, Option<ExecFact>)> {
    let mut reader = Fields(bytes);
    let ino = u64::from_le_bytes(reader.take()?);
    let size = u64::from_le_bytes(reader.take()?);
    let mode = u32::from_le_bytes(reader.take()?);
    let mut stamp = [0; 4];
    for time in &mut stamp {
        *time = i64::from_le_bytes(reader.take()?);
    }
    let [number] = reader.take()?;
    let (sha256, sha1, md5) = (Sha256(reader.take()?), reader.take()?, reader.take()?);
    let fact = match number {
        0 => None,
        number => Some(ExecFact { kind: kind_of(number)?, sha256, sha1, md5 }),
    };
    Some((Identity { ino, size, mode, stamp }, fact))
}

struct Fields<'b>(&'b [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }
}

pub(crate) fn kind_number(kind: ExecKind) -> u8 {
    match kind {
        ExecKind::Elf => 1,
        ExecKind::Script => 2,
        ExecKind::Other => 3,
    }
}

pub(crate) fn kind_of(number: u8) -> Option<ExecKind> {
    match number {
        1 => Some(ExecKind::Elf),
        2 => Some(ExecKind::Script),
        3 => Some(ExecKind::Other),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let fact = ExecFact { kind: ExecKind::Script, sha256: Sha256::of(b"a"), sha1: [1; 20], md5: [2; 16] };
        let identity = |ino| Identity { ino, size: 3, mode: 0o755, stamp: [1, 2, 3, -4] };
        HashMap::from([(identity(1), Some(fact)), (identity(2), None)])
    }

    #[test]
    fn facts_come_back_as_they_were() {
        let directory = tempfile::tempdir().unwrap();
        let cache = LayerCache::open(directory.path(), 1 << 20).unwrap();
        assert_eq!(cache.load("a"), (Facts::new(), None));
        cache.save("a", &facts()).unwrap();
        assert_eq!(cache.load("a"), (facts(), None));
    }

    #[test]
    fn any_damage_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let cache = LayerCache::open(directory.path(), 1 << 20).unwrap();
        cache.save("a", &facts()).unwrap();
        let whole = fs::read(directory.path().join("a")).unwrap();
        for position in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[position] ^= 1;
            assert_eq!(decode(&damaged), None, "byte {position}");
        }
        fs::write(directory.path().join("a"), &whole[..whole.len() - 1]).unwrap();
        let (facts, problem) = cache.load("a");
        assert_eq!(facts, Facts::new());
        assert!(problem.unwrap().contains("is damaged"));
    }

    #[test]
    fn the_cache_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let one = encode(&facts()).len() as u64;
        let cache = LayerCache::open(directory.path(), 2 * one).unwrap();
        for (name, age) in [("a", 30), ("b", 20), ("c", 10)] {
            cache.save(name, &facts()).unwrap();
            let file = File::open(directory.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - std::time::Duration::from_secs(age)).unwrap();
        }
        cache.save("d", &facts()).unwrap();
        let kept = |name: &str| directory.path().join(name).exists();
        assert_eq!(["a", "b", "c", "d"].map(kept), [false, false, true, true]);
    }
}
