//! Remembers the highest version seen of everything that is versioned, so that an old one is not taken again.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use plimsoll_sbom::Sha256;
use serde::{Deserialize, Serialize};

/// Names remembered. More than any node needs; a flood of names must not fill its disk.
const MAX_NAMES: usize = 100_000;
const MAX_BYTES: u64 = 64 << 20;

/// Why a version is refused, or cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// Older than what was seen.
    #[error("rolled back: version {offered} of {name} is older than version {seen}, which was in force here")]
    RolledBack {
        /// What.
        name: String,
        /// Its version.
        offered: u64,
        /// The highest version seen.
        seen: u64,
    },
    /// Two different contents with one version.
    #[error(
        "version {version} of {name} has other content than the version {version} that was in force here; count up"
    )]
    SameVersion {
        /// What.
        name: String,
        /// The version of both.
        version: u64,
    },
    /// Without the memory nothing can be compared.
    #[error("cannot use `{}`, which remembers versions", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// What is to be compared has no encoding.
    #[error("cannot be compared with what is remembered: {0}")]
    Encode(String),
    /// Something else wrote it.
    #[error("`{}` is damaged: {reason}; remove it only if you know that no old version can be offered", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl MemoryError {
    /// The failure's name in metrics and JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RolledBack { .. } => "rolled-back",
            Self::SameVersion { .. } => "same-version",
            Self::Io { .. } | Self::Encode(_) | Self::Damaged { .. } => "memory",
        }
    }
}

/// How a version compares with what is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Never, or only lower ones.
    New,
    /// Exactly this one.
    Same,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Remembered {
    version: u64,
    digest: Sha256,
}

/// One file with the highest version of each name.
#[derive(Debug)]
pub struct Memory {
    path: PathBuf,
    known: BTreeMap<String, Remembered>,
}

impl Memory {
    /// Reads `path`; a file that is not there has seen nothing.
    pub fn open(path: &Path) -> Result<Self, MemoryError> {
        let damaged = |reason: String| MemoryError::Damaged { path: path.to_owned(), reason };
        let known = match fs::metadata(path).and_then(|found| Ok((found.len(), fs::read(path)?))) {
            Ok((size, _)) if size > MAX_BYTES => return Err(damaged(format!("it has {size} bytes"))),
            Ok((_, text)) => serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(MemoryError::Io { path: path.to_owned(), source }),
        };
        Ok(Self { path: path.to_owned(), known })
    }

    /// Compares; remembers nothing.
    pub fn check(&self, name: &str, version: u64, digest: Sha256) -> Result<Seen, MemoryError> {
        let name = || name.to_owned();
        match self.known.get(name().as_str()) {
            Some(seen) if version < seen.version => {
                Err(MemoryError::RolledBack { name: name(), offered: version, seen: seen.version })
            }
            Some(seen) if version == seen.version && digest != seen.digest => {
                Err(MemoryError::SameVersion { name: name(), version })
            }
            Some(seen) if version == seen.version => Ok(Seen::Same),
            _ => Ok(Seen::New),
        }
    }

    /// Compares, and writes a new highest version to disk before it returns.
    pub fn accept(&mut self, name: &str, version: u64, digest: Sha256) -> Result<Seen, MemoryError> {
        let seen = self.check(name, version, digest)?;
        if seen == Seen::New {
            if self.known.len() >= MAX_NAMES && !self.known.contains_key(name) {
                let reason = format!("it remembers {MAX_NAMES} names already");
                return Err(MemoryError::Damaged { path: self.path.clone(), reason });
            }
            let mut next = self.known.clone();
            next.insert(name.to_owned(), Remembered { version, digest });
            self.write(&next).map_err(|source| MemoryError::Io { path: self.path.clone(), source })?;
            self.known = next;
        }
        Ok(seen)
    }

    /// Whole or not at all, and on disk: a power cut must not bring an old version back.
    fn write(&self, known: &BTreeMap<String, Remembered>) -> io::Result<()> {
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let draft = self.path.with_extension("draft");
        let mut file = File::create(&draft)?;
        file.write_all(&serde_json::to_vec(known)?)?;
        file.sync_all()?;
        fs::rename(&draft, &self.path)?;
        File::open(directory)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_only_grow_and_outlive_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state/versions.json");
        let (old, new) = (Sha256::of(b"old"), Sha256::of(b"new"));
        let mut memory = Memory::open(&path).unwrap();
        assert_eq!(memory.accept("a", 1, old).unwrap(), Seen::New);
        assert_eq!(memory.accept("a", 2, new).unwrap(), Seen::New);
        assert_eq!(memory.accept("a", 2, new).unwrap(), Seen::Same);
        let mut again = Memory::open(&path).unwrap();
        assert!(matches!(again.accept("a", 1, old), Err(MemoryError::RolledBack { offered: 1, seen: 2, .. })));
        assert!(matches!(again.accept("a", 2, old), Err(MemoryError::SameVersion { version: 2, .. })));
        assert_eq!(again.accept("b", 1, old).unwrap(), Seen::New);
    }

    #[test]
    fn a_damaged_memory_forgets_nothing_by_accident() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("versions.json");
        fs::write(&path, b"{").unwrap();
        assert!(matches!(Memory::open(&path), Err(MemoryError::Damaged { .. })));
    }
}
