//! Which program goes to which hook, and which of them only while some policy needs it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use aya::{
    Btf, BtfError, Ebpf,
    programs::{Lsm, Program, ProgramError, RawTracePoint, links::FdLink},
};
use plimsoll_abi::state;

use super::SensorError;

/// Hooks that cost something on a hot path, so that they are attached only while a policy needs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// File rules, and scripts that must be listed.
    Files,
    /// Network rules.
    Network,
    /// A set of capabilities.
    Capabilities,
}

impl Feature {
    const ALL: &'static [Self] = &[Self::Files, Self::Network, Self::Capabilities];

    /// Whether a workload in `state` needs it.
    fn is_needed_by(self, state: u64) -> bool {
        let any = match self {
            Self::Files => state::FILE_RULES | state::SCRIPTS,
            Self::Network => state::NETWORK_RULES,
            Self::Capabilities => state::CAPABILITIES,
        };
        state & any != 0
    }

    fn hooks(self) -> &'static [Hook] {
        match self {
            Self::Files => FILES,
            Self::Network | Self::Capabilities => &[],
        }
    }
}

/// Where a program goes.
#[derive(Clone, Copy, Debug)]
enum Place {
    Lsm,
    LsmIfThere,
    RawTracepoint,
}

/// A program, which has its hook's name.
#[derive(Clone, Copy, Debug)]
struct Hook {
    name: &'static str,
    place: Place,
}

const fn lsm(name: &'static str) -> Hook {
    Hook { name, place: Place::Lsm }
}

/// A hook that not every kernel has; where it is missing, another one sees the same.
const fn lsm_if_there(name: &'static str) -> Hook {
    Hook { name, place: Place::LsmIfThere }
}

const fn tracepoint(name: &'static str) -> Hook {
    Hook { name, place: Place::RawTracepoint }
}

/// Attached as long as Plimsoll is on the node, in this order: maintenance of labels and cgroups goes first, so that no check
/// meets a task that a fork should have labelled.
const ALWAYS: &[Hook] = &[
    tracepoint("cgroup_mkdir"),
    tracepoint("cgroup_rmdir"),
    lsm("task_alloc"),
    lsm("task_free"),
    lsm("bprm_check_security"),
    lsm("mmap_file"),
    lsm("file_mprotect"),
];

/// Everything that opens, makes, removes, renames, links or changes files.
const FILES: &[Hook] = &[
    lsm("file_open"),
    lsm("path_truncate"),
    lsm("path_mknod"),
    lsm("path_mkdir"),
    lsm("path_symlink"),
    lsm("path_unlink"),
    lsm("path_rmdir"),
    lsm("path_link"),
    lsm("path_rename"),
    lsm("inode_setattr"),
    lsm("inode_setxattr"),
    lsm("inode_removexattr"),
    lsm_if_there("inode_set_acl"),
    lsm_if_there("inode_remove_acl"),
];

/// One attached program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The hook's name.
    pub hook: &'static str,
    /// Instructions the verifier walked through.
    pub verified_instructions: u32,
}

/// The loaded programs and where their links are pinned.
#[expect(missing_debug_implementations, reason = "a handle on kernel objects")]
pub struct Hooks {
    ebpf: Ebpf,
    btf: Btf,
    pins: PathBuf,
    attached: Vec<Attached>,
    /// Pinned links of the features in use.
    optional: BTreeMap<Feature, Vec<PathBuf>>,
}

impl Hooks {
    /// Loads and attaches the programs that are always needed and those that `earlier` agents' links, under the given
    /// directories, say are in use. Links are pinned under `pins`.
    pub(super) fn attach(ebpf: Ebpf, pins: PathBuf, earlier: &[PathBuf]) -> Result<Self, SensorError> {
        let btf = Btf::from_sys_fs()?;
        let mut hooks = Self { ebpf, btf, pins, attached: Vec::new(), optional: BTreeMap::new() };
        for hook in ALWAYS {
            load(&mut hooks.ebpf, *hook, &hooks.btf)?;
        }
        for hook in ALWAYS {
            hooks.attach_one(*hook)?;
        }
        for feature in Feature::ALL {
            let was_in_use = |hook: &Hook| earlier.iter().any(|directory| directory.join(hook.name).exists());
            if feature.hooks().iter().any(was_in_use) {
                hooks.attach_feature(*feature)?;
            }
        }
        Ok(hooks)
    }

