//! Typed handles on the maps of file rules.
#![expect(missing_debug_implementations, reason = "handles on kernel objects; those of `aya` have none either")]

use std::{
    fs::File,
    io::{self, Read as _},
};

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, MapData},
};
use plimsoll_abi::{FileFilter, FileKey, FileRule, PathKey, Volume, VolumeKey, map_names};

use super::maps::{MapError, absent_is_fine, borrowed, pods, refused, typed};

pods! {
    PodFileKey wraps FileKey;
    PodFileRule wraps FileRule;
    PodFilter wraps FileFilter;
    PodVolumeKey wraps VolumeKey;
    PodVolume wraps Volume;
    PodPathKey wraps PathKey;
}

/// File rules of all lists, and volumes of all workloads.
pub struct FileMaps {
    rules: HashMap<MapData, PodFileKey, PodFileRule>,
    lists: HashMap<MapData, u32, PodFilter>,
    volumes: HashMap<MapData, PodVolumeKey, PodVolume>,
    filters: Array<MapData, PodFilter>,
    key: PathKey,
}

impl FileMaps {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, MapError> {
        let key = path_key(&mut borrowed(ebpf, map_names::PATH_KEY)?)?;
        let mut take = |name: &'static str| ebpf.take_map(name).ok_or(MapError::Missing(name));
        Ok(Self {
            rules: typed(take(map_names::FILE_RULES)?, map_names::FILE_RULES)?,
            lists: typed(take(map_names::FILE_LISTS)?, map_names::FILE_LISTS)?,
            volumes: typed(take(map_names::VOLUMES)?, map_names::VOLUMES)?,
            filters: typed(take(map_names::VOLUME_FILTERS)?, map_names::VOLUME_FILTERS)?,
            key,
        })
    }

    /// The key with which paths are hashed; the same for as long as the maps are pinned.
    pub fn key(&self) -> PathKey {
        self.key
    }

    /// Adds or replaces what is said of one path.
    pub fn insert_rule(&mut self, key: FileKey, rule: FileRule) -> Result<(), MapError> {
        let outcome = self.rules.insert(PodFileKey(key), PodFileRule(rule), 0);
        outcome.map_err(|source| refused(map_names::FILE_RULES, "an insertion", source))
    }

    /// Drops what is said of one path; that it is not there is no error.
    pub fn remove_rule(&mut self, key: FileKey) -> Result<(), MapError> {
        absent_is_fine(self.rules.remove(&PodFileKey(key)), map_names::FILE_RULES)
    }

    /// Keys of all rules.
    pub fn rule_keys(&self) -> Result<Vec<FileKey>, MapError> {
        let key = |key: Result<PodFileKey, _>| key.map(|key| key.0);
        self.rules
            .keys()
            .map(|found| key(found).map_err(|source| refused(map_names::FILE_RULES, "reading", source)))
            .collect()
    }

    /// Says which paths a list has rules for. Without it, all is denied to the list's workloads.
    pub fn insert_list(&mut self, list: u32, filter: FileFilter) -> Result<(), MapError> {
        let outcome = self.lists.insert(list, PodFilter(filter), 0);
        outcome.map_err(|source| refused(map_names::FILE_LISTS, "an insertion", source))
    }

    /// Drops a list; that it is not there is no error.
    pub fn remove_list(&mut self, list: u32) -> Result<(), MapError> {
        absent_is_fine(self.lists.remove(&list), map_names::FILE_LISTS)
    }

    /// Ids of all lists.
    pub fn list_ids(&self) -> Result<Vec<u32>, MapError> {
        self.lists.keys().map(|id| id.map_err(|source| refused(map_names::FILE_LISTS, "reading", source))).collect()
    }

    /// Tells where the volumes of the workload in `slot` begin.
    pub fn set_volumes(&mut self, slot: u32, volumes: &[(VolumeKey, Volume)]) -> Result<(), MapError> {
        let mut filter = FileFilter::EMPTY;
        for (key, volume) in volumes {
            let outcome = self.volumes.insert(PodVolumeKey(*key), PodVolume(*volume), 0);
            outcome.map_err(|source| refused(map_names::VOLUMES, "an insertion", source))?;
            let (word, hash) = VolumeKey::in_filter(key.dev, key.ino);
            filter.insert(word, hash);
        }
        let outcome = self.filters.set(slot, PodFilter(filter), 0);
        outcome.map_err(|source| refused(map_names::VOLUME_FILTERS, "a record", source))
    }

    /// Drops the volumes of a slot's tenants.
    pub fn remove_volumes(&mut self, slot: u32) -> Result<(), MapError> {
        let keys: Result<Vec<_>, _> = self.volumes.keys().collect();
        let keys = keys.map_err(|source| refused(map_names::VOLUMES, "reading", source))?;
        for key in keys.into_iter().filter(|key| key.0.slot == slot) {
            absent_is_fine(self.volumes.remove(&key), map_names::VOLUMES)?;
        }
        Ok(())
    }
}

/// The key in the map, chosen now if none is there: entries that earlier agents wrote were hashed with it.
fn path_key(keys: &mut Array<&mut MapData, PodPathKey>) -> Result<PathKey, MapError> {
    let known = keys.get(&0, 0).map_err(|source| refused(map_names::PATH_KEY, "reading", source))?.0;
    if known.words != [0; 4] {
        return Ok(known);
    }
    let chosen = random_key().map_err(MapError::Random)?;
    keys.set(0, PodPathKey(chosen), 0).map_err(|source| refused(map_names::PATH_KEY, "a key", source))?;
    Ok(chosen)
}

fn random_key() -> io::Result<PathKey> {
    let mut words = [0; 4];
    let mut source = File::open("/dev/urandom")?;
    for word in &mut words {
        let mut bytes = [0; 8];
        source.read_exact(&mut bytes)?;
        *word = u64::from_ne_bytes(bytes);
    }
    Ok(PathKey { words })
}
