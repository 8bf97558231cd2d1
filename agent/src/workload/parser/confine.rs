//! Takes from a process everything that a parser does not need.

use std::{collections::BTreeMap, io};

use rustix::{
    process::{
        DumpableBehavior, Resource, Rlimit, Signal, geteuid, set_dumpable_behavior, set_parent_process_death_signal,
        setrlimit,
    },
    thread::{Gid, Uid, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};
use serde::{Deserialize, Serialize};

/// `nobody` and `nogroup`.
const NOBODY: u32 = 65_534;

/// Why a process is not confined, and must not go on.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    #[error("cannot {0}")]
    System(&'static str, #[source] io::Error),
    #[error("cannot filter system calls")]
    Filter(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What a parser may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of address space.
    pub memory: u64,
    /// Seconds, of the processor and of the clock.
    pub seconds: u64,
}

/// From here on the process computes, and talks over the descriptors it has. It can open no file, make no socket, start
/// no program or thread, and see no other process; as root, it is nobody.
pub(super) fn confine() -> Result<(), ConfineError> {
    let system = |what| move |error: rustix::io::Errno| ConfineError::System(what, error.into());
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(system("ask to end with the agent"))?;
    // The agent is spared when memory runs out; its parser is the first to go. Harmless where it cannot be said.
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", "1000") {
        eprintln!("plimsoll-agent: the SBOM parser keeps the agent's OOM score: {error}");
    }
    for (resource, limit) in [(Resource::Core, 0), (Resource::Fsize, 0), (Resource::Nofile, 64), (Resource::Nproc, 0)] {
        limit_to(resource, limit)?;
    }
    if geteuid().is_root() {
        let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        set_thread_groups(&[]).map_err(system("leave all groups"))?;
        set_thread_res_gid(group, group, group).map_err(system("become nobody's group"))?;
        set_thread_res_uid(user, user, user).map_err(system("become nobody"))?;
    }
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(system("hide from other processes"))?;
    set_no_new_privs(true).map_err(system("give up new privileges"))?;
    let filter = filter().map_err(|error| ConfineError::Filter(Box::new(error)))?;
    apply_filter(&filter).map_err(|error| ConfineError::Filter(Box::new(error)))
}

/// Bounds memory and processor time; told by the parent, so it comes first and the filter last.
pub(super) fn limit(limits: Limits) -> Result<(), ConfineError> {
    limit_to(Resource::As, limits.memory)?;
    limit_to(Resource::Cpu, limits.seconds)
}

fn limit_to(resource: Resource, value: u64) -> Result<(), ConfineError> {
    let limit = Rlimit { current: Some(value), maximum: Some(value) };
    setrlimit(resource, limit).map_err(|error| ConfineError::System("set a resource limit", error.into()))
}

/// What is not allowed fails with `EPERM`: the standard library then does without, where it can.
fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    // Memory, but none that can run.
    let executable = u64::try_from(libc::PROT_EXEC).unwrap_or(4);
    let not_executable = SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(executable), 0)?;
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![SeccompRule::new(vec![not_executable.clone()])?]);
    }
    // Limits of its own; they only go down.
    let own = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, 0)?;
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![own])?]);
    let denied = u32::try_from(libc::EPERM).unwrap_or(1);
    let target = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, SeccompAction::Errno(denied), SeccompAction::Allow, target)?.try_into()
}

/// Talking over open descriptors, reading files that were handed over, memory, time, ending.
const ALLOWED: [i64; 27] = [
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_recvmsg,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_fcntl,
    libc::SYS_close,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_tgkill,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_exit,
    libc::SYS_exit_group,
];
