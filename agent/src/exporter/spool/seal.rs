//! Encryption of what lies in the spool. Each segment has a key of its own, which lies in its header, sealed with a key
//! of the key file; so the key file can be replaced, and can lie on another disk than the spool.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    rand,
};
use serde::{Deserialize, Serialize};

use super::SpoolError;

/// Bytes that sealing adds: the nonce before, the tag after.
pub(super) const OVERHEAD: usize = NONCE_LEN + 16;
/// Bytes of a key.
const KEY: usize = 32;
/// Age of a key after which new segments get another.
const ROTATE: Duration = Duration::from_hours(7 * 24);

/// Seals and opens with one key. What was sealed for one place is not opened at another.
#[derive(Debug)]
pub(super) struct Sealer(RandomizedNonceKey);

impl Sealer {
    fn new(key: &[u8]) -> io::Result<Self> {
        RandomizedNonceKey::new(&AES_256_GCM, key).map(Self).map_err(|_length| io::ErrorKind::InvalidData.into())
    }

    /// Nonce, ciphertext and tag.
    pub(super) fn seal(&self, plain: &[u8], place: &[u8]) -> io::Result<Vec<u8>> {
        let mut sealed = Vec::with_capacity(plain.len() + OVERHEAD);
        sealed.extend_from_slice(plain);
        let nonce = self.0.seal_in_place_append_tag(Aad::from(place), &mut sealed).map_err(io::Error::other)?;
        sealed.splice(..0, nonce.as_ref().iter().copied());
        Ok(sealed)
    }

    /// What was sealed; `None` if it is not what was sealed for this place.
    pub(super) fn open(&self, sealed: &[u8], place: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut plain = rest.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.0.open_in_place(nonce, Aad::from(place), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

/// The place of a record.
pub(super) fn place(segment: u64, offset: u64) -> [u8; 16] {
    let mut place = [0; 16];
    for (to, from) in place.iter_mut().zip(segment.to_le_bytes().into_iter().chain(offset.to_le_bytes())) {
        *to = from;
    }
    place
}

/// A segment's key as it lies in the header.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Wrapped {
    /// Which key of the key file opens it.
    pub(super) key: String,
    sealed: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct Key {
    id: String,
    secret: String,
    made_unix_s: u64,
}

/// The key file: the newest key last. Readable by its owner alone.
pub(super) struct Keys {
    path: PathBuf,
    keys: Vec<Key>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Keys").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Keys {
    /// Reads the file; if there is none, the first segment makes it.
    pub(super) fn open(path: &Path) -> Result<Self, SpoolError> {
        let failed = |source| SpoolError::Keys { path: path.to_owned(), source };
        let mut keys = Self { path: path.to_owned(), keys: Vec::new() };
        match fs::metadata(path) {
            Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
                return Err(SpoolError::KeysReadable { path: path.to_owned() });
            }
            Ok(_) => {
                let bytes = fs::read(path).map_err(failed)?;
                keys.keys = serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        Ok(keys)
    }

    /// Forgets all keys but the newest and those that are `used`.
    pub(super) fn retain(&mut self, used: &[String]) -> io::Result<()> {
        let before = self.keys.len();
        let newest = self.keys.last().map(|key| key.id.clone());
        self.keys.retain(|key| used.contains(&key.id) || newest.as_ref() == Some(&key.id));
        if self.keys.len() == before { Ok(()) } else { self.save() }
    }

    /// A new key for a segment, and how it lies in the header.
    pub(super) fn issue(&mut self, place: &[u8]) -> io::Result<(Sealer, Wrapped)> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if self.keys.last().is_none_or(|key| now.saturating_sub(key.made_unix_s) >= ROTATE.as_secs()) {
            let (id, secret) = (hex::encode(random::<8>()?), hex::encode(random::<KEY>()?));
            self.keys.push(Key { id, secret, made_unix_s: now });
            if let Err(error) = self.save() {
                self.keys.pop();
                return Err(error);
            }
        }
        let newest = self.keys.last().ok_or(io::ErrorKind::NotFound)?;
        let own = random::<KEY>()?;
        let sealed = hex::encode(newest.sealer()?.seal(&own, place)?);
        Ok((Sealer::new(&own)?, Wrapped { key: newest.id.clone(), sealed }))
    }

    /// Whether the file has the key that opens this.
    pub(super) fn has(&self, wrapped: &Wrapped) -> bool {
        self.keys.iter().any(|key| key.id == wrapped.key)
    }

    /// A segment's key; `None` if the header is not what was written.
    pub(super) fn unwrap(&self, wrapped: &Wrapped, place: &[u8]) -> Option<Sealer> {
        let key = self.keys.iter().find(|key| key.id == wrapped.key)?;
        let own = key.sealer().ok()?.open(&hex::decode(&wrapped.sealed).ok()?, place)?;
        Sealer::new(&own).ok()
    }

    /// Replaces the file, on disk before anything is sealed with what is new in it.
    fn save(&self) -> io::Result<()> {
        let mut temporary = self.path.clone().into_os_string();
        temporary.push(".new");
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&temporary)?;
        file.write_all(&serde_json::to_vec(&self.keys)?)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Key {
    fn sealer(&self) -> io::Result<Sealer> {
        Sealer::new(&hex::decode(&self.secret).map_err(io::Error::other)?)
    }
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_at_its_place_alone_and_unchanged() {
        let own = Sealer::new(&[7; KEY]).unwrap();
        let sealed = own.seal(b"a secret", &place(1, 2)).unwrap();
        assert_eq!(own.open(&sealed, &place(1, 2)).unwrap(), b"a secret");
        assert_eq!(own.open(&sealed, &place(1, 3)), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(own.open(&changed, &place(1, 2)), None, "byte {at}");
            assert_eq!(own.open(&sealed[..at], &place(1, 2)), None, "cut at {at}");
        }
    }

    #[test]
    fn old_keys_are_replaced_and_kept_while_they_are_used() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let mut keys = Keys::open(&path).unwrap();
        let (_, first) = keys.issue(b"x").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(keys.issue(b"x").unwrap().1.key, first.key);
        keys.keys[0].made_unix_s = 0;
        let (_, second) = keys.issue(b"x").unwrap();
        assert_ne!(second.key, first.key);
        let mut again = Keys::open(&path).unwrap();
        assert!(again.unwrap(&first, b"x").is_some() && again.unwrap(&first, b"y").is_none());
        again.retain(std::slice::from_ref(&first.key)).unwrap();
        assert!(again.has(&first));
        again.retain(&[]).unwrap();
        let last = Keys::open(&path).unwrap();
        assert!(!last.has(&first) && last.has(&second));
    }

    #[test]
    fn a_key_file_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        Keys::open(&path).unwrap().issue(b"x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Keys::open(&path), Err(SpoolError::KeysReadable { .. })));
    }
}
