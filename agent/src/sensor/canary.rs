//! The proof, before the agent calls itself ready, that a denial really happens on this kernel.
//!
//! Loading and attaching succeed on kernels whose LSM list lacks `bpf`, and then nothing is ever called. So a private
//! file is run in a private cgroup, first without a policy, where it must succeed, and then with one that allows
//! nothing, where it must fail with `EPERM` and leave its event.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::{fs::MetadataExt as _, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use plimsoll_abi::{Label, Verdict};

use super::maps::Ring;
use crate::{
    enforcer::{Admission, EnforceError, Enforcer},
    event::{DecodeError, Decoded, decode},
};

/// The argument with which the canary's file is run; it then exits at once.
pub const ARGUMENT: &str = "canary-exit";

/// Why denials cannot be trusted on this kernel.
#[derive(Debug, thiserror::Error)]
pub enum CanaryError {
    #[error("cannot prepare the canary: {step}")]
    Prepare {
        step: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("the canary does not run even without a policy, so its denial would prove nothing")]
    Baseline(#[source] io::Error),
    #[error("the canary without a policy ended with {0}")]
    BaselineStatus(std::process::ExitStatus),
    #[error("the canary ran although its policy allows nothing; is `bpf` in the kernel's LSM list?")]
    Ran,
    #[error("the canary failed, but not with EPERM")]
    OtherFailure(#[source] io::Error),
    #[error("the canary was denied, but no event says so")]
    NoEvent,
    #[error(transparent)]
    Enforce(#[from] EnforceError),
}

/// Runs the canary. Events of others that were waiting on the ring go to `others`: none is lost.
pub fn prove(
    enforcer: &mut Enforcer,
    denials: &mut Ring,
    cgroups: &Path,
    others: &mut Vec<Result<Decoded, DecodeError>>,
) -> Result<(), CanaryError> {
    let program = private_program()?;
    let cgroup = PrivateCgroup::new(cgroups)?;
    baseline(&program, &cgroup)?;
    // What waited while no agent ran may fill the ring; the canary's event needs room.
    drain(denials, None, others);
    // No task is in mount namespace 0, so every task in the cgroup counts as inside.
    let volumes = Vec::new();
    let admission = Admission { cgroup: cgroup.id, root_dev: 0, runtime_mnt_ns: 0, reach: false, volumes };
    let label = enforcer.admit_nothing(&admission)?;
    let outcome = run(&program, &cgroup);
    enforcer.dismiss(label)?;
    let reported = drain(denials, Some(label), others);
    match outcome {
        Ok(_) => Err(CanaryError::Ran),
        Err(error) if error.raw_os_error() != Some(libc::EPERM) => Err(CanaryError::OtherFailure(error)),
        Err(_) if !reported => Err(CanaryError::NoEvent),
        Err(_) => Ok(()),
    }
}

fn baseline(program: &OwnedFd, cgroup: &PrivateCgroup) -> Result<(), CanaryError> {
    let status = run(program, cgroup).map_err(CanaryError::Baseline)?;
    if status.success() { Ok(()) } else { Err(CanaryError::BaselineStatus(status)) }
}

/// A copy of this program that no path leads to.
fn private_program() -> Result<OwnedFd, CanaryError> {
    let prepare = |step| move |source| CanaryError::Prepare { step, source };
    let mut source = File::open("/proc/self/exe").map_err(prepare("opening this program"))?;
    let memory = rustix::fs::memfd_create("plimsoll-canary", rustix::fs::MemfdFlags::CLOEXEC)
        .map_err(|error| CanaryError::Prepare { step: "making a memory file", source: error.into() })?;
    let mut copy = File::from(memory);
    io::copy(&mut source, &mut copy).map_err(prepare("copying this program"))?;
    // A file that is open for writing cannot be run: reopen it, and drop the writable descriptor.
    let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
    let read_only = File::open(path).map_err(prepare("reopening the copy"))?;
    Ok(read_only.into())
}

fn run(program: &OwnedFd, cgroup: &PrivateCgroup) -> io::Result<std::process::ExitStatus> {
    let mut join = cgroup.procs.try_clone()?;
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    command.arg(ARGUMENT).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: between fork and exec the closure makes one `write` on an open descriptor, nothing else.
    unsafe { command.pre_exec(move || join.write_all(b"0")) };
    command.status()
}

/// Empties the ring; whether a denial with `label` was on it.
fn drain(ring: &mut Ring, label: Option<Label>, others: &mut Vec<Result<Decoded, DecodeError>>) -> bool {
    let mut reported = false;
    while let Some(event) = ring.next(decode) {
        let ours = |event: &Decoded| label == Some(event.label());
        match event {
            Ok(event) if ours(&event) => reported |= event.verdict == Verdict::Deny,
            other => others.push(other),
        }
    }
    reported
}

/// A cgroup of its own, removed when dropped.
struct PrivateCgroup {
    path: PathBuf,
    procs: File,
    id: u64,
}

impl PrivateCgroup {
    fn new(root: &Path) -> Result<Self, CanaryError> {
        let path = root.join(format!("plimsoll-canary-{}", std::process::id()));
        let prepare = |source| CanaryError::Prepare { step: "making a cgroup", source };
        fs::create_dir(&path).map_err(prepare)?;
        let procs = File::options().write(true).open(path.join("cgroup.procs")).map_err(prepare)?;
        let id = fs::metadata(&path).map_err(prepare)?.ino();
        Ok(Self { path, procs, id })
    }
}

impl Drop for PrivateCgroup {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the canary's cgroup stays behind");
        }
    }
}
