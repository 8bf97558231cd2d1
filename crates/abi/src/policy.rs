//! What the enforcer writes and the kernel matches against.

/// Workloads a node can hold at once; the size of the slot array.
pub const MAX_WORKLOADS: u32 = 8192;
/// Labelled tasks a node can hold at once. A fork beyond it is refused, never unlabelled.
pub const MAX_TASKS: u32 = 262_144;
/// Tenants one slot can have before the node restarts: labels are packed into 32 bits, and one must never speak for a later tenant.
pub const MAX_INCARNATION: u32 = (1 << 19) - 1;
/// Size of the table that says which cgroups may be in a workload; a cgroup's place is its id modulo this.
pub const CGROUP_MARKS: usize = 1 << 19;
/// Size of the table in front of the tasks' labels.
pub const TASK_MARKS: u32 = 1 << 16;

/// What an allowlist entry permits.
pub mod access {
    /// May be executed (`bprm_check_security`).
    pub const EXEC: u32 = 1;
    /// May be mapped executable (`mmap_file`, `file_mprotect`).
    pub const MAP: u32 = 2;
    /// Is an interpreter: what it opens to run is looked at.
    pub const INTERPRETER: u32 = 4;
}

/// Bits of [`super::WorkloadRecord::state`] above the allowlist id, which is its low 32 bits.
pub mod state {
    /// The slot is in use. A label that points at a slot without it is denied.
    pub const ACTIVE: u64 = 1 << 32;
    /// Deviations are denied; without it they are audited.
    pub const ENFORCE: u64 = 1 << 33;
    /// Anonymous and self-modified memory may be made executable (just-in-time compilers).
    pub const ALLOW_ANONYMOUS_EXEC: u64 = 1 << 34;
    /// Allowed executions are reported on the telemetry ring.
    pub const TELEMETRY: u64 = 1 << 35;
    /// The policy has file rules, which lie under the allowlist's id.
    pub const FILE_RULES: u64 = 1 << 36;
    /// The policy has network rules, which lie under the allowlist's id.
    pub const NETWORK_RULES: u64 = 1 << 37;
    /// The policy names the capabilities that may be used; the set lies under the allowlist's id.
    pub const CAPABILITIES: u64 = 1 << 38;
    /// What interpreters open to run must be on the allowlist.
    pub const SCRIPTS: u64 = 1 << 39;

    /// Network rules have names, which lie under the allowlist's id.
    pub const NAME_RULES: u64 = 1 << 40;

    /// The slot stands for containers that nobody has introduced yet; each task of it is asked anew whose it is.
    pub const PENDING: u64 = 1 << 41;

    /// The runtime gave the container means to reach files of the node: a capability, a namespace or a mount beyond the usual.
    pub const REACH: u64 = 1 << 43;

    /// The bit that forbids an operation.
    pub const fn forbidden(operation: crate::Operation) -> u64 {
        1 << (44 + operation as u32)
    }

    /// The allowlist in force.
    #[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
    pub const fn allowlist(state: u64) -> u32 {
        state as u32
    }
}

/// One allowed file of one allowlist: the real lower inode, as the kernel names it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AllowKey {
    /// Allowlist id; a new policy generation writes under a new one.
    pub allowlist: u32,
    /// `super_block.s_dev` of the lower filesystem, in the kernel's encoding (`major << 20 | minor`).
    pub dev: u32,
    /// `inode.i_ino` on that filesystem.
    pub ino: u64,
}

/// What [`AllowKey`] permits.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowValue {
    /// Bits of [`access`].
    pub access: u32,
    /// Index of the rule that put the entry there, for events; user space alone interprets it.
    pub rule: u32,
}

/// Which workload a task or a cgroup belongs to.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Label {
    /// Slot in the workload array.
    pub slot: u32,
    /// Must equal the slot's incarnation, so that a label never speaks for a later tenant of its slot.
    pub incarnation: u32,
}

impl Label {
    /// Of a cgroup that was introduced and is in no workload, below one whose containers are waited for. No workload has
    /// incarnation 0.
    pub const NOBODY: Self = Self { slot: 0, incarnation: 0 };
}

/// In front of the labels of tasks: one place for all tasks whose addresses share it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskMark {
    /// The label of one of these tasks, with the rest of its address: a cache. 0 is none.
    pub cached: u64,
    /// How many of these tasks are labelled. 0 proves that none is.
    pub labelled: u64,
}

/// One workload. Only `state` changes while the slot is active, by one aligned 64-bit store.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkloadRecord {
    /// Allowlist id and bits of [`state`].
    pub state: u64,
    /// `s_dev` of the overlay that is the workload's root; files on any other filesystem are foreign.
    pub root_dev: u32,
    /// Inode number of the mount namespace of the container runtime: tasks still in it run the runtime, not the workload.
    pub runtime_mnt_ns: u32,
    /// Counts the tenants of this slot.
    pub incarnation: u32,
    /// Always zero.
    pub reserved: u32,
}

