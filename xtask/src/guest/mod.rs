//! What guests are made of: disks, built once and kept until what they are built from changes.

mod debian;
mod ext4;
mod key;
mod payload;
mod peer;
mod root;
mod selftests;

use anyhow::Result;
use plimsoll_tests::vm::{Accelerator, Disks, Guest, Kernel};

use crate::{setup, workspace::Workspace};

/// Everything to boot guests with.
#[derive(Debug, Clone)]
pub(crate) struct Guests {
    workspace: Workspace,
    disks: Disks,
    accelerator: Accelerator,
}

impl Guests {
    /// A root disk alone: a shell, runc, no programs of ours.
    pub(crate) fn bare(workspace: &Workspace) -> Result<Self> {
        let accelerator = setup::accelerator(workspace)?;
        let disks = Disks { root: Some(root::build(workspace)?), ..Disks::default() };
        Ok(Self { workspace: workspace.clone(), disks, accelerator })
    }

    /// With the built programs and the test image at `/payload`. Needs [`crate::build::run`] before it.
    pub(crate) fn complete(workspace: &Workspace) -> Result<Self> {
        let mut guests = Self::bare(workspace)?;
        guests.disks.payload = Some(payload::build(workspace)?);
        Ok(guests)
    }

    /// The same with fapolicyd on the root disk, and what it is compared by. Needs [`crate::build::run`] before it.
    pub(crate) fn with_peer(workspace: &Workspace) -> Result<Self> {
        let accelerator = setup::accelerator(workspace)?;
        let root = Some(root::build_with_peer(workspace)?);
        let disks = Disks { root, payload: Some(payload::build_with_peer(workspace)?) };
        Ok(Self { workspace: workspace.clone(), disks, accelerator })
    }

    /// The same with containerd, its CRI and NRI, and crun on the root disk. Needs [`crate::build::run`] before it.
    pub(crate) fn with_runtimes(workspace: &Workspace) -> Result<Self> {
        let accelerator = setup::accelerator(workspace)?;
        let root = Some(root::build_with_runtimes(workspace)?);
        let disks = Disks { root, payload: Some(payload::build_with_archive(workspace)?) };
        Ok(Self { workspace: workspace.clone(), disks, accelerator })
    }

    /// A guest with these disks.
    pub(crate) fn guest(&self, kernel: Kernel) -> Guest {
        Guest::new(self.workspace.kernel(kernel), self.disks.clone(), self.accelerator, self.workspace.scratch())
    }
}
