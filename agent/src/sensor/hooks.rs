//! Which program goes to which hook, and which of them only while some policy needs it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use aya::{
    Btf, BtfError, Ebpf,
    programs::{
        CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSockAddr, FEntry, FExit, Lsm, Program, ProgramError,
        RawTracePoint, links::FdLink,
    },
};
use plimsoll_abi::{ObjectKind, state};

use super::{SensorError, guard::Objects};

/// Hooks that cost something on a hot path, so that they are attached only while a policy needs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// File rules, and scripts that must be listed.
    Files,
    /// Network rules.
    Network,
    /// Names in network rules.
    Names,
    /// A set of capabilities.
    Capabilities,
    /// Files of the kernel and of Plimsoll, for workloads that can reach them.
    Reach,
}

impl Feature {
    const ALL: &'static [Self] = &[Self::Files, Self::Network, Self::Names, Self::Capabilities, Self::Reach];

    /// Whether a workload in `state` needs it.
    fn is_needed_by(self, state: u64) -> bool {
        let any = match self {
            Self::Files => state::FILE_RULES | state::SCRIPTS,
            Self::Network => state::NETWORK_RULES,
            Self::Names => state::NAME_RULES,
            Self::Capabilities => state::CAPABILITIES,
            Self::Reach => state::REACH,
        };
        state & any != 0
    }

    fn hooks(self) -> &'static [Hook] {
        match self {
            Self::Files => FILES,
            Self::Network => NETWORK,
            Self::Names => NAMES,
            Self::Capabilities => CAPABILITIES,
            Self::Reach => REACH,
        }
    }
}

/// Where a program goes.
#[derive(Clone, Copy, Debug)]
enum Place {
    Lsm,
    RawTracepoint,
    /// The root of the cgroup hierarchy: every socket of the node.
    SocketAddress,
    /// The same root: every packet that a socket of the node gets.
    SocketPacket,
    FunctionEntry,
    FunctionExit,
}

/// A program and its hook.
#[derive(Clone, Copy, Debug)]
struct Hook {
    /// The program's name, and its pin's.
    name: &'static str,
    /// The hook's or the kernel function's name, mostly the same.
    target: &'static str,
    place: Place,
    /// Whether a kernel without it will do.
    optional: bool,
}

const fn lsm(name: &'static str) -> Hook {
    Hook { name, target: name, place: Place::Lsm, optional: false }
}

const fn tracepoint(name: &'static str) -> Hook {
    Hook { place: Place::RawTracepoint, ..lsm(name) }
}

/// For what no hook can refuse; see docs/threat-model.md for what such a program can miss.
const fn entry(name: &'static str) -> Hook {
    Hook { place: Place::FunctionEntry, ..lsm(name) }
}

const fn exit(name: &'static str) -> Hook {
    Hook { place: Place::FunctionExit, ..lsm(name) }
}

impl Hook {
    /// A program whose name is not its hook's.
    const fn on(self, target: &'static str) -> Self {
        Self { target, ..self }
    }

    /// Left out where the kernel does not have it.
    const fn where_present(self) -> Self {
        Self { optional: true, ..self }
    }
}

const fn socket_address(name: &'static str) -> Hook {
    Hook { place: Place::SocketAddress, ..lsm(name) }
}

/// Attached while a policy has network rules.
const NETWORK: &[Hook] = &[
    socket_address("connect4"),
    socket_address("connect6"),
    socket_address("sendmsg4"),
    socket_address("sendmsg6"),
    socket_address("bind4"),
    socket_address("bind6"),
    lsm("socket_create"),
    lsm("socket_listen"),
    lsm("socket_accept"),
    lsm("socket_setsockopt"),
    lsm("socket_sendmsg"),
    lsm("inet_conn_request"),
];

