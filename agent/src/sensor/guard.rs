//! What the kernel programs are told of Plimsoll itself, so that no workload touches it: the agent's process, its pins, files and
//! cgroup, its BPF objects. And the agent's sign of life, by which a later one knows for how long nobody was there.
#![expect(missing_debug_implementations, reason = "handles on kernel objects; those of `aya` have none either")]

use std::{
    collections::{HashMap as Table, HashSet},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process,
};

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, Map, MapData, MapInfo, PerCpuArray},
};
use plimsoll_abi::{ABI_VERSION, Heartbeat, ObjectKey, ObjectKind, PlaceKey, Stat, map_names, protection};

use super::maps::{MapError, Stats, absent_is_fine, borrowed, pods, refused, typed};

/// Why the agent cannot be protected.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    #[error(transparent)]
    Map(#[from] MapError),
    #[error("cannot look at `{path}`, which is to be protected from workloads")]
    Place {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot ask the kernel for the map pinned at `{path}`")]
    Pinned {
        path: PathBuf,
        #[source]
        source: aya::maps::MapError,
    },
    #[error("`/proc/{0}/stat` does not say when the process started")]
    Stat(u32),
}

pods! {
    #[derive(PartialEq, Eq, Hash)]
    PodPlace wraps PlaceKey;
    #[derive(PartialEq, Eq, Hash)]
    PodObject wraps ObjectKey;
    PodHeartbeat wraps Heartbeat;
}

/// Our own maps, programs and links.
pub struct Objects {
    map: HashMap<MapData, PodObject, u32>,
    ours: HashSet<PodObject>,
}

impl Objects {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, MapError> {
        let map = ebpf.take_map(map_names::OBJECTS).ok_or(MapError::Missing(map_names::OBJECTS))?;
        Ok(Self { map: typed(map, map_names::OBJECTS)?, ours: HashSet::new() })
    }

    /// Keeps workloads from opening an object.
    pub(super) fn add(&mut self, kind: ObjectKind, id: u32) -> Result<(), MapError> {
        let key = PodObject(ObjectKey { kind: kind as u32, id });
        // Most programs use the same maps.
        if self.ours.contains(&key) {
            return Ok(());
        }
        self.map.insert(key, 1, 0).map_err(|source| refused(map_names::OBJECTS, "an insertion", source))?;
        self.ours.insert(key);
        Ok(())
    }

    /// Forgets an object that is gone.
    pub(super) fn remove(&mut self, kind: ObjectKind, id: u32) -> Result<(), MapError> {
        let key = PodObject(ObjectKey { kind: kind as u32, id });
        self.ours.remove(&key);
        absent_is_fine(self.map.remove(&key), map_names::OBJECTS)
    }

    /// The same for a pinned map.
    pub(super) fn add_pinned_map(&mut self, pin: &Path) -> Result<(), GuardError> {
        let info = MapInfo::from_pin(pin).map_err(|source| GuardError::Pinned { path: pin.to_owned(), source })?;
        Ok(self.add(ObjectKind::Map, info.id())?)
    }

    /// Drops what earlier agents had: it is gone.
    pub(super) fn forget_others(&mut self) -> Result<(), MapError> {
        let keys: Vec<PodObject> = self.map.keys().filter_map(Result::ok).collect();
        for key in keys.iter().filter(|key| !self.ours.contains(key)) {
            absent_is_fine(self.map.remove(key), map_names::OBJECTS)?;
        }
        Ok(())
    }
}

/// The agent's own protection, and its sign of life.
pub struct Guard {
    places: HashMap<MapData, PodPlace, u32>,
    heartbeat: Array<MapData, PodHeartbeat>,
    sequence: Array<MapData, u64>,
    wanted: Table<PodPlace, u32>,
}

/// A time without an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absence {
    /// How long it was.
    pub seconds: u64,
    /// Denials and audits of that time.
    pub denials: u64,
    /// Those of them that found the ring full.
    pub lost: u64,
}

impl Guard {
    /// Makes this process an agent, and protects the directories of pins.
    pub(super) fn take(ebpf: &mut Ebpf, pins: &[&Path]) -> Result<Self, GuardError> {
        enlist(&mut borrowed(ebpf, map_names::AGENTS)?)?;
        let mut take = |name: &'static str| ebpf.take_map(name).ok_or(MapError::Missing(name));
        let places = typed(take(map_names::PLACES)?, map_names::PLACES)?;
        let heartbeat = typed(take(map_names::HEARTBEAT)?, map_names::HEARTBEAT)?;
        let sequence = typed(take(map_names::SEQUENCE)?, map_names::SEQUENCE)?;
        let mut guard = Self { places, heartbeat, sequence, wanted: Table::new() };
        for path in pins {
            guard.add(path, protection::CONTENT | protection::PLACE)?;
            for above in path.ancestors().skip(1) {
                guard.add(above, protection::PLACE)?;
            }
        }
        Ok(guard)
    }

