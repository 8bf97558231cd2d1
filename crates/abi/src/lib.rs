//! The contract between the kernel programs and user space: map keys and values, events, counters.
//!
//! Everything here is `repr(C)`, without padding and without pointers, and is written once for both sides.
//! Integers cross the boundary, never enums: an unknown number is a decode error in user space, not undefined behaviour.
#![no_std]

mod event;
mod file;
mod policy;
mod stat;

pub use event::{
    ADDRESS_LEN, ANCESTORS, Ancestor, COMM_LEN, Event, Hook, Operation, PATH_LEN, Reason, UnknownCode, Verdict,
    event_flags,
};
pub use file::{
    FILTER_WORDS, FileFilter, FileKey, FileRule, LONG_WORDS, MAX_DEPTH, MAX_FILE_RULES, MAX_MOUNT_DEPTH, MAX_NAME,
    MAX_VOLUMES, PathHash, PathKey, SHORT_NAME, Volume, VolumeKey, operation,
};
pub use policy::{AllowKey, AllowValue, Label, MAX_TASKS, MAX_WORKLOADS, Offsets, WorkloadRecord, access, state};
pub use stat::{STAT_COUNT, Stat};

/// Version of every layout in this crate; part of the pin directory's name, so that two versions never share a map.
pub const ABI_VERSION: u32 = 2;

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
    /// Ring buffer of denials and audits.
    pub const DENIALS: &str = "DENIALS";
    /// Ring buffer of allowed executions.
    pub const TELEMETRY: &str = "TELEMETRY";
    /// Per-CPU array of counters, indexed by [`super::Stat`].
    pub const STATS: &str = "STATS";
    /// Array of one `u64`: the last sequence number given to a denial.
    pub const SEQUENCE: &str = "SEQUENCE";
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
