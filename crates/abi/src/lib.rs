//! The contract between the kernel programs and user space: map keys and values, events, counters.
//!
//! Everything here is `repr(C)`, without padding and without pointers, and is written once for both sides.
//! Integers cross the boundary, never enums: an unknown number is a decode error in user space, not undefined behaviour.
#![no_std]

mod event;
mod file;
mod guard;
mod name;
pub mod network;
mod policy;
mod stat;

pub use event::{
    ADDRESS_LEN, ANCESTORS, Ancestor, COMM_LEN, Event, Hook, Injection, Operation, PATH_LEN, Reason, Tampering,
    UnknownCode, Verdict, event_flags,
};
pub use file::{
    FILTER_WORDS, FileFilter, FileKey, FileRule, LONG_WORDS, MAX_DEPTH, MAX_FILE_RULES, MAX_MOUNT_DEPTH, MAX_NAME,
    MAX_VOLUMES, PathHash, PathKey, SHORT_NAME, Volume, VolumeKey, operation,
};
pub use guard::{Heartbeat, ObjectKey, ObjectKind, PlaceKey, protection};
pub use name::{
    LONGEST_STAY, Learnt, LearntKey, LearntName, MAX_DOMAIN, MAX_LEARNT, MAX_NAMES, NAMES_OF_ADDRESS, NameKey,
    SHORTEST_STAY, name_kind,
};
pub use policy::{
    AllowKey, AllowValue, CGROUP_MARKS, Label, MAX_INCARNATION, MAX_TASKS, MAX_WORKLOADS, Offsets, TASK_MARKS,
    TaskMark, WorkloadRecord, access, state,
};
pub use stat::{STAT_COUNT, Stat};

/// Version of every layout in this crate; part of the pin directory's name, so that two versions never share a map.
pub const ABI_VERSION: u32 = 4;

/// Names of the maps, as the kernel object declares them and as they are pinned.
pub mod map_names {
    /// Hash: [`super::AllowKey`] -> [`super::AllowValue`]. Written by the enforcer alone.
    pub const ALLOW: &str = "ALLOW";
    /// Hash: cgroup id (`u64`) -> [`super::Label`]. Written by the enforcer, and by the kernel when a child cgroup is made.
    pub const CGROUPS: &str = "CGROUPS";
    /// Array, mmapable: slot -> [`super::WorkloadRecord`]. Written by the enforcer alone.
    pub const WORKLOADS: &str = "WORKLOADS";
    /// Hash: `task_struct` address -> [`super::Label`]. Written in the kernel alone.
    pub const LABELS: &str = "LABELS";
    /// Array: place of a task's address -> [`super::TaskMark`]. Written in the kernel alone.
    pub const TASK_MARKS: &str = "TASK_MARKS";
    /// Array of one element of [`super::CGROUP_MARKS`] bytes, mmapable: not 0 if a cgroup of that place may be in `CGROUPS`.
    /// Written by the enforcer, and by the kernel when a child cgroup is made; never cleared.
    pub const CGROUP_MARKS: &str = "CGROUP_MARKS";
    /// Ring buffer of denials and audits.
    pub const DENIALS: &str = "DENIALS";
    /// Ring buffer of allowed executions.
    pub const TELEMETRY: &str = "TELEMETRY";
    /// Per-CPU array of counters, indexed by [`super::Stat`].
    pub const STATS: &str = "STATS";
    /// Array of one `u64`: the last sequence number given to a denial.
    pub const SEQUENCE: &str = "SEQUENCE";
    /// Trie: [`super::network::AddressKey`] -> [`super::network::PortRanges`]. Written by the enforcer alone.
    pub const ADDRESSES: &str = "ADDRESSES";
    /// Hash: [`super::NameKey`] -> [`super::network::PortRanges`]. Written by the enforcer alone.
    pub const NAMES: &str = "NAMES";
    /// LRU hash: [`super::LearntKey`] -> [`super::Learnt`]. Written in the kernel alone.
    pub const LEARNT: &str = "LEARNT";
    /// Per-CPU array of one: the resolver's answer that is being read. Used in the kernel alone.
    pub const ANSWER: &str = "ANSWER";
    /// Per-CPU array of one: a second, and the events about peers in it. Used in the kernel alone.
    pub const PEER_EVENTS: &str = "PEER_EVENTS";
    /// Hash: allowlist id (`u32`) -> bits of [`super::network::socket`] (`u64`). Written by the enforcer alone.
    pub const SOCKETS: &str = "SOCKETS";
    /// Hash: allowlist id (`u32`) -> the capabilities that may be used, one bit each (`u64`). Written by the enforcer alone.
    pub const CAPABILITIES: &str = "CAPABILITIES";
    /// Hash: thread group id (`u32`) of an agent -> when it started, in clock ticks since boot (`u64`). Written by agents.
    pub const AGENTS: &str = "AGENTS";
    /// Hash: [`super::PlaceKey`] -> bits of [`super::protection`] (`u32`). Written by the agent.
    pub const PLACES: &str = "PLACES";
    /// Hash: [`super::ObjectKey`] -> 1 (`u32`). Written by the agent.
    pub const OBJECTS: &str = "OBJECTS";
    /// Array of one [`super::Heartbeat`]. Written by the agent.
    pub const HEARTBEAT: &str = "HEARTBEAT";
    /// Hash: [`super::FileKey`] -> [`super::FileRule`]. Written by the enforcer alone.
    pub const FILE_RULES: &str = "FILE_RULES";
    /// Hash: list id (`u32`) -> [`super::FileFilter`] of its rules' paths. Written by the enforcer alone.
    pub const FILE_LISTS: &str = "FILE_LISTS";
    /// Hash: [`super::VolumeKey`] -> [`super::Volume`]. Written by the enforcer alone.
    pub const VOLUMES: &str = "VOLUMES";
    /// Array: slot -> [`super::FileFilter`] of its volumes' first inodes. Written by the enforcer alone.
    pub const VOLUME_FILTERS: &str = "VOLUME_FILTERS";
    /// Array of one [`super::PathKey`], chosen once.
    pub const PATH_KEY: &str = "PATH_KEY";
}