    /// What is attached, with the verifier's figures.
    pub fn attached(&self) -> &[Attached] {
        &self.attached
    }

    /// Attaches whatever a workload in `state` needs. Until this succeeds no workload may be put into that state.
    pub fn require(&mut self, state: u64) -> Result<(), SensorError> {
        for feature in Feature::ALL {
            if feature.is_needed_by(state) && !self.optional.contains_key(feature) {
                self.attach_feature(*feature)?;
            }
        }
        Ok(())
    }

    /// Detaches what none of these workloads needs.
    pub fn retain(&mut self, states: &[u64]) -> Result<(), SensorError> {
        let unneeded = |feature: &Feature| !states.iter().any(|state| feature.is_needed_by(*state));
        for feature in Feature::ALL.iter().filter(|feature| unneeded(feature)) {
            for path in self.optional.remove(feature).unwrap_or_default() {
                fs::remove_file(&path).map_err(|source| SensorError::PinDirectory { path, source })?;
            }
        }
        Ok(())
    }

    pub(super) fn ebpf_mut(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    fn attach_feature(&mut self, feature: Feature) -> Result<(), SensorError> {
        // Loaded only now: a kernel takes its time to verify what few nodes need.
        let mut there = Vec::new();
        for hook in feature.hooks() {
            if load(&mut self.ebpf, *hook, &self.btf)? {
                there.push(*hook);
            }
        }
        let mut pinned = Vec::new();
        for hook in there {
            pinned.push(self.attach_one(hook)?);
        }
        self.optional.insert(feature, pinned);
        Ok(())
    }

    /// Attaches a loaded program and pins its link; answers where.
    fn attach_one(&mut self, hook: Hook) -> Result<PathBuf, SensorError> {
        let failed = |source| SensorError::Attach { hook: hook.name, source };
        let program = program(&mut self.ebpf, hook)?;
        let link = link(program, hook).map_err(failed)?;
        let path = self.pins.join(hook.name);
        link.pin(&path).map_err(|source| SensorError::Pin { path: path.clone(), source })?;
        let info = program.info().map_err(failed)?;
        let verified_instructions = info.verified_instruction_count().unwrap_or(0);
        self.attached.push(Attached { hook: hook.name, verified_instructions });
        Ok(path)
    }
}

fn program(ebpf: &mut Ebpf, hook: Hook) -> Result<&mut Program, SensorError> {
    ebpf.program_mut(hook.name).ok_or(SensorError::Missing { kind: "program", name: hook.name })
}

/// Loads a program; `false` if the kernel lacks its hook and may.
fn load(ebpf: &mut Ebpf, hook: Hook, btf: &Btf) -> Result<bool, SensorError> {
    let program = program(ebpf, hook)?;
    let loaded = match hook.place {
        Place::Lsm | Place::LsmIfThere => <&mut Lsm>::try_from(program).and_then(|lsm| lsm.load(hook.name, btf)),
        Place::RawTracepoint => <&mut RawTracePoint>::try_from(program).and_then(RawTracePoint::load),
    };
    match (loaded, hook.place) {
        (Ok(()) | Err(ProgramError::AlreadyLoaded), _) => Ok(true),
        (Err(ProgramError::Btf(BtfError::UnknownBtfTypeName { .. })), Place::LsmIfThere) => Ok(false),
        (Err(source), _) => Err(SensorError::Attach { hook: hook.name, source }),
    }
}

fn link(program: &mut Program, hook: Hook) -> Result<FdLink, ProgramError> {
    Ok(match hook.place {
        Place::Lsm | Place::LsmIfThere => {
            let lsm = <&mut Lsm>::try_from(program)?;
            let link = lsm.attach()?;
            lsm.take_link(link)?.into()
        }
        Place::RawTracepoint => {
            let tracepoint = <&mut RawTracePoint>::try_from(program)?;
            let link = tracepoint.attach(hook.name)?;
            tracepoint.take_link(link)?.into()
        }
    })
}

/// Links of agents that ran before this one.
pub(super) fn earlier(links: &Path) -> Result<Vec<PathBuf>, SensorError> {
    let failed = |source| SensorError::PinDirectory { path: links.to_owned(), source };
    fs::read_dir(links).map_err(failed)?.map(|entry| entry.map(|entry| entry.path()).map_err(failed)).collect()
}
