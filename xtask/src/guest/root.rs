//! The guest's root disk.

use std::path::PathBuf;

use anyhow::Result;

use super::{debian, ext4, key};
use crate::{pins, step::Step, workspace::Workspace};

/// Free room on it, in MiB: containers' writable layers and the agent's state live here.
const ROOM: u64 = 1024;

/// The disk's file.
pub(super) fn build(workspace: &Workspace) -> Result<PathBuf> {
    let disk = workspace.guest().join("root.ext4");
    let built_from = format!("{} {} +{ROOM}", pins::DEBIAN, pins::GUEST_PACKAGES.join(" "));
    if key::is_fresh(&disk, &built_from) {
        return Ok(disk);
    }
    let step = Step::start("the guest's root disk");
    key::forget(&disk)?;
    let scratch = tempfile::Builder::new().prefix("root-").tempdir_in(workspace.guest())?;
    let tree = scratch.path().join("root");
    debian::install(&tree, pins::GUEST_PACKAGES)?;
    std::fs::create_dir_all(tree.join("payload"))?;
    ext4::build(&disk, &tree, ROOM)?;
    key::remember(&disk, &built_from)?;
    step.done("built");
    Ok(disk)
}
