//! File rules as the kernel matches them: paths as hashes of their components, and what each of them forbids.
//!
//! A path is counted from the root of the workload's root filesystem, or, on a volume, from where the runtime mounted
//! that volume. Each component gets a keyed hash; folding them from the root to the end gives one state for each prefix,
//! so that every rule that could match is asked for in one pass.

/// A path of this many components, or more, is denied to workloads with file rules: as many hashes as fit on a program's
/// stack.
pub const MAX_DEPTH: usize = 20;
/// Longest component that rules are looked up for. A longer one is denied to workloads with file rules.
pub const MAX_NAME: usize = 128;
/// Names of fewer bytes are hashed with zeros up to this many; every kernel has room for them in the dentry itself.
pub const SHORT_NAME: usize = 32;
/// Words that are hashed of a longer name: where it ends earlier, its last eight bytes are taken again.
pub const LONG_WORDS: usize = MAX_NAME / 8;
/// Rules one policy may have.
pub const MAX_FILE_RULES: usize = 1024;
/// Volumes one workload may have while its policy has file rules.
pub const MAX_VOLUMES: usize = 512;
/// Components of the path on which a volume is mounted.
pub const MAX_MOUNT_DEPTH: usize = 16;

/// What may be done with a file, as bits of a mask.
pub mod operation {
    /// Opening for reading, a directory's listing included.
    pub const READ: u16 = 1;
    /// Opening for writing, and truncating.
    pub const WRITE: u16 = 1 << 1;
    /// Making a name.
    pub const CREATE: u16 = 1 << 2;
    /// Removing a name.
    pub const REMOVE: u16 = 1 << 3;
    /// Changing a name.
    pub const RENAME: u16 = 1 << 4;
    /// Giving another name.
    pub const LINK: u16 = 1 << 5;
    /// Changing owner, mode, times or extended attributes.
    pub const ATTRIBUTE: u16 = 1 << 6;
    /// All of them.
    pub const ALL: u16 = (1 << 7) - 1;
}

/// The secret with which paths are hashed: nobody inside a workload can look for names that collide.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathKey {
    /// Any bits; all zero means that no key was chosen yet. The multipliers are made odd where they are used.
    pub words: [u64; 4],
}

impl PathKey {
    /// The hash of one component's bytes.
    pub fn component(&self, name: &[u8]) -> u64 {
        let words = if name.len() < SHORT_NAME { SHORT_NAME / 8 } else { LONG_WORDS };
        let mut hash = self.begin();
        for at in 0..words {
            let offset = if name.len() < SHORT_NAME { 8 * at } else { (8 * at).min(name.len() - 8) };
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(name.iter().skip(offset)) {
                *to = *from;
            }
            hash = self.absorb(hash, u64::from_le_bytes(word));
        }
        self.finish(hash, name.len() as u64)
    }

    /// A component's hash before its first word.
    #[inline]
    pub const fn begin(&self) -> u64 {
        self.words[0]
    }

    /// Takes in eight bytes, little-endian, zeros after the component's end.
    #[inline]
    pub const fn absorb(&self, hash: u64, word: u64) -> u64 {
        let mixed = (hash ^ word).wrapping_mul(self.words[1] | 1);
        mixed ^ (mixed >> 32)
    }

    /// Ends a component of `length` bytes.
    #[inline]
    pub const fn finish(&self, hash: u64, length: u64) -> u64 {
        let mixed = (hash ^ length).wrapping_mul(self.words[2] | 1);
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(self.words[1] | 1);
        mixed ^ (mixed >> 32)
    }

    /// The state of `/`.
    #[inline]
    pub const fn root(&self) -> PathHash {
        PathHash { high: self.words[2], low: self.words[3] }
    }

    /// The state of a path, one component further.
    #[inline]
    pub const fn step(&self, path: PathHash, component: u64) -> PathHash {
        let high = (path.high ^ component).wrapping_mul(self.words[3] | 1);
        let low = path.low.wrapping_add(component).wrapping_mul(self.words[1] | 1);
        PathHash { high: high ^ (high >> 31), low: low ^ (low >> 33) }
    }
}

/// A path, or a prefix of one.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathHash {
    pub high: u64,
    pub low: u64,
}

/// Words of a [`FileFilter`].
pub const FILTER_WORDS: usize = 32;

/// What certainly is not there: a clear bit means that a lookup would find nothing.
///
/// Paths have a word for each number of components, inodes one by their hash.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileFilter {
    pub words: [u64; FILTER_WORDS],
}

impl FileFilter {
    /// Nothing is there.
    pub const EMPTY: Self = Self { words: [0; FILTER_WORDS] };

    /// The bit for a hash.
    #[inline]
    pub const fn bit(hash: u64) -> u64 {
        1 << (hash & 63)
    }

    /// Remembers a hash in one of the words.
    pub fn insert(&mut self, word: usize, hash: u64) {
        if let Some(word) = self.words.get_mut(word) {
            *word |= Self::bit(hash);
        }
    }
}

/// A rule's path under a list.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileKey {
    /// The path.
    pub path: PathHash,
    /// The list's id, as of the allowlist.
    pub list: u32,
    /// Always zero.
    pub reserved: u32,
}

/// What the rules with one path say. Masks hold bits of [`operation`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileRule {
    /// Denied for the path and all below it.
    pub below_denied: u16,
    /// Decided by the rule for the path and all below it, one way or the other.
    pub below_decided: u16,
    /// Denied for the path itself.
    pub exact_denied: u16,
    /// Decided for the path itself.
    pub exact_decided: u16,
    /// Number of the rule for all below.
    pub below_rule: u16,
    /// Number of the rule for the path itself.
    pub exact_rule: u16,
    /// 1 if a rule names something further down, so that the name must stay.
    pub leads: u32,
}

/// A directory or file on which a volume begins: the real inode of the mount's root.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VolumeKey {
    /// Inode number.
    pub ino: u64,
    /// `s_dev`, in the kernel's encoding.
    pub dev: u32,
    /// Workload slot.
    pub slot: u32,
    /// Incarnation of the slot.
    pub incarnation: u32,
    /// Always zero.
    pub reserved: u32,
}

impl VolumeKey {
    /// What a [`FileFilter`] knows the inode by: a word and a hash.
    #[inline]
    pub const fn in_filter(dev: u32, ino: u64) -> (usize, u64) {
        let mixed = (ino ^ ((dev as u64) << 40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed >> 54) as usize & (FILTER_WORDS - 1), mixed >> 40)
    }
}

/// Where a volume is mounted.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Number of the volume in its workload, from 1.
    pub number: u32,
    /// Components in use.
    pub depth: u32,
    /// The mount point's components, the last one first.
    pub components: [u64; MAX_MOUNT_DEPTH],
}

const _: () = {
    assert!(size_of::<PathKey>() == 32);
    assert!(size_of::<FileKey>() == 24);
    assert!(size_of::<FileRule>() == 16);
    assert!(size_of::<VolumeKey>() == 24);
    assert!(size_of::<Volume>() == 8 + 8 * MAX_MOUNT_DEPTH);
    assert!(FILTER_WORDS.is_power_of_two() && FILTER_WORDS > MAX_DEPTH);
};
