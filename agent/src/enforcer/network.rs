//! Network rules as entries of the kernel's maps.

use plimsoll_abi::map_names;
use plimsoll_policy::Network;

use super::entries::full;
use crate::sensor::maps::{MapError, NetworkMaps, PrefixKey};

/// What one id has in the maps of network rules.
#[derive(Debug, Default)]
pub(super) struct NetworkEntries {
    prefixes: Vec<PrefixKey>,
    /// The id, if it names kinds of sockets.
    sockets: Option<u32>,
}

impl NetworkEntries {
    /// Writes all rules under `id`. What was written when an insertion fails is known here, so that it can be removed.
    pub(super) fn write(&mut self, maps: &mut NetworkMaps, id: u32, network: &Network) -> Result<(), MapError> {
        for prefix in &network.prefixes {
            let (bits, key, ranges) = prefix.kernel(id);
            let inserted = maps.insert((bits, key), ranges);
            inserted.map_err(|error| full(&error, map_names::ADDRESSES, network.prefixes.len()))?;
            self.prefixes.push((bits, key));
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
        self.sockets.map_or(Ok(()), |id| maps.forget_sockets(id))
    }

    pub(super) fn len(&self) -> usize {
        self.prefixes.len() + usize::from(self.sockets.is_some())
    }
}

/// Removes what allowlists left that are not `live`; returns how many entries those were.
pub(super) fn forget_orphans(maps: &mut NetworkMaps, live: &[u32]) -> Result<usize, MapError> {
    let prefixes: Vec<_> = maps.keys()?.into_iter().filter(|(_, key)| !live.contains(&key.allowlist)).collect();
    let sockets: Vec<_> = maps.with_sockets()?.into_iter().filter(|id| !live.contains(id)).collect();
    for key in &prefixes {
        maps.remove(*key)?;
    }
    for id in &sockets {
        maps.forget_sockets(*id)?;
    }
    Ok(prefixes.len() + sockets.len())
}

/// The highest allowlist id that has entries.
pub(super) fn highest_id(maps: &NetworkMaps) -> Result<u32, MapError> {
    let prefixes = maps.keys()?.into_iter().map(|(_, key)| key.allowlist);
    Ok(prefixes.chain(maps.with_sockets()?).max().unwrap_or(0))
}
