//! Network rules as entries of the kernel's maps.

use plimsoll_abi::{NameKey, map_names};
use plimsoll_policy::Network;

use super::entries::full;
use crate::sensor::maps::{MapError, NetworkMaps, PrefixKey};

/// What one id has in the maps of network rules.
#[derive(Debug, Default)]
pub(super) struct NetworkEntries {
    prefixes: Vec<PrefixKey>,
    names: Vec<NameKey>,
    /// The id, if it names kinds of sockets.
    sockets: Option<u32>,
}

impl NetworkEntries {
    /// Writes all rules under `id`. What was written when an insertion fails is known here, so that it can be removed.
    pub(super) fn write(&mut self, maps: &mut NetworkMaps, id: u32, network: &Network) -> Result<(), MapError> {
        let prefixes = network.prefixes.iter().map(|prefix| prefix.kernel(id)).chain(network.kernel_resolvers(id));
        for (bits, key, ranges) in prefixes {
            let inserted = maps.insert((bits, key), ranges);
            inserted.map_err(|error| full(&error, map_names::ADDRESSES, network.prefixes.len()))?;
            self.prefixes.push((bits, key));
        }
        for name in &network.names {
            let (key, ranges) = name.kernel(&maps.key(), id);
            maps.insert_name(key, ranges).map_err(|error| full(&error, map_names::NAMES, network.names.len()))?;
            self.names.push(key);
        }
        if network.sockets != 0 {
            maps.permit_sockets(id, network.sockets).map_err(|error| full(&error, map_names::SOCKETS, 1))?;
            self.sockets = Some(id);
        }
        Ok(())
    }

    /// Removes them all.
    pub(super) fn remove(self, maps: &mut NetworkMaps) -> Result<(), MapError> {
        for key in self.prefixes {
            maps.remove(key)?;
        }
        for name in self.names {
            maps.remove_name(name)?;
        }
        self.sockets.map_or(Ok(()), |id| maps.forget_sockets(id))
    }

    pub(super) fn len(&self) -> usize {
        self.prefixes.len() + self.names.len() + usize::from(self.sockets.is_some())
    }
}

/// Removes what allowlists left that are not `live`; returns how many entries those were.
pub(super) fn forget_orphans(maps: &mut NetworkMaps, live: &[u32]) -> Result<usize, MapError> {
    let prefixes: Vec<_> = maps.keys()?.into_iter().filter(|(_, key)| !live.contains(&key.allowlist)).collect();
    let names: Vec<_> = maps.names()?.into_iter().filter(|name| !live.contains(&name.allowlist)).collect();
    let sockets: Vec<_> = maps.with_sockets()?.into_iter().filter(|id| !live.contains(id)).collect();
    for key in &prefixes {
        maps.remove(*key)?;
    }
    for name in &names {
        maps.remove_name(*name)?;
    }
    for id in &sockets {
        maps.forget_sockets(*id)?;
    }
    Ok(prefixes.len() + names.len() + sockets.len())
}

/// The highest allowlist id that has entries.
pub(super) fn highest_id(maps: &NetworkMaps) -> Result<u32, MapError> {
    let prefixes = maps.keys()?.into_iter().map(|(_, key)| key.allowlist);
    let names = maps.names()?.into_iter().map(|name| name.allowlist);
    Ok(prefixes.chain(names).chain(maps.with_sockets()?).max().unwrap_or(0))
}