/// Attached while network rules have names.
const NAMES: &[Hook] = &[Hook { place: Place::SocketPacket, ..lsm("answers") }];

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
    lsm("ptrace_access_check"),
    lsm("ptrace_traceme"),
    exit("mem_open"),
    entry("mem_write"),
    lsm("bpf"),
    lsm("perf_event_open"),
    lsm("kernel_read_file"),
    lsm("kernel_load_data"),
    lsm("guard_mount").on("sb_mount"),
    lsm("guard_umount").on("sb_umount"),
    lsm("guard_move_mount").on("move_mount"),
    lsm("guard_pivotroot").on("sb_pivotroot"),
    lsm("sb_remount"),
    lsm("sb_set_mnt_opts"),
    lsm("userns_create"),
    entry("setns").on(SETNS),
    entry("setns_compat").on("__ia32_sys_setns").where_present(),
    lsm("key_alloc"),
    lsm("key_permission"),
    lsm("uring_sqpoll"),
    lsm("uring_override_creds"),
    lsm("inode_init_security_anon"),
    lsm("syslog"),
    lsm("settime"),
    lsm("hardening_mknod").on("inode_mknod"),
    lsm("path_chroot"),
    lsm("task_kill"),
    lsm("file_send_sigiotask"),
    lsm("task_setnice"),
    lsm("task_setioprio"),
    lsm("task_setscheduler"),
    lsm("task_setrlimit"),
    lsm("task_movememory"),
    lsm("bpf_map"),
    lsm("bpf_prog"),
    entry("bpf_link_new_fd"),
];

/// Attached while a policy names capabilities.
const CAPABILITIES: &[Hook] = &[lsm("capable")];

/// Attached while a workload can reach files beyond its own.
const REACH: &[Hook] = &[
    lsm("guard_open").on("file_open"),
    lsm("guard_unlink").on("inode_unlink"),
    lsm("guard_rmdir").on("inode_rmdir"),
    lsm("guard_rename").on("inode_rename"),
    lsm("guard_create").on("inode_create"),
    lsm("guard_mkdir").on("inode_mkdir"),
    lsm("guard_symlink").on("inode_symlink"),
    lsm("guard_link").on("inode_link"),
    lsm("guard_truncate").on("path_truncate"),
    lsm("guard_connect").on("unix_stream_connect"),
];

const SETNS: &str = if cfg!(target_arch = "aarch64") { "__arm64_sys_setns" } else { "__x64_sys_setns" };

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
    lsm("inode_set_acl").where_present(),
    lsm("inode_remove_acl").where_present(),
];

/// A pinned link.
struct Pinned {
    path: PathBuf,
    /// The link's id.
    link: u32,
}

/// The loaded programs and where their links are pinned.
#[expect(missing_debug_implementations, reason = "a handle on kernel objects")]
pub struct Hooks {
    ebpf: Ebpf,
    btf: Btf,
    pins: PathBuf,
    /// Root of the cgroup v2 hierarchy.
    cgroups: File,
    /// Hooks that this kernel does not have.
    absent: Vec<&'static str>,
    objects: Objects,
    can_be_missed: Vec<OwnedFd>,
    /// Pinned links of the features in use.
    optional: BTreeMap<Feature, Vec<Pinned>>,
}

impl Hooks {
    /// Loads and attaches the programs that are always needed and those that `earlier` agents' links, under the given
    /// directories, say are in use. Links are pinned under `pins`; hooks for all sockets go to the root of `cgroups`.
    pub(super) fn attach(
        mut ebpf: Ebpf,
        pins: PathBuf,
        cgroups: &Path,
        earlier: &[PathBuf],
    ) -> Result<Self, SensorError> {
        let btf = Btf::from_sys_fs()?;
        let unreadable = |source| SensorError::Cgroups { path: cgroups.to_owned(), source };
        let cgroups = File::open(cgroups).map_err(unreadable)?;
        let objects = Objects::take(&mut ebpf)?;
        let mut hooks = Self {
            ebpf,
            btf,
            pins,
            cgroups,
            absent: Vec::new(),
            objects,
            can_be_missed: Vec::new(),
            optional: BTreeMap::new(),
        };
        for hook in hooks.load_all(ALWAYS)? {
            hooks.attach_one(hook)?;
        }
        for feature in Feature::ALL {
            let was_in_use = |hook: &Hook| earlier.iter().any(|directory| directory.join(hook.name).exists());
            if feature.hooks().iter().any(was_in_use) {
                hooks.attach_feature(*feature)?;
            }
        }
        Ok(hooks)
    }

