//! One record of the denial and telemetry rings.

/// Bytes kept of a path, the terminating NUL included.
pub const PATH_LEN: usize = 512;
/// Bytes of a task's name, as in the kernel.
pub const COMM_LEN: usize = 16;
/// Bytes of an IPv6 address.
pub const ADDRESS_LEN: usize = 16;
/// Ancestors recorded, the parent first.
pub const ANCESTORS: usize = 4;

macro_rules! codes {
    ($(#[$doc:meta])* $type:ident { $($(#[$vdoc:meta])* $name:ident = $value:literal, $label:literal;)* }) => {
        $(#[$doc])*
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $type { $($(#[$vdoc])* $name = $value,)* }

        impl $type {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The value's name in events, metrics and documents.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }

        impl TryFrom<u32> for $type {
            type Error = UnknownCode;

            fn try_from(code: u32) -> Result<Self, UnknownCode> {
                match code { $($value => Ok(Self::$name),)* _ => Err(UnknownCode { what: stringify!($type), code }) }
            }
        }
    };
}

/// A number that no version of this contract gives a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownCode {
    /// The type that was decoded.
    pub what: &'static str,
    /// The number found.
    pub code: u32,
}

impl core::fmt::Display for UnknownCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "unknown {} code {}", self.what, self.code)
    }
}

impl core::error::Error for UnknownCode {}

codes! {
    /// The kernel's answer.
    Verdict {
        /// The operation went ahead.
        Allow = 0, "allow";
        /// It went ahead, and enforcement would have denied it.
        Audit = 1, "audit";
        /// It failed with `EPERM`.
        Deny = 2, "deny";
    }
}

codes! {
    /// Why.
    Reason {
        /// The file is on the allowlist.
        Listed = 0, "listed";
        /// A file of the image's layers that the allowlist does not have.
        NotListed = 1, "not-listed";
        /// A file written since the container started: dropped, or a changed copy of an image file.
        Written = 2, "written";
        /// A file outside the workload's root filesystem: a volume, a memfd, /dev/shm, another container.
        Foreign = 3, "foreign";
        /// Executable memory without a file.
        AnonymousExec = 4, "anonymous-exec";
        /// A file mapping that was, or can be, written before it runs.
        ModifiedCode = 5, "modified-code";
        /// The task is labelled with a workload that no longer exists.
        StaleLabel = 6, "stale-label";
        /// A kernel structure could not be read.
        Unreadable = 7, "unreadable";
        /// The task could not be labelled with its workload, so that its children could leave it.
        Unlabelled = 8, "unlabelled";
        /// The policy's file rules do not permit it.
        FileRule = 9, "file-rule";
        /// The policy's network rules do not permit it.
        NetworkRule = 10, "network-rule";
        /// The policy forbids this kind of operation to the workload.
        Forbidden = 11, "forbidden";
        /// It would change, stop or imitate Plimsoll itself.
        Tampering = 12, "tampering";
        /// Code would be written into memory past the checks of its mapping: ptrace, `/proc/PID/mem` and their like.
        InjectedCode = 13, "injected-code";
        /// An interpreter opened a script that the allowlist does not have.
        UnlistedScript = 14, "unlisted-script";
        /// The path has more directories than file rules are looked up for.
        TooDeep = 20, "too-deep";
    }
}

codes! {
    /// Where the operation was seen.
    Hook {
        /// `bprm_check_security`: every pass over an executable, its interpreters included.
        Exec = 1, "exec";
        /// `mmap_file` with `PROT_EXEC`.
        Map = 2, "map";
        /// `file_mprotect` towards `PROT_EXEC`.
        Protect = 3, "protect";
        /// An interpreter opens a file to run it.
        Script = 4, "script";
        /// Another process's memory, or one's own through `/proc`, is opened for writing, or a process is traced.
        Inject = 5, "inject";
        /// A file is opened for reading.
        Read = 10, "read";
        /// A file is opened for writing, or truncated.
        Write = 11, "write";
        /// A name is made: a file, a directory, a device, a symbolic link.
        Create = 12, "create";
        /// A name is removed.
        Remove = 13, "remove";
        /// A name is changed.
        Rename = 14, "rename";
        /// A file gets another name.
        Link = 15, "link";
        /// Owner, mode or extended attributes change.
        Attribute = 16, "attribute";
        /// A connection is opened.
        Connect = 30, "connect";
        /// A datagram is sent to an address.
        Send = 31, "send";
        /// A socket is bound to an address.
        Bind = 32, "bind";
        /// A socket starts to listen.
        Listen = 33, "listen";
        /// A connection is accepted.
        Accept = 34, "accept";
        /// A socket is made.
        Socket = 35, "socket";
        /// An operation that hardening may forbid; the event's operand is an [`crate::Operation`].
        Operation = 50, "operation";
        /// A capability is used; the event's operand is its number.
        Capability = 51, "capability";
        /// Plimsoll's own processes, pins, maps or programs are touched.
        Tamper = 60, "tamper";
    }
}

codes! {
    /// Operations that a policy's hardening may forbid; each is one bit of the workload's state.
    Operation {
        /// Tracing another process, or letting oneself be traced; reading or writing its memory.
        Trace = 0, "trace";
        /// Any use of `bpf(2)`.
        Bpf = 1, "bpf";
        /// `perf_event_open(2)`.
        PerfEvent = 2, "perf-event";
        /// Loading code into the kernel: modules, firmware by hand, kexec images.
        KernelCode = 3, "kernel-code";
        /// Mounting, moving and unmounting filesystems, `pivot_root(2)`.
        Mount = 4, "mount";
        /// Making a user namespace.
        UserNamespace = 5, "user-namespace";
        /// Entering namespaces that exist, `setns(2)`.
        EnterNamespace = 6, "enter-namespace";
        /// Keys of the kernel's keyrings.
        Keyring = 7, "keyring";
        /// io_uring.
        IoUring = 8, "io-uring";
        /// Writing to files through which the kernel is configured: `/proc/sys`, `/sys`, cgroups' control files.
        KernelFile = 9, "kernel-file";
        /// Reading the kernel's log.
        KernelLog = 10, "kernel-log";
        /// Setting the clock.
        Clock = 11, "clock";
        /// Making device files.
        DeviceFile = 12, "device-file";
        /// Changing the root directory.
        Chroot = 13, "chroot";
    }
}

codes! {
    /// Ways of writing code past its mapping; the operand of [`Hook::Inject`].
    Injection {
        /// Attaching to another process, reading or writing its memory.
        Attach = 0, "ptrace";
        /// Letting the parent trace.
        TraceMe = 1, "ptrace-traceme";
        /// Opening one's own memory for writing.
        OpenMemory = 2, "memory-open";
        /// Writing to one's own memory through a file.
        WriteMemory = 3, "memory-write";
    }
}

codes! {
    /// What of Plimsoll was to be touched; the operand of [`Hook::Tamper`].
    Tampering {
        /// The agent was to get a signal.
        Signal = 0, "signal";
        /// The agent was to be traced, its memory or descriptors taken.
        Trace = 1, "ptrace";
        /// The agent's priority, scheduler, memory placement or limits were to change.
        Resources = 2, "resources";
        /// A map of Plimsoll's was to be opened.
        Map = 3, "map";
        /// A program of Plimsoll's was to be opened.
        Program = 4, "program";
        /// A link of Plimsoll's was opened; the task was killed before it could use it.
        Link = 5, "link";
        /// A pin, or a file of the agent's, was to be made, removed, renamed or written.
        File = 6, "file";
        /// A directory that pins or files of the agent's hang on was to be mounted over, moved or unmounted.
        Mount = 7, "mount";
        /// The agent's socket was to be connected to.
        Socket = 8, "socket";
        /// The agent's cgroup was to be changed.
        Cgroup = 9, "cgroup";
    }
}

/// Bits of [`Event::flags`].
pub mod event_flags {
    /// The overlay inode has an upper dentry.
    pub const UPPER: u32 = 1;
    /// The overlay inode has a lower dentry; with [`UPPER`], the file is a copy-up of an image file.
    pub const LOWER: u32 = 2;
    /// `path` is the file's last component only.
    pub const NAME_ONLY: u32 = 4;
    /// The file is on an overlay.
    pub const OVERLAY: u32 = 8;
    /// `path` holds the path's components, the last one first, each ended by NUL, the list ended by an empty one. They
    /// count from the workload's root, or from the volume whose number is in `operand`; `u64::MAX` there says that only
    /// the last component is known.
    pub const COMPONENTS: u32 = 1 << 8;
}

/// A task above the one that acted.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ancestor {
    /// Process id in the initial namespace; 0 ends the list.
    pub tgid: u32,
    /// Task name, NUL-padded.
    pub comm: [u8; COMM_LEN],
}

/// One decision, as the kernel programs report it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Consecutive over all denials and audits of this boot, lost ones included; 0 in telemetry.
    pub sequence: u64,
    /// `CLOCK_BOOTTIME`, nanoseconds.
    pub time_ns: u64,
    /// The task's cgroup.
    pub cgroup: u64,
    /// Real inode number: the lower one where there is one, else the file's own.
    pub ino: u64,
    /// Bytes in the file.
    pub size: u64,
    /// What exactly was asked for; which number it is depends on the hook, and is 0 where there is nothing to say.
    pub operand: u64,
    /// Filesystem of `ino`, in the kernel's encoding.
    pub dev: u32,
    /// A [`Hook`].
    pub hook: u32,
    /// A [`Verdict`].
    pub verdict: u32,
    /// A [`Reason`].
    pub reason: u32,
    /// Workload slot.
    pub slot: u32,
    /// Incarnation of the slot.
    pub incarnation: u32,
    /// Allowlist in force.
    pub allowlist: u32,
    /// Rule of the matching entry; meaningful if `reason` is [`Reason::Listed`].
    pub rule: u32,
    /// Thread group id in the initial namespace.
    pub tgid: u32,
    /// Thread id in the initial namespace.
    pub tid: u32,
    /// User id in the initial namespace.
    pub uid: u32,
    /// Memory protection asked for (`PROT_*`); 0 for executions.
    pub prot: u32,
    /// Bits of [`event_flags`].
    pub flags: u32,
    /// `IPPROTO_*` of the socket; 0 outside the network hooks.
    pub protocol: u32,
    /// Port of the peer, or the own one where a socket is bound, in the host's byte order.
    pub port: u32,
    /// Always zero.
    pub reserved: u32,
    /// Address of the peer, or the own one where a socket is bound, as IPv6: IPv4 is mapped (`::ffff:a.b.c.d`).
    pub address: [u8; ADDRESS_LEN],
    /// Name of the acting task, NUL-padded.
    pub comm: [u8; COMM_LEN],
    /// Parent, grandparent, and so on.
    pub ancestors: [Ancestor; ANCESTORS],
    /// Path seen from the task's root, NUL-terminated; any bytes but NUL.
    pub path: [u8; PATH_LEN],
}

const _: () = {
    assert!(size_of::<Ancestor>() == 20);
    assert!(size_of::<Event>() == 6 * 8 + 16 * 4 + ADDRESS_LEN + COMM_LEN + ANCESTORS * 20 + PATH_LEN);
    assert!(size_of::<Event>().is_multiple_of(8));
};
