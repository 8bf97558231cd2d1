//! Typed handles on the kernel maps.
#![expect(missing_debug_implementations, reason = "handles on kernel objects; those of `aya` have none either")]

mod network;

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
    ptr::NonNull,
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
};

pub use self::network::{NetworkMaps, PrefixKey};
use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, Map, MapData, PerCpuArray, RingBuf},
};
use plimsoll_abi::{AllowKey, AllowValue, CGROUP_MARKS, Label, MAX_WORKLOADS, Stat, WorkloadRecord, map_names};

use super::files::FileMaps;

/// A map operation that failed.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    #[error("the object has no map `{0}`")]
    Missing(&'static str),
    #[error("map `{map}` refused {operation}")]
    Refused {
        map: &'static str,
        operation: &'static str,
        #[source]
        source: aya::maps::MapError,
    },
    #[error("map `{map}` is full: {entries} entries would not fit")]
    Full { map: &'static str, entries: usize },
    #[error("cannot share map `{map}` with the kernel")]
    Share {
        map: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("cannot get random bytes for the key that paths are hashed with")]
    Random(#[source] io::Error),
    #[error("slot {0} is outside the workload array")]
    Slot(u32),
}

/// Types of `plimsoll_abi` as those of a map.
macro_rules! pods {
    ($($(#[$more:meta])* $name:ident wraps $inner:ty;)*) => {$(
        $(#[$more])*
        #[repr(transparent)]
        #[derive(Clone, Copy)]
        struct $name($inner);

        // SAFETY: `repr(C)`, integers only, no padding; asserted by size in the crate that defines it.
        unsafe impl Pod for $name {}
    )*};
}
pub(super) use pods;

pods! {
    PodKey wraps AllowKey;
    PodValue wraps AllowValue;
    PodLabel wraps Label;
    PodRecord wraps WorkloadRecord;
}

/// Everything user space does with the kernel's maps.
pub struct Maps {
    /// What the enforcer writes.
    pub policy: PolicyMaps,
    /// Counters.
    pub stats: Stats,
    /// Denials and audits.
    pub denials: Ring,
    /// Allowed executions.
    pub telemetry: Ring,
}

/// The maps that hold policy: the enforcer is their only writer.
pub struct PolicyMaps {
    /// Allowlists.
    pub allow: AllowMap,
    /// Containers' cgroups.
    pub cgroups: CgroupMap,
    /// Workload slots.
    pub slots: WorkloadSlots,
    /// Network rules.
    pub network: NetworkMaps,
    /// Capabilities that may be used.
    pub capabilities: CapabilityMap,
    /// File rules and volumes.
    pub files: FileMaps,
}

impl Maps {
    /// `since_unix_ns` is when the counters were pinned, and so began.
    pub(super) fn take(ebpf: &mut Ebpf, since_unix_ns: u64) -> Result<Self, MapError> {
        let marks = ebpf.map(map_names::CGROUP_MARKS).ok_or(MapError::Missing(map_names::CGROUP_MARKS))?;
        let marks = Shared::map(marks, map_names::CGROUP_MARKS, CGROUP_MARKS)?;
        let files = FileMaps::take(ebpf)?;
        let mut take = |name: &'static str| ebpf.take_map(name).ok_or(MapError::Missing(name));
        Ok(Self {
            policy: PolicyMaps {
                allow: AllowMap(typed(take(map_names::ALLOW)?, map_names::ALLOW)?),
                cgroups: CgroupMap { marks, map: typed(take(map_names::CGROUPS)?, map_names::CGROUPS)? },
                slots: WorkloadSlots::share(take(map_names::WORKLOADS)?)?,
                network: NetworkMaps::new(
                    take(map_names::ADDRESSES)?,
                    take(map_names::SOCKETS)?,
                    take(map_names::NAMES)?,
                    files.key(),
                )?,
                capabilities: CapabilityMap(typed(take(map_names::CAPABILITIES)?, map_names::CAPABILITIES)?),
                files,
            },
            stats: Stats { counters: typed(take(map_names::STATS)?, map_names::STATS)?, since_unix_ns },
            denials: Ring(typed(take(map_names::DENIALS)?, map_names::DENIALS)?),
            telemetry: Ring(typed(take(map_names::TELEMETRY)?, map_names::TELEMETRY)?),
        })
    }
}

/// A map that stays with the programs: those that are loaded later name it by its descriptor, which must not be closed.
pub(super) fn borrowed<'a, T>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<T, MapError>
where
    T: TryFrom<&'a mut Map, Error = aya::maps::MapError>,
{
    let map = ebpf.map_mut(name).ok_or(MapError::Missing(name))?;
    T::try_from(map).map_err(|source| MapError::Refused { map: name, operation: "its type", source })
}

/// A map that whoever takes it keeps open as long as the programs, for the same reason.
pub(super) fn typed<T>(map: Map, name: &'static str) -> Result<T, MapError>
where
    T: TryFrom<Map, Error = aya::maps::MapError>,
{
    T::try_from(map).map_err(|source| MapError::Refused { map: name, operation: "its type", source })
}

/// Allowlist entries of all generations.
pub struct AllowMap(HashMap<MapData, PodKey, PodValue>);

impl AllowMap {
    /// Adds or replaces one entry.
    pub fn insert(&mut self, key: AllowKey, value: AllowValue) -> Result<(), MapError> {
        self.0
            .insert(PodKey(key), PodValue(value), 0)
            .map_err(|source| refused(map_names::ALLOW, "an insertion", source))
    }

    /// Drops one entry; that it is not there is no error.
    pub fn remove(&mut self, key: AllowKey) -> Result<(), MapError> {
        absent_is_fine(self.0.remove(&PodKey(key)), map_names::ALLOW)
    }

    /// Keys of all entries.
    pub fn keys(&self) -> Result<Vec<AllowKey>, MapError> {
        self.0
            .keys()
            .map(|key| key.map(|key| key.0).map_err(|source| refused(map_names::ALLOW, "reading", source)))
            .collect()
    }
}

/// Cgroup ids of containers and their children.
pub struct CgroupMap {
    map: HashMap<MapData, u64, PodLabel>,
    marks: Shared<u8>,
}

impl CgroupMap {
    /// Ties a cgroup to a workload.
    pub fn insert(&mut self, cgroup: u64, label: Label) -> Result<(), MapError> {
        // Marked first: an entry without its mark would not be found.
        let place = usize::try_from(cgroup % CGROUP_MARKS as u64).ok().and_then(|place| self.marks.element(place));
        let mark = place.ok_or(MapError::Missing(map_names::CGROUP_MARKS))?;
        // SAFETY: a byte of the mapping, which is written by single stores only, here and in the kernel.
        unsafe { AtomicU8::from_ptr(mark) }.store(1, Ordering::SeqCst);
        self.map
            .insert(cgroup, PodLabel(label), 0)
            .map_err(|source| refused(map_names::CGROUPS, "an insertion", source))
    }

    /// Drops a cgroup; that it is not there is no error.
    pub fn remove(&mut self, cgroup: u64) -> Result<(), MapError> {
        absent_is_fine(self.map.remove(&cgroup), map_names::CGROUPS)
    }

    /// All cgroups with their labels.
    pub fn entries(&self) -> Result<Vec<(u64, Label)>, MapError> {
        self.map
            .iter()
            .map(|entry| {
                entry
                    .map(|(cgroup, label)| (cgroup, label.0))
                    .map_err(|source| refused(map_names::CGROUPS, "reading", source))
            })
            .collect()
    }
}

pub(super) fn absent_is_fine(outcome: Result<(), aya::maps::MapError>, map: &'static str) -> Result<(), MapError> {
    match outcome {
        Ok(()) | Err(aya::maps::MapError::KeyNotFound | aya::maps::MapError::ElementNotFound) => Ok(()),
        Err(aya::maps::MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(refused(map, "a removal", source)),
    }
}

pub(super) fn refused(map: &'static str, operation: &'static str, source: aya::maps::MapError) -> MapError {
    MapError::Refused { map, operation, source }
}

/// Sets of capabilities of all generations.
pub struct CapabilityMap(HashMap<MapData, u32, u64>);

impl CapabilityMap {
    /// Adds or replaces one set.
    pub fn insert(&mut self, allowlist: u32, capabilities: u64) -> Result<(), MapError> {
        let inserted = self.0.insert(allowlist, capabilities, 0);
        inserted.map_err(|source| refused(map_names::CAPABILITIES, "an insertion", source))
    }

    /// Drops one set; that it is not there is no error.
    pub fn remove(&mut self, allowlist: u32) -> Result<(), MapError> {
        absent_is_fine(self.0.remove(&allowlist), map_names::CAPABILITIES)
    }

    /// Allowlists that have a set.
    pub fn keys(&self) -> Result<Vec<u32>, MapError> {
        self.0.keys().map(|key| key.map_err(|source| refused(map_names::CAPABILITIES, "reading", source))).collect()
    }
}

/// An array that is mapped into this process, so that a change is one store.
struct Shared<T> {
    memory: NonNull<T>,
    elements: usize,
}

// SAFETY: the mapping is shared memory; its owner is the only writer in this process, and writes through `&mut`.
unsafe impl<T> Send for Shared<T> {}

impl<T> Shared<T> {
    /// `T` must have the layout of the map's elements, of which there are at least as many.
    fn map(map: &Map, name: &'static str, elements: usize) -> Result<Self, MapError> {
        let Map::Array(data) = map else { return Err(MapError::Missing(name)) };
        let fd = data.fd().as_fd().as_raw_fd();
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let bytes = elements * size_of::<T>();
        // SAFETY: a new mapping of the kernel's choosing; length and protection fit the map, which is mmapable.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, libc::MAP_SHARED, fd, 0) };
        let failed = || MapError::Share { map: name, source: io::Error::last_os_error() };
        if address == libc::MAP_FAILED {
            return Err(failed());
        }
        Ok(Self { memory: NonNull::new(address.cast()).ok_or_else(failed)?, elements })
    }

    /// The address of an element.
    fn element(&self, index: usize) -> Option<*mut T> {
        // SAFETY: within the mapping, which has this many elements.
        (index < self.elements).then(|| unsafe { self.memory.as_ptr().add(index) })
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `map`, unmapped once.
        let outcome = unsafe { libc::munmap(self.memory.as_ptr().cast(), self.elements * size_of::<T>()) };
        debug_assert_eq!(outcome, 0, "munmap of a mapping made here");
    }
}

/// The workload array.
pub struct WorkloadSlots {
    array: Array<MapData, PodRecord>,
    memory: Shared<WorkloadRecord>,
}

impl WorkloadSlots {
    fn share(map: Map) -> Result<Self, MapError> {
        let memory = Shared::map(&map, map_names::WORKLOADS, MAX_WORKLOADS as usize)?;
        Ok(Self { array: typed(map, map_names::WORKLOADS)?, memory })
    }

    /// Reads one slot.
    pub fn get(&self, slot: u32) -> Result<WorkloadRecord, MapError> {
        self.array
            .get(&slot, 0)
            .map(|record| record.0)
            .map_err(|source| refused(map_names::WORKLOADS, "reading", source))
    }

    /// Prepares a slot that no label names yet.
    pub fn prepare(&mut self, slot: u32, record: WorkloadRecord) -> Result<(), MapError> {
        self.array.set(slot, PodRecord(record), 0).map_err(|source| refused(map_names::WORKLOADS, "a record", source))
    }

    /// Switches a slot to another state: one store, seen whole or not at all.
    pub fn switch(&mut self, slot: u32, state: u64) -> Result<(), MapError> {
        let record = self.memory.element(slot as usize).ok_or(MapError::Slot(slot))?;
        // SAFETY: `record` is valid as long as `self`; only the address of the field is formed.
        let word = unsafe { &raw mut (*record).state };
        // SAFETY: aligned, alive, and written by atomics only while the slot is in use.
        unsafe { AtomicU64::from_ptr(word) }.store(state, Ordering::SeqCst);
        Ok(())
    }
}

/// The kernel's counters.
pub struct Stats {
    counters: PerCpuArray<MapData, u64>,
    since_unix_ns: u64,
}

impl Stats {
    /// When all counters were 0: they outlive agents, not the machine.
    pub fn since_unix_ns(&self) -> u64 {
        self.since_unix_ns
    }

    /// The sum of one counter over all CPUs.
    pub fn get(&self, stat: Stat) -> Result<u64, MapError> {
        let values =
            self.counters.get(&(stat as u32), 0).map_err(|source| refused(map_names::STATS, "reading", source))?;
        Ok(values.iter().sum())
    }
}

/// A ring of events.
pub struct Ring(RingBuf<MapData>);

impl Ring {
    /// Hands the next record to `read`; `None` if there is none.
    pub fn next<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        self.0.next().map(|record| read(&record))
    }

    /// The descriptor that becomes readable when records are there.
    pub fn descriptor(&self) -> std::os::fd::RawFd {
        self.0.as_raw_fd()
    }
}
