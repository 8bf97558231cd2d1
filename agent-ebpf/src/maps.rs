//! Every map: who writes it, who reads it, and what happens when it is full.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    macros::map,
    maps::{Array, HashMap, PerCpuArray, RingBuf},
};
use plimsoll_abi::{
    AllowKey, AllowValue, FileFilter, FileKey, FileRule, Label, MAX_TASKS, MAX_WORKLOADS, PathKey, STAT_COUNT, Volume,
    VolumeKey, WorkloadRecord,
};

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
