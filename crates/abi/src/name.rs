//! Names that network rules speak of, and the addresses that resolvers' answers gave them.
//!
//! A name is hashed as a message of DNS has it, labels with their lengths, from its end on: so every parent domain is met on
//! the way to the whole name.

use crate::{ADDRESS_LEN, PathHash, PathKey};

/// Names that all policies of a node may have in rules.
pub const MAX_NAMES: u32 = 1 << 16;
/// Addresses that a node remembers; the ones that nobody asked for longest are forgotten first.
pub const MAX_LEARNT: u32 = 1 << 14;
/// Names that one address may have for one workload at once.
pub const NAMES_OF_ADDRESS: usize = 4;
/// Bytes of the longest name, its last length of 0 left out.
pub const MAX_DOMAIN: usize = 254;
/// An address counts for this long at least, in seconds: programs keep addresses longer than they should.
pub const SHORTEST_STAY: u64 = 3600;
/// And at most for this long, whatever the answer says.
pub const LONGEST_STAY: u64 = 86_400;

/// Kinds of names in rules.
pub mod name_kind {
    /// This name.
    pub const EXACT: u32 = 0;
    /// Every name below this one.
    pub const BELOW: u32 = 1;
}

impl PathKey {
    /// The hash of a name in lower case, without a dot at its end.
    pub fn domain(&self, name: &str) -> PathHash {
        let mut hash = self.root();
        for label in name.rsplit('.') {
            for byte in label.bytes().rev() {
                hash = self.step(hash, u64::from(byte));
            }
            hash = self.step(hash, label.len() as u64);
        }
        hash
    }
}

/// A name in the rules of an allowlist.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NameKey {
    /// The name.
    pub hash: PathHash,
    /// Allowlist id.
    pub allowlist: u32,
    /// One of [`name_kind`].
    pub kind: u32,
}

/// An address that a workload was given.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LearntKey {
    /// IPv6, or IPv4 mapped into it.
    pub address: [u8; ADDRESS_LEN],
    /// Workload slot.
    pub slot: u32,
    /// Incarnation of the slot.
    pub incarnation: u32,
}

/// A name of a rule that an address was given for.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearntName {
    /// The rule's name.
    pub hash: PathHash,
    /// One of [`name_kind`].
    pub kind: u64,
    /// Nanoseconds since boot; 0 is a place that is free.
    pub until: u64,
}

/// Names of an address.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learnt {
    /// In no order.
    pub names: [LearntName; NAMES_OF_ADDRESS],
}

impl Learnt {
    /// No name.
    pub const NOTHING: Self =
        Self { names: [LearntName { hash: PathHash { high: 0, low: 0 }, kind: 0, until: 0 }; NAMES_OF_ADDRESS] };
}

const _: () = {
    assert!(size_of::<NameKey>() == 24);
    assert!(size_of::<LearntKey>() == 24);
    assert!(size_of::<Learnt>() == 32 * NAMES_OF_ADDRESS);
};