/// Offsets of kernel structure fields in bytes, read from BTF by the agent and frozen in `.rodata`.
///
/// Every member is a `u64` so that each is one aligned load and no padding exists.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    pub bprm_file: u64,
    pub file_inode: u64,
    pub file_path: u64,
    pub path_dentry: u64,
    pub inode_sb: u64,
    pub inode_ino: u64,
    pub inode_size: u64,
    pub sb_magic: u64,
    pub sb_dev: u64,
    pub dentry_inode: u64,
    pub dentry_name: u64,
    /// From the overlay's `vfs_inode` to `__upperdentry`.
    pub ovl_upper: u64,
    /// 1 if what follows `__upperdentry` is a pointer to `struct ovl_entry`, 0 if it is a `struct ovl_path`.
    pub ovl_lower_is_pointer: u64,
    pub vma_file: u64,
    pub vma_flags: u64,
    pub vma_anon: u64,
    pub task_nsproxy: u64,
    pub task_tgid: u64,
    pub task_comm: u64,
    pub task_parent: u64,
    pub nsproxy_mnt: u64,
    /// From `struct mnt_namespace` to `ns.inum`.
    pub mnt_ns_inum: u64,
    pub cgroup_kn: u64,
    pub cgroup_parent: u64,
    pub kn_id: u64,
    pub socket_sk: u64,
    pub sk_family: u64,
    /// The own port, in the host's byte order.
    pub sk_num: u64,
    /// The own address, IPv4.
    pub sk_address: u64,
    /// The own address, IPv6.
    pub sk_address6: u64,
    pub sk_protocol: u64,
    pub sk_cgroup: u64,
    /// The far end, IPv4.
    pub peer_address: u64,
    /// The far end, IPv6.
    pub peer_address6: u64,
    pub msg_control: u64,
    pub msg_control_len: u64,
    pub file_mode: u64,
    pub inode_mode: u64,
    pub inode_rdev: u64,
    pub dentry_parent: u64,
    pub path_mnt: u64,
    pub mnt_sb: u64,
    pub mnt_root: u64,
    pub task_group_leader: u64,
    pub task_start_boottime: u64,
    pub map_id: u64,
    pub prog_aux: u64,
    pub prog_aux_id: u64,
    pub link_id: u64,
    /// From the `vfs_inode` of a `struct proc_inode` to its `pid`.
    pub proc_inode_pid: u64,
    /// From `struct pid` to the number in the initial namespace.
    pub pid_number: u64,
    /// From `struct unix_sock` to the dentry that it is bound to.
    pub unix_dentry: u64,
    pub qstr_name: u64,
    pub file_flags: u64,
    pub dentry_sb: u64,
    pub dentry_flags: u64,
    /// To the length of a dentry's name.
    pub dentry_length: u64,
    /// To a dentry's own room for short names.
    pub dentry_short: u64,
    pub iattr_valid: u64,
    /// Which argument of `inode_setattr` is the dentry: kernels since 6.9 put the mount's id mapping before it.
    pub setattr_dentry: u64,
    pub task_mm: u64,
    pub mm_exe_file: u64,
    pub task_real_cred: u64,
}

impl Offsets {
    /// No offset known yet; what the programs hold until they are loaded.
    pub const ZERO: Self = Self {
        bprm_file: 0,
        file_inode: 0,
        file_path: 0,
        path_dentry: 0,
        inode_sb: 0,
        inode_ino: 0,
        inode_size: 0,
        sb_magic: 0,
        sb_dev: 0,
        dentry_inode: 0,
        dentry_name: 0,
        ovl_upper: 0,
        ovl_lower_is_pointer: 0,
        vma_file: 0,
        vma_flags: 0,
        vma_anon: 0,
        task_nsproxy: 0,
        task_tgid: 0,
        task_comm: 0,
        task_parent: 0,
        nsproxy_mnt: 0,
        mnt_ns_inum: 0,
        cgroup_kn: 0,
        cgroup_parent: 0,
        kn_id: 0,
        socket_sk: 0,
        sk_family: 0,
        sk_num: 0,
        sk_address: 0,
        sk_address6: 0,
        sk_protocol: 0,
        sk_cgroup: 0,
        peer_address: 0,
        peer_address6: 0,
        msg_control: 0,
        msg_control_len: 0,
        file_mode: 0,
        inode_mode: 0,
        inode_rdev: 0,
        dentry_parent: 0,
        path_mnt: 0,
        mnt_sb: 0,
        mnt_root: 0,
        task_group_leader: 0,
        task_start_boottime: 0,
        map_id: 0,
        prog_aux: 0,
        prog_aux_id: 0,
        link_id: 0,
        proc_inode_pid: 0,
        pid_number: 0,
        unix_dentry: 0,
        qstr_name: 0,
        file_flags: 0,
        dentry_sb: 0,
        dentry_flags: 0,
        dentry_length: 0,
        dentry_short: 0,
        iattr_valid: 0,
        setattr_dentry: 0,
        task_mm: 0,
        mm_exe_file: 0,
        task_real_cred: 0,
    };
}

const _: () = {
    assert!(size_of::<AllowKey>() == 16);
    assert!(size_of::<AllowValue>() == 8);
    assert!(size_of::<Label>() == 8);
    assert!(size_of::<TaskMark>() == 16);
    assert!(MAX_WORKLOADS <= 1 << 13 && MAX_INCARNATION < 1 << 19);
    assert!(size_of::<WorkloadRecord>() == 24);
    assert!(size_of::<Offsets>() == 63 * 8);
};
