//! Maps of network rules.

use aya::{
    Pod,
    maps::{
        HashMap, Map, MapData,
        lpm_trie::{Key, LpmTrie},
    },
};
use plimsoll_abi::{
    NameKey, PathKey, map_names,
    network::{AddressKey, PortRanges},
};

use super::{MapError, absent_is_fine, pods, refused, typed};

pods! {
    PodAddress wraps AddressKey;
    PodRanges wraps PortRanges;
    PodName wraps NameKey;
}

/// Prefixes of addresses, names, and kinds of sockets, of all allowlists.
pub struct NetworkMaps {
    addresses: LpmTrie<MapData, PodAddress, PodRanges>,
    sockets: HashMap<MapData, u32, u64>,
    names: HashMap<MapData, PodName, PodRanges>,
    key: PathKey,
}

/// A prefix: bits of the key that count, and the key.
pub type PrefixKey = (u32, AddressKey);

impl NetworkMaps {
    pub(super) fn new(addresses: Map, sockets: Map, names: Map, key: PathKey) -> Result<Self, MapError> {
        Ok(Self {
            addresses: typed(addresses, map_names::ADDRESSES)?,
            sockets: typed(sockets, map_names::SOCKETS)?,
            names: typed(names, map_names::NAMES)?,
            key,
        })
    }

    /// The key by which names are hashed.
    pub fn key(&self) -> PathKey {
        self.key
    }

    /// Adds or replaces one name.
    pub fn insert_name(&mut self, name: NameKey, ranges: PortRanges) -> Result<(), MapError> {
        self.names
            .insert(PodName(name), PodRanges(ranges), 0)
            .map_err(|source| refused(map_names::NAMES, "an insertion", source))
    }

    /// Drops one name; that it is not there is no error.
    pub fn remove_name(&mut self, name: NameKey) -> Result<(), MapError> {
        absent_is_fine(self.names.remove(&PodName(name)), map_names::NAMES)
    }

    /// All names.
    pub fn names(&self) -> Result<Vec<NameKey>, MapError> {
        let keys = self.names.keys().map(|key| key.map(|key| key.0));
        keys.map(|key| key.map_err(|source| refused(map_names::NAMES, "reading", source))).collect()
    }

    /// Adds or replaces one prefix.
    pub fn insert(&mut self, (bits, key): PrefixKey, ranges: PortRanges) -> Result<(), MapError> {
        self.addresses
            .insert(&Key::new(bits, PodAddress(key)), PodRanges(ranges), 0)
            .map_err(|source| refused(map_names::ADDRESSES, "an insertion", source))
    }

    /// Drops one prefix; that it is not there is no error.
    pub fn remove(&mut self, (bits, key): PrefixKey) -> Result<(), MapError> {
        absent_is_fine(self.addresses.remove(&Key::new(bits, PodAddress(key))), map_names::ADDRESSES)
    }

    /// All prefixes.
    pub fn keys(&self) -> Result<Vec<PrefixKey>, MapError> {
        self.addresses
            .keys()
            .map(|key| {
                key.map(|key| (key.prefix_len(), key.data().0))
                    .map_err(|source| refused(map_names::ADDRESSES, "reading", source))
            })
            .collect()
    }

    /// Says which kinds of sockets an allowlist names.
    pub fn permit_sockets(&mut self, allowlist: u32, kinds: u64) -> Result<(), MapError> {
        self.sockets.insert(allowlist, kinds, 0).map_err(|source| refused(map_names::SOCKETS, "an insertion", source))
    }

    /// Takes that back; that nothing was said is no error.
    pub fn forget_sockets(&mut self, allowlist: u32) -> Result<(), MapError> {
        absent_is_fine(self.sockets.remove(&allowlist), map_names::SOCKETS)
    }

    /// Allowlists that name kinds of sockets.
    pub fn with_sockets(&self) -> Result<Vec<u32>, MapError> {
        self.sockets.keys().map(|key| key.map_err(|source| refused(map_names::SOCKETS, "reading", source))).collect()
    }
}
