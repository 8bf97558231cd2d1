//! The kernel side, seen from user space: loading, attaching, pinning. The only module that knows `aya`.

pub mod btf;
pub mod canary;
pub mod files;
pub mod guard;
pub mod hooks;
pub mod maps;
pub mod offsets;
pub mod preflight;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    time::UNIX_EPOCH,
};

use aya::{EbpfError, EbpfLoader, Pod, VerifierLogLevel, include_bytes_aligned, pin::PinError, programs::ProgramError};
use plimsoll_abi::{ABI_VERSION, Offsets, map_names};

use self::hooks::Hooks;
use crate::config::Capacity;

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/plimsoll.o"));

/// All of them, for what is pinned is protected from the start.
const MAPS: &[&str] = &[
    map_names::ALLOW,
    map_names::CGROUPS,
    map_names::WORKLOADS,
    map_names::LABELS,
    map_names::TASK_MARKS,
    map_names::CGROUP_MARKS,
    map_names::DENIALS,
    map_names::TELEMETRY,
    map_names::STATS,
    map_names::SEQUENCE,
    map_names::ADDRESSES,
    map_names::SOCKETS,
    map_names::NAMES,
    map_names::LEARNT,
    map_names::ANSWER,
    map_names::PEER_EVENTS,
    map_names::CAPABILITIES,
    map_names::AGENTS,
    map_names::PLACES,
    map_names::OBJECTS,
    map_names::HEARTBEAT,
    map_names::FILE_RULES,
    map_names::FILE_LISTS,
    map_names::VOLUMES,
    map_names::VOLUME_FILTERS,
    map_names::PATH_KEY,
];

/// Why the kernel programs are not in force.
#[derive(Debug, thiserror::Error)]
pub enum SensorError {
    #[error("this agent was built without kernel programs; build it with `cargo xtask build`")]
    NoObject,
    #[error(transparent)]
    Offsets(#[from] offsets::OffsetsError),
    #[error("cannot read the kernel's BTF")]
    Btf(#[from] aya::BtfError),
    #[error("cannot load the kernel programs")]
    Load(#[from] EbpfError),
    #[error("the object has no {kind} `{name}`")]
    Missing { kind: &'static str, name: &'static str },
    #[error("cannot attach `{hook}`")]
    Attach {
        hook: &'static str,
        #[source]
        source: ProgramError,
    },
    #[error("cannot ask the kernel for the link of `{hook}`")]
    Link {
        hook: &'static str,
        #[source]
        source: aya::programs::links::LinkError,
    },
    #[error(transparent)]
    Guard(#[from] guard::GuardError),
    #[error("cannot pin under `{path}`")]
    Pin {
        path: PathBuf,
        #[source]
        source: PinError,
    },
    #[error("cannot prepare the pin directory `{path}`; is a bpf filesystem mounted at /sys/fs/bpf?")]
    PinDirectory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot open the cgroup hierarchy `{path}`")]
    Cgroups {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Map(#[from] maps::MapError),
}

maps::pods! {
    PodOffsets wraps Offsets;
}

/// The loaded and attached programs, and their maps. Dropping either detaches nothing: links and maps are pinned.
#[expect(missing_debug_implementations, reason = "handles on kernel objects")]
pub struct Sensor {
    /// The programs.
    pub hooks: Hooks,
    /// What user space does with their maps.
    pub maps: maps::Maps,
    /// What protects the agent.
    pub guard: guard::Guard,
}

impl Sensor {
    /// Loads the programs onto the maps pinned under `root` (made if they are not there), attaches, pins the new
    /// links, and only then lets go of an earlier agent's. `cgroups` is the root of the cgroup v2 hierarchy.
    pub fn start(root: &Path, cgroups: &Path, capacity: &Capacity) -> Result<Self, SensorError> {
        if OBJECT.is_empty() {
            return Err(SensorError::NoObject);
        }
        let offsets = PodOffsets(offsets::read()?);
        let version = root.join(format!("v{ABI_VERSION}"));
        let (maps, links) = (version.join("maps"), version.join("links"));
        for directory in [&maps, &links] {
            make_directory(directory)?;
        }
        let earlier = hooks::earlier(&links)?;
        let mut loader = EbpfLoader::new();
        loader.override_global("OFFSETS", &offsets, true).verifier_log_level(VerifierLogLevel::STATS);
        for (name, entries) in [
            (map_names::ALLOW, capacity.allowed_files),
            (map_names::LABELS, capacity.tasks),
            (map_names::CGROUPS, capacity.cgroups),
        ] {
            loader.map_max_entries(name, entries);
        }
        for name in MAPS {
            loader.map_pin_path(name, maps.join(name));
        }
        let ebpf = loader.load(OBJECT)?;
        let mut hooks = Hooks::attach(ebpf, new_link_directory(&links)?, cgroups, &earlier)?;
        for directory in earlier {
            remove_links(&directory)?;
        }
        for name in MAPS {
            hooks.objects_mut().add_pinned_map(&maps.join(name))?;
        }
        hooks.objects_mut().forget_others()?;
        let guard = guard::Guard::take(hooks.ebpf_mut(), &[root, &version, &maps, &links])?;
        let maps = maps::Maps::take(hooks.ebpf_mut(), pinned_since(&maps.join(map_names::STATS))?)?;
        Ok(Self { hooks, maps, guard })
    }
}

/// When a map was pinned, nanoseconds since 1970: its counters began then.
fn pinned_since(map: &Path) -> Result<u64, SensorError> {
    let pinned = fs::metadata(map)
        .and_then(|metadata| metadata.modified())
        .map_err(|source| SensorError::PinDirectory { path: map.to_owned(), source })?;
    let since = pinned.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_nanos());
    Ok(u64::try_from(since).unwrap_or(u64::MAX))
}

fn make_directory(path: &Path) -> Result<(), SensorError> {
    fs::create_dir_all(path).map_err(|source| SensorError::PinDirectory { path: path.to_owned(), source })
}

fn new_link_directory(links: &Path) -> Result<PathBuf, SensorError> {
    let stamp = UNIX_EPOCH.elapsed().map_or(0, |age| age.as_nanos());
    let path = links.join(format!("{stamp}_{}", process::id()));
    make_directory(&path)?;
    Ok(path)
}

fn remove_links(directory: &Path) -> Result<(), SensorError> {
    fs::remove_dir_all(directory).map_err(|source| SensorError::PinDirectory { path: directory.to_owned(), source })
}