    /// Programs whose hooks this kernel does not have, and need not.
    pub fn absent(&self) -> &[&'static str] {
        &self.absent
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
            for pinned in self.optional.remove(feature).unwrap_or_default() {
                self.detach(pinned)?;
            }
        }
        Ok(())
    }

    /// How often the kernel has left a program out because it ran on that CPU already. Never those of LSM hooks.
    pub fn recursion_misses(&self) -> io::Result<u64> {
        let mut sum = 0;
        for program in &self.can_be_missed {
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd()))?;
            let misses =
                info.lines().find_map(|line| line.strip_prefix("recursion_misses:")?.trim().parse::<u64>().ok());
            sum += misses.ok_or_else(|| io::Error::other("no `recursion_misses` in fdinfo"))?;
        }
        Ok(sum)
    }

    /// Our own objects, which workloads may not open.
    pub(super) fn objects_mut(&mut self) -> &mut Objects {
        &mut self.objects
    }

    pub(super) fn ebpf_mut(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    fn attach_feature(&mut self, feature: Feature) -> Result<(), SensorError> {
        let mut attached = Vec::new();
        // Loaded only now: a kernel takes its time to verify what few nodes need.
        for hook in self.load_all(feature.hooks())? {
            match self.attach_one(hook) {
                Ok(pinned) => attached.push(pinned),
                Err(error) => {
                    // Half of a feature helps nobody, and its pins would be in the way of the next attempt.
                    for pinned in attached {
                        self.detach(pinned)?;
                    }
                    return Err(error);
                }
            }
        }
        self.optional.insert(feature, attached);
        Ok(())
    }

    /// Loads programs that are not loaded yet. Answers all but those whose hooks this kernel does not have.
    fn load_all(&mut self, hooks: &[Hook]) -> Result<Vec<Hook>, SensorError> {
        let mut there = Vec::new();
        for hook in hooks {
            if load(&mut self.ebpf, *hook, &self.btf)? {
                there.push(*hook);
            } else if !self.absent.contains(&hook.name) {
                self.absent.push(hook.name);
            }
        }
        Ok(there)
    }

    fn detach(&mut self, Pinned { path, link }: Pinned) -> Result<(), SensorError> {
        fs::remove_file(&path).map_err(|source| SensorError::PinDirectory { path, source })?;
        Ok(self.objects.remove(ObjectKind::Link, link)?)
    }

    /// Attaches a loaded program and pins its link.
    fn attach_one(&mut self, hook: Hook) -> Result<Pinned, SensorError> {
        let failed = |source| SensorError::Attach { hook: hook.name, source };
        let program = program(&mut self.ebpf, hook)?;
        let link = link(program, hook, &self.cgroups).map_err(failed)?;
        let link_id = link.info().map_err(|source| SensorError::Link { hook: hook.name, source })?.id();
        let path = self.pins.join(hook.name);
        link.pin(&path).map_err(|source| SensorError::Pin { path: path.clone(), source })?;
        let info = program.info().map_err(failed)?;
        if !matches!(hook.place, Place::Lsm) {
            let descriptor = program.fd().map_err(failed)?.as_fd().try_clone_to_owned();
            self.can_be_missed.push(descriptor.map_err(|source| failed(ProgramError::IOError(source)))?);
        }
        self.objects.add(ObjectKind::Link, link_id)?;
        self.objects.add(ObjectKind::Program, info.id())?;
        for map in info.map_ids().map_err(failed)?.unwrap_or_default() {
            self.objects.add(ObjectKind::Map, map)?;
        }
        let verified_instructions = info.verified_instruction_count().unwrap_or(0);
        tracing::info!(hook = hook.name, verified_instructions, "attached");
        Ok(Pinned { path, link: link_id })
    }
}

