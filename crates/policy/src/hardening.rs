//! What a workload may do to the kernel and to other processes, beside running code.

use plimsoll_abi::{Operation, Reason, state};
use serde::{Serialize, Serializer};

/// Operations that are forbidden, and capabilities that may be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Hardening {
    /// Operations that are forbidden.
    pub forbidden: Forbidden,
    /// The capabilities that may be used; `None` if all that the container has.
    pub capabilities: Option<Capabilities>,
}

impl Hardening {
    /// What a policy that says nothing forbids: whatever lets code in around the allowlist, and ordinary images do not use.
    pub const DEFAULT: [Operation; 5] =
        [Operation::Trace, Operation::Bpf, Operation::PerfEvent, Operation::KernelCode, Operation::KernelFile];

    /// Bits of the workload's state.
    pub fn state(&self) -> u64 {
        let restricted = if self.capabilities.is_some() { state::CAPABILITIES } else { 0 };
        self.forbidden.operations().fold(restricted, |bits, operation| bits | state::forbidden(operation))
    }

    /// The kernel's answer to an operation; [`Reason::Listed`] lets it go ahead.
    pub(crate) fn judge(&self, operation: Operation) -> Reason {
        if self.forbidden.has(operation) { Reason::Forbidden } else { Reason::Listed }
    }

    /// The kernel's answer to an attempt at writing code past its mapping.
    pub(crate) fn judge_injection(&self) -> Reason {
        if self.forbidden.has(Operation::Trace) { Reason::InjectedCode } else { Reason::Listed }
    }

    /// The kernel's answer to the use of a capability.
    pub(crate) fn judge_capability(&self, capability: u32) -> Reason {
        match self.capabilities {
            Some(allowed) if !allowed.has(capability) => Reason::Forbidden,
            _ => Reason::Listed,
        }
    }
}

impl Default for Hardening {
    fn default() -> Self {
        Self { forbidden: Self::DEFAULT.into_iter().collect(), capabilities: None }
    }
}

/// A set of operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forbidden(u32);

impl Forbidden {
    /// Whether `operation` is in the set.
    pub fn has(self, operation: Operation) -> bool {
        self.0 & (1 << operation as u32) != 0
    }

    /// The operations, in the order of their numbers.
    pub fn operations(self) -> impl Iterator<Item = Operation> {
        Operation::ALL.iter().copied().filter(move |operation| self.has(*operation))
    }
}

impl FromIterator<Operation> for Forbidden {
    fn from_iter<I: IntoIterator<Item = Operation>>(operations: I) -> Self {
        Self(operations.into_iter().fold(0, |bits, operation| bits | 1 << operation as u32))
    }
}

impl Serialize for Forbidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.operations().map(Operation::name))
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// Every capability's name, in the order of their numbers.
    pub const NAMES: [&'static str; 41] = [
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_DAC_READ_SEARCH",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_KILL",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SETPCAP",
        "CAP_LINUX_IMMUTABLE",
        "CAP_NET_BIND_SERVICE",
        "CAP_NET_BROADCAST",
        "CAP_NET_ADMIN",
        "CAP_NET_RAW",
        "CAP_IPC_LOCK",
        "CAP_IPC_OWNER",
        "CAP_SYS_MODULE",
        "CAP_SYS_RAWIO",
        "CAP_SYS_CHROOT",
        "CAP_SYS_PTRACE",
        "CAP_SYS_PACCT",
        "CAP_SYS_ADMIN",
        "CAP_SYS_BOOT",
        "CAP_SYS_NICE",
        "CAP_SYS_RESOURCE",
        "CAP_SYS_TIME",
        "CAP_SYS_TTY_CONFIG",
        "CAP_MKNOD",
        "CAP_LEASE",
        "CAP_AUDIT_WRITE",
        "CAP_AUDIT_CONTROL",
        "CAP_SETFCAP",
        "CAP_MAC_OVERRIDE",
        "CAP_MAC_ADMIN",
        "CAP_SYSLOG",
        "CAP_WAKE_ALARM",
        "CAP_BLOCK_SUSPEND",
        "CAP_AUDIT_READ",
        "CAP_PERFMON",
        "CAP_BPF",
        "CAP_CHECKPOINT_RESTORE",
    ];

    /// The set as the kernel holds it: bit n stands for capability n.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Adds a capability by its number, which is below 64; `false` if it was there.
    pub(crate) fn add(&mut self, capability: u32) -> bool {
        let bit = 1 << (capability & 63);
        let is_new = self.0 & bit == 0;
        self.0 |= bit;
        is_new
    }

    /// Whether the capability is in the set.
    pub fn has(self, capability: u32) -> bool {
        self.0 & (1 << (capability & 63)) != 0
    }

    /// A capability's name; its number where this version knows none.
    pub fn name(capability: u64) -> String {
        let known = usize::try_from(capability).ok().and_then(|index| Self::NAMES.get(index));
        known.map_or_else(|| capability.to_string(), |name| (*name).to_owned())
    }
}

impl Serialize for Capabilities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let names = Self::NAMES.iter().zip(0..).filter(|(_, number)| self.has(*number));
        serializer.collect_seq(names.map(|(name, _)| name))
    }
}
