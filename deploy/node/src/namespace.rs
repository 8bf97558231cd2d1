//! The node's cgroup namespace.
//!
//! Runtimes put every container that is not privileged into a cgroup namespace of its own. In there `/proc/PID/cgroup` of other
//! containers has paths such as `0::/../../kubepods.slice/...`, which lead nowhere below the hierarchy, and the kernel lets no
//! process be moved to a cgroup outside.

use std::{fs::File, os::fd::AsFd as _, path::Path};

use anyhow::{Context as _, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Moves this process to the cgroup namespace at `path`, such as `/proc/1/ns/cgroup`.
pub(crate) fn enter(path: &Path) -> Result<()> {
    let namespace = File::open(path)
        .with_context(|| format!("cannot open {}: the pod needs hostPID and CAP_SYS_PTRACE", path.display()))?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::ControlGroup))
        .with_context(|| format!("cannot enter the cgroup namespace {}: it takes CAP_SYS_ADMIN", path.display()))
}