fn program(ebpf: &mut Ebpf, hook: Hook) -> Result<&mut Program, SensorError> {
    ebpf.program_mut(hook.name).ok_or(SensorError::Missing { kind: "program", name: hook.name })
}

/// Loads a program; `false` if the kernel does not have its hook, and need not.
fn load(ebpf: &mut Ebpf, hook: Hook, btf: &Btf) -> Result<bool, SensorError> {
    let program = program(ebpf, hook)?;
    let loaded = match hook.place {
        Place::Lsm => <&mut Lsm>::try_from(program).and_then(|lsm| lsm.load(hook.target, btf)),
        Place::RawTracepoint => <&mut RawTracePoint>::try_from(program).and_then(RawTracePoint::load),
        Place::SocketAddress => <&mut CgroupSockAddr>::try_from(program).and_then(CgroupSockAddr::load),
        Place::SocketPacket => <&mut CgroupSkb>::try_from(program).and_then(CgroupSkb::load),
        Place::FunctionEntry => <&mut FEntry>::try_from(program).and_then(|entry| entry.load(hook.target, btf)),
        Place::FunctionExit => <&mut FExit>::try_from(program).and_then(|exit| exit.load(hook.target, btf)),
    };
    match loaded {
        Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(true),
        Err(ProgramError::Btf(BtfError::UnknownBtfTypeName { .. })) if hook.optional => Ok(false),
        Err(source) => Err(SensorError::Attach { hook: hook.name, source }),
    }
}

fn link(program: &mut Program, hook: Hook, cgroups: &File) -> Result<FdLink, ProgramError> {
    Ok(match hook.place {
        Place::Lsm => {
            let lsm = <&mut Lsm>::try_from(program)?;
            let link = lsm.attach()?;
            lsm.take_link(link)?.into()
        }
        Place::RawTracepoint => {
            let tracepoint = <&mut RawTracePoint>::try_from(program)?;
            let link = tracepoint.attach(hook.target)?;
            tracepoint.take_link(link)?.into()
        }
        Place::SocketAddress => {
            let address = <&mut CgroupSockAddr>::try_from(program)?;
            // A link takes no mode: others may always have programs there too. Each can refuse, and none can make another one
            // pass.
            let link = address.attach(cgroups, CgroupAttachMode::Single)?;
            address.take_link(link)?.try_into().map_err(|error| ProgramError::IOError(io::Error::other(error)))?
        }
        Place::SocketPacket => {
            let packet = <&mut CgroupSkb>::try_from(program)?;
            let link = packet.attach(cgroups, CgroupSkbAttachType::Ingress, CgroupAttachMode::Single)?;
            packet.take_link(link)?.try_into().map_err(|error| ProgramError::IOError(io::Error::other(error)))?
        }
        Place::FunctionEntry => {
            let entry = <&mut FEntry>::try_from(program)?;
            let link = entry.attach()?;
            entry.take_link(link)?.into()
        }
        Place::FunctionExit => {
            let exit = <&mut FExit>::try_from(program)?;
            let link = exit.attach()?;
            exit.take_link(link)?.into()
        }
    })
}

/// Links of agents that ran before this one.
pub(super) fn earlier(links: &Path) -> Result<Vec<PathBuf>, SensorError> {
    let failed = |source| SensorError::PinDirectory { path: links.to_owned(), source };
    fs::read_dir(links).map_err(failed)?.map(|entry| entry.map(|entry| entry.path()).map_err(failed)).collect()
}