    /// Protects a file, or a directory with all below it. What does not exist is left out.
    pub fn protect(&mut self, path: &Path) -> Result<(), GuardError> {
        match self.add(path, protection::CONTENT | protection::PLACE) {
            Err(GuardError::Place { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Protects the agent's cgroup and those above it, the hierarchy's root excepted.
    pub fn protect_cgroup(&mut self, hierarchy: &Path) -> Result<(), GuardError> {
        let path = PathBuf::from("/proc/self/cgroup");
        let text = fs::read_to_string(&path).map_err(|source| GuardError::Place { path, source })?;
        let own = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        for above in Path::new(own).ancestors().filter(|above| !above.as_os_str().is_empty()) {
            self.add(&hierarchy.join(above), protection::CGROUP)?;
        }
        Ok(())
    }

    /// Drops what an earlier agent had protected and this one has not.
    pub fn forget_others(&mut self) -> Result<(), GuardError> {
        let keys: Vec<PodPlace> = self.places.keys().filter_map(Result::ok).collect();
        for key in keys.iter().filter(|key| !self.wanted.contains_key(key)) {
            absent_is_fine(self.places.remove(key), map_names::PLACES)?;
        }
        Ok(())
    }

    /// For how long no agent left a sign of life; `None` if none has since the machine started.
    pub fn absence(&self, stats: &Stats) -> Result<Option<Absence>, MapError> {
        let last = self.heartbeat.get(&0, 0).map_err(|source| refused(map_names::HEARTBEAT, "reading", source))?;
        Ok(Absence::between(last.0, self.now(stats)?))
    }

    /// Leaves a sign of life.
    pub fn beat(&mut self, stats: &Stats) -> Result<(), MapError> {
        let beat = PodHeartbeat(self.now(stats)?);
        self.heartbeat.set(0, beat, 0).map_err(|source| refused(map_names::HEARTBEAT, "a sign of life", source))
    }

    fn now(&self, stats: &Stats) -> Result<Heartbeat, MapError> {
        now(&self.sequence, stats.get(Stat::DenialsLost)?)
    }

    fn add(&mut self, path: &Path, how: u32) -> Result<(), GuardError> {
        let metadata = fs::metadata(path).map_err(|source| GuardError::Place { path: path.to_owned(), source })?;
        let place = PodPlace(place(&metadata));
        let known = self.wanted.entry(place).or_insert(0);
        *known |= how;
        let inserted = self.places.insert(place, *known, 0);
        Ok(inserted.map_err(|source| refused(map_names::PLACES, "an insertion", source))?)
    }
}

impl Absence {
    /// `None` if there was no sign of life before.
    fn between(last: Heartbeat, now: Heartbeat) -> Option<Self> {
        (last.boot_ns != 0).then(|| Self {
            seconds: now.boot_ns.saturating_sub(last.boot_ns) / 1_000_000_000,
            denials: now.sequence.saturating_sub(last.sequence),
            lost: now.lost.saturating_sub(last.lost),
        })
    }
}

/// For how long no agent left a sign of life under `pins`, asked from outside one; `None` if none has since the machine started.
pub fn absence(pins: &Path) -> Result<Option<Absence>, GuardError> {
    let maps = pins.join(format!("v{ABI_VERSION}")).join("maps");
    if !maps.exists() {
        return Ok(None);
    }
    let open = |name: &str| {
        let path = maps.join(name);
        MapData::from_pin(&path).map_err(|source| GuardError::Pinned { path, source })
    };
    let heartbeat: Array<MapData, PodHeartbeat> = typed(Map::Array(open(map_names::HEARTBEAT)?), map_names::HEARTBEAT)?;
    let sequence: Array<MapData, u64> = typed(Map::Array(open(map_names::SEQUENCE)?), map_names::SEQUENCE)?;
    let counters: PerCpuArray<MapData, u64> = typed(Map::PerCpuArray(open(map_names::STATS)?), map_names::STATS)?;
    let lost = counters.get(&(Stat::DenialsLost as u32), 0);
    let lost = lost.map_err(|source| refused(map_names::STATS, "reading", source))?.iter().sum();
    let before = heartbeat.get(&0, 0).map_err(|source| refused(map_names::HEARTBEAT, "reading", source))?;
    Ok(Absence::between(before.0, now(&sequence, lost)?))
}

fn now(sequence: &Array<MapData, u64>, lost: u64) -> Result<Heartbeat, MapError> {
    let sequence = sequence.get(&0, 0).map_err(|source| refused(map_names::SEQUENCE, "reading", source))?;
    Ok(Heartbeat { boot_ns: boot_ns(), sequence, lost })
}

/// Nanoseconds since boot, suspended time included.
pub fn boot_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000);
    seconds.saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

fn place(metadata: &fs::Metadata) -> PlaceKey {
    let (major, minor) = (rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
    PlaceKey { dev: (major << 20) | minor, reserved: 0, ino: metadata.ino() }
}

/// Enters this process among the agents; those that are dead leave.
fn enlist(agents: &mut HashMap<&mut MapData, u32, u64>) -> Result<(), GuardError> {
    let known: Vec<(u32, u64)> = agents.iter().filter_map(Result::ok).collect();
    for (process, _) in known.iter().filter(|(process, began)| started(*process).ok() != Some(*began)) {
        absent_is_fine(agents.remove(process), map_names::AGENTS)?;
    }
    let own = process::id();
    agents.insert(own, started(own)?, 0).map_err(|source| refused(map_names::AGENTS, "an insertion", source).into())
}

/// When a process started, in clock ticks since boot.
fn started(process: u32) -> Result<u64, GuardError> {
    let path = PathBuf::from(format!("/proc/{process}/stat"));
    let text = fs::read_to_string(&path).map_err(|source| GuardError::Place { path, source })?;
    // The second field is a name in parentheses, with anything in it; the 22nd is the third after it and nineteen more.
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    rest.split_ascii_whitespace().nth(19).and_then(|ticks| ticks.parse().ok()).ok_or(GuardError::Stat(process))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_when_it_started() {
        let ticks = started(process::id()).unwrap();
        assert!(ticks > 0 && ticks <= boot_ns() / 10_000_000, "{ticks}");
        assert!(started(u32::MAX).is_err());
    }

    #[test]
    fn a_place_is_what_the_kernel_calls_it() {
        let metadata = fs::metadata("/proc/self/stat").unwrap();
        let place = place(&metadata);
        assert_eq!(place.ino, metadata.ino());
        assert_eq!(rustix::fs::makedev(place.dev >> 20, place.dev & 0xf_ffff), metadata.dev());
    }
}
