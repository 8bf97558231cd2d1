//! A compiled policy as entries of the kernel's maps: written whole under an id that nothing names yet, or not at all.

use plimsoll_abi::{AllowKey, FileKey, map_names};
use plimsoll_policy::CompiledPolicy;

use super::network::NetworkEntries;
use crate::sensor::maps::{MapError, PolicyMaps};

/// The entries that one id has.
#[derive(Debug, Default)]
pub(super) struct Entries {
    allow: Vec<AllowKey>,
    network: NetworkEntries,
    /// The id, if the policy names capabilities.
    capabilities: Option<u32>,
    files: Vec<FileKey>,
    /// The list that has file rules.
    file_list: Option<u32>,
}

impl Entries {
    /// Writes all that `policy` says under `id`. If any of it does not fit, what was written is taken back.
    pub(super) fn write(maps: &mut PolicyMaps, id: u32, policy: &CompiledPolicy) -> Result<Self, MapError> {
        let mut entries = Self::default();
        match entries.try_write(maps, id, policy) {
            Ok(()) => Ok(entries),
            Err(error) => {
                tracing::error!(%error, policy = policy.name, "a policy did not fit and was taken back");
                entries.remove(maps)?;
                Err(error)
            }
        }
    }

    /// Removes every entry; returns how many there were.
    pub(super) fn remove(self, maps: &mut PolicyMaps) -> Result<usize, MapError> {
        let count = self.len();
        for key in self.allow {
            maps.allow.remove(key)?;
        }
        self.network.remove(&mut maps.network)?;
        if let Some(id) = self.capabilities {
            maps.capabilities.remove(id)?;
        }
        if let Some(list) = self.file_list {
            maps.files.remove_list(list)?;
        }
        for key in self.files {
            maps.files.remove_rule(key)?;
        }
        Ok(count)
    }

    /// Entries of all kinds.
    pub(super) fn len(&self) -> usize {
        self.allow.len() + self.network.len() + self.files.len() + usize::from(self.capabilities.is_some())
    }

    fn try_write(&mut self, maps: &mut PolicyMaps, id: u32, policy: &CompiledPolicy) -> Result<(), MapError> {
        self.allow.reserve(policy.entries.len());
        for entry in &policy.entries {
            let (key, value) = entry.kernel(id);
            maps.allow.insert(key, value).map_err(|error| full(&error, map_names::ALLOW, policy.entries.len()))?;
            self.allow.push(key);
        }
        if let Some(network) = &policy.network {
            self.network.write(&mut maps.network, id, network)?;
        }
        if let Some(capabilities) = policy.hardening.capabilities {
            let inserted = maps.capabilities.insert(id, capabilities.bits());
            inserted.map_err(|error| full(&error, map_names::CAPABILITIES, 1))?;
            self.capabilities = Some(id);
        }
        if policy.files.is_empty() { Ok(()) } else { self.write_files(maps, id, policy) }
    }

    fn write_files(&mut self, maps: &mut PolicyMaps, id: u32, policy: &CompiledPolicy) -> Result<(), MapError> {
        let files = policy.kernel_files(id, &maps.files.key());
        for (key, rule) in &files.entries {
            let outcome = maps.files.insert_rule(*key, *rule);
            outcome.map_err(|error| full(&error, map_names::FILE_RULES, files.entries.len()))?;
            self.files.push(*key);
        }
        maps.files.insert_list(id, files.filter).map_err(|error| full(&error, map_names::FILE_LISTS, 1))?;
        self.file_list = Some(id);
        Ok(())
    }
}

/// A refused insertion nearly always means that the map is full; what the kernel said goes to the log.
pub(super) fn full(error: &MapError, map: &'static str, entries: usize) -> MapError {
    tracing::error!(%error, map, "the kernel refused an entry");
    MapError::Full { map, entries }
}
