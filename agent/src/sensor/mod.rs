//! The kernel side, seen from user space: loading, attaching, pinning. The only module that knows `aya`.

pub mod btf;
pub mod canary;
pub mod maps;
pub mod offsets;
pub mod preflight;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    time::UNIX_EPOCH,
};

use aya::{
    Btf, Ebpf, EbpfError, EbpfLoader, Pod, VerifierLogLevel, include_bytes_aligned,
    pin::PinError,
    programs::{Lsm, Program, ProgramError, RawTracePoint, links::FdLink},
};
use plimsoll_abi::{ABI_VERSION, Offsets, map_names};

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/plimsoll.o"));

const LSM_HOOKS: &[&str] = &["task_alloc", "task_free", "bprm_check_security", "mmap_file", "file_mprotect"];
const TRACEPOINTS: &[&str] = &["cgroup_mkdir", "cgroup_rmdir"];
const MAPS: &[&str] = &[
    map_names::ALLOW,
    map_names::CGROUPS,
    map_names::WORKLOADS,
    map_names::LABELS,
    map_names::DENIALS,
    map_names::TELEMETRY,
    map_names::STATS,
    map_names::SEQUENCE,
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
    #[error(transparent)]
    Map(#[from] maps::MapError),
}

/// `Offsets` as bytes for the loader.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct PodOffsets(Offsets);

// SAFETY: `repr(C)`, `u64` members only, no padding.
unsafe impl Pod for PodOffsets {}

/// One attached program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The hook's name.
    pub hook: &'static str,
    /// Instructions the verifier walked through.
    pub verified_instructions: u32,
}

/// The loaded programs and their maps. Dropping it detaches nothing: links and maps are pinned.
#[expect(missing_debug_implementations, reason = "a handle on kernel objects")]
pub struct Sensor {
    ebpf: Ebpf,
    attached: Vec<Attached>,
    counters: PathBuf,
}

impl Sensor {
    /// Loads the programs onto the maps pinned under `root` (made if they are not there), attaches, pins the new
    /// links, and only then lets go of an earlier agent's.
    pub fn start(root: &Path) -> Result<Self, SensorError> {
        if OBJECT.is_empty() {
            return Err(SensorError::NoObject);
        }
        let offsets = PodOffsets(offsets::read()?);
        let version = root.join(format!("v{ABI_VERSION}"));
        let (maps, links) = (version.join("maps"), version.join("links"));
        for directory in [&maps, &links] {
            make_directory(directory)?;
        }
        let earlier = link_directories(&links)?;
        let mut loader = EbpfLoader::new();
        loader.override_global("OFFSETS", &offsets, true).verifier_log_level(VerifierLogLevel::STATS);
        for name in MAPS {
            loader.map_pin_path(name, maps.join(name));
        }
        let mut ebpf = loader.load(OBJECT)?;
        let attached = attach_all(&mut ebpf, &new_link_directory(&links)?)?;
        for directory in earlier {
            remove_links(&directory)?;
        }
        Ok(Self { ebpf, attached, counters: maps.join(map_names::STATS) })
    }

    /// What is attached, with the verifier's figures.
    pub fn attached(&self) -> &[Attached] {
        &self.attached
    }

    /// The maps user space works with. Each can be taken once.
    pub fn take_maps(&mut self) -> Result<maps::Maps, SensorError> {
        let pinned = fs::metadata(&self.counters)
            .and_then(|metadata| metadata.modified())
            .map_err(|source| SensorError::PinDirectory { path: self.counters.clone(), source })?;
        let since = pinned.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_nanos());
        Ok(maps::Maps::take(&mut self.ebpf, u64::try_from(since).unwrap_or(u64::MAX))?)
    }
}

fn attach_all(ebpf: &mut Ebpf, pins: &Path) -> Result<Vec<Attached>, SensorError> {
    let btf = Btf::from_sys_fs()?;
    // Maintenance of labels and cgroups goes first, so that no check meets a task that a fork should have labelled.
    let tracepoints = TRACEPOINTS.iter().map(|hook| (*hook, None));
    let hooks = LSM_HOOKS.iter().map(|hook| (*hook, Some(&btf)));
    tracepoints.chain(hooks).map(|(hook, btf)| attach(ebpf, hook, btf, pins)).collect()
}

fn attach(ebpf: &mut Ebpf, hook: &'static str, btf: Option<&Btf>, pins: &Path) -> Result<Attached, SensorError> {
    let program = ebpf.program_mut(hook).ok_or(SensorError::Missing { kind: "program", name: hook })?;
    let failed = |source| SensorError::Attach { hook, source };
    let link: FdLink = match (program, btf) {
        (Program::Lsm(lsm), Some(btf)) => attach_lsm(lsm, hook, btf).map_err(failed)?,
        (Program::RawTracePoint(tracepoint), None) => attach_tracepoint(tracepoint, hook).map_err(failed)?,
        _ => return Err(SensorError::Missing { kind: "program of the right type", name: hook }),
    };
    let path = pins.join(hook);
    link.pin(&path).map_err(|source| SensorError::Pin { path, source })?;
    let info =
        ebpf.program(hook).ok_or(SensorError::Missing { kind: "program", name: hook })?.info().map_err(failed)?;
    Ok(Attached { hook, verified_instructions: info.verified_instruction_count().unwrap_or(0) })
}

fn attach_lsm(program: &mut Lsm, hook: &str, btf: &Btf) -> Result<FdLink, ProgramError> {
    program.load(hook, btf)?;
    let link = program.attach()?;
    Ok(program.take_link(link)?.into())
}

fn attach_tracepoint(program: &mut RawTracePoint, name: &str) -> Result<FdLink, ProgramError> {
    program.load()?;
    let link = program.attach(name)?;
    Ok(program.take_link(link)?.into())
}

fn make_directory(path: &Path) -> Result<(), SensorError> {
    fs::create_dir_all(path).map_err(|source| SensorError::PinDirectory { path: path.to_owned(), source })
}

/// Links of agents that ran before this one.
fn link_directories(links: &Path) -> Result<Vec<PathBuf>, SensorError> {
    let failed = |source| SensorError::PinDirectory { path: links.to_owned(), source };
    fs::read_dir(links).map_err(failed)?.map(|entry| entry.map(|entry| entry.path()).map_err(failed)).collect()
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
