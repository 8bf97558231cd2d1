//! Every map: who writes it, who reads it, and what happens when it is full.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    btf_maps::InodeStorage,
    macros::{btf_map, map},
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf},
};
use plimsoll_abi::{
    AllowKey, AllowValue, CGROUP_MARKS as CGROUP_PLACES, FileFilter, FileKey, FileRule, Heartbeat, Label, Learnt,
    LearntKey, MAX_LEARNT, MAX_NAMES, MAX_TASKS, MAX_WORKLOADS, NameKey, ObjectKey, PathKey, PlaceKey, STAT_COUNT,
    TASK_MARKS as TASK_PLACES, TaskMark, Volume, VolumeKey, WorkloadRecord,
    network::{AddressKey, MAX_PREFIXES, PortRanges},
};

use crate::network::names::Answer;

/// Allowed files of all allowlists. The enforcer writes and sizes it; full means that a policy is rejected whole.
/// Not preallocated: a node's allowlists are far smaller than the bound.
#[map]
pub static ALLOW: HashMap<AllowKey, AllowValue> = HashMap::with_max_entries(1 << 20, BPF_F_NO_PREALLOC);

/// Cgroup id -> workload. The enforcer enters containers, `cgroup_mkdir` their children. Full: the container is not
/// started, or, for a child, the failure is counted and its tasks keep the labels they inherited.
#[map]
pub static CGROUPS: HashMap<u64, Label> = HashMap::with_max_entries(4 * MAX_WORKLOADS, BPF_F_NO_PREALLOC);

/// Task address -> workload. Written here alone. Full: forks in workloads are refused.
#[map]
pub static LABELS: HashMap<u64, Label> = HashMap::with_max_entries(MAX_TASKS, BPF_F_NO_PREALLOC);

/// In front of `LABELS`: a hash lookup costs several times as much as everything else that a check of a task in no workload
/// does. Written here alone; never full.
#[map]
pub static TASK_MARKS: Array<TaskMark> = Array::with_max_entries(TASK_PLACES, 0);

/// In front of `CGROUPS`, for the same reason: a byte that is 0 proves that no cgroup of its place is in a workload. Bytes,
/// since each is set by one store, whoever else sets its neighbours. Marks are never cleared: a stale one costs a lookup.
#[map]
pub static CGROUP_MARKS: Array<[u8; CGROUP_PLACES]> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Overlay inode -> the last allowlist that allowed it (upper half) and for which access (lower half). Written here alone, gone
/// with the inode. Where there is no memory for it, the file is looked up anew each time.
#[btf_map]
pub static REMEMBERED: InodeStorage<u64> = InodeStorage::new();

/// Slot -> workload. Written by the enforcer through a shared mapping, so that a policy takes effect by one store.
#[map]
pub static WORKLOADS: Array<WorkloadRecord> = Array::with_max_entries(MAX_WORKLOADS, BPF_F_MMAPABLE);

/// Denials and audits. Full: counted in `STATS`, and the sequence number is used up, so that the gap shows.
#[map]
pub static DENIALS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// Allowed executions. Full: counted in `STATS`.
#[map]
pub static TELEMETRY: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// Counters by `plimsoll_abi::Stat`; one line per CPU, added to atomically because programs can be preempted.
#[map]
pub static STATS: PerCpuArray<u64> = PerCpuArray::with_max_entries(STAT_COUNT, 0);

/// The last sequence number given to a denial or audit.
#[map]
pub static SEQUENCE: Array<u64> = Array::with_max_entries(1, 0);

/// Prefixes of addresses with their ports, of all allowlists. The enforcer writes them; full means that a policy is rejected
/// whole.
#[map]
pub static ADDRESSES: LpmTrie<AddressKey, PortRanges> = LpmTrie::with_max_entries(MAX_PREFIXES, 0);

/// Allowlist id -> kinds of sockets that its policy names. Written by the enforcer; full means that a policy is rejected whole.
#[map]
pub static SOCKETS: HashMap<u32, u64> = HashMap::with_max_entries(4 * MAX_WORKLOADS, BPF_F_NO_PREALLOC);

/// Names in rules with their ports, of all allowlists. The enforcer writes them; full means that a policy is rejected whole.
#[map]
pub static NAMES: HashMap<NameKey, PortRanges> = HashMap::with_max_entries(MAX_NAMES, BPF_F_NO_PREALLOC);

/// Addresses that resolvers gave workloads for names in their rules. Written here alone. Full: the one that was not asked for
/// longest is forgotten, and denied until its name is asked for again.
#[map]
pub static LEARNT: LruHashMap<LearntKey, Learnt> = LruHashMap::with_max_entries(MAX_LEARNT, 0);

/// The resolver's answer that is being read on each CPU.
#[map]
pub static ANSWER: PerCpuArray<Answer> = PerCpuArray::with_max_entries(1, 0);

/// Second, and events about connections from outside in it, of each CPU.
#[map]
pub static PEER_EVENTS: PerCpuArray<[u64; 2]> = PerCpuArray::with_max_entries(1, 0);

/// Allowlist id -> the capabilities that may be used. The enforcer writes it; full means that a policy is rejected whole.
#[map]
pub static CAPABILITIES: HashMap<u32, u64> = HashMap::with_max_entries(4 * MAX_WORKLOADS, BPF_F_NO_PREALLOC);

/// Agents that are alive, by thread group. Written by the agent at its start. Full: the agent does not start.
#[map]
pub static AGENTS: HashMap<u32, u64> = HashMap::with_max_entries(64, 0);

/// Files and directories that are protected. Written by the agent at its start. Full: the agent does not start.
#[map]
pub static PLACES: HashMap<PlaceKey, u32> = HashMap::with_max_entries(1024, 0);

/// Our own maps, programs and links. Written by the agent as it attaches. Full: the agent does not start.
#[map]
pub static OBJECTS: HashMap<ObjectKey, u32> = HashMap::with_max_entries(8192, BPF_F_NO_PREALLOC);

/// The agent's last sign of life. Not read here: whether an agent lives changes no verdict.
#[map]
pub static HEARTBEAT: Array<Heartbeat> = Array::with_max_entries(1, 0);

/// File rules of all lists. The enforcer writes them; full means that a policy is rejected whole.
#[map]
pub static FILE_RULES: HashMap<FileKey, FileRule> = HashMap::with_max_entries(1 << 17, BPF_F_NO_PREALLOC);

/// Which paths a list has rules for. Full: as above.
#[map]
pub static FILE_LISTS: HashMap<u32, FileFilter> = HashMap::with_max_entries(2 * MAX_WORKLOADS, BPF_F_NO_PREALLOC);

/// Where workloads' volumes begin. Full: the container is not started.
#[map]
pub static VOLUMES: HashMap<VolumeKey, Volume> = HashMap::with_max_entries(1 << 17, BPF_F_NO_PREALLOC);

/// Which inodes a workload has volumes at.
#[map]
pub static VOLUME_FILTERS: Array<FileFilter> = Array::with_max_entries(MAX_WORKLOADS, 0);

/// The key by which paths are hashed.
#[map]
pub static PATH_KEY: Array<PathKey> = Array::with_max_entries(1, 0);
