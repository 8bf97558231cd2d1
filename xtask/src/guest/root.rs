//! The guest's root disk.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{debian, ext4, key, peer};
use crate::{pins, step::Step, workspace::Workspace};

/// Free room on it, in MiB: containers' writable layers and the agent's state live here.
const ROOM: u64 = 1024;

/// The disk's file.
pub(super) fn build(workspace: &Workspace) -> Result<PathBuf> {
    with_packages(workspace, "root", pins::DEBIAN, pins::GUEST_PACKAGES, |_| Ok(()))
}

/// The file of a disk with container runtimes that have NRI.
pub(super) fn build_with_runtimes(workspace: &Workspace) -> Result<PathBuf> {
    let packages = [pins::GUEST_PACKAGES, pins::RUNTIME_PACKAGES].concat();
    with_packages(workspace, "root-with-runtimes", pins::RUNTIME_DEBIAN, &packages, |_| Ok(()))
}

/// The file of a disk with a peer on it, trusted by which is what dpkg installed.
pub(super) fn build_with_peer(workspace: &Workspace) -> Result<PathBuf> {
    let packages = [pins::GUEST_PACKAGES, pins::PEER_PACKAGES].concat();
    with_packages(workspace, "root-with-peer", pins::DEBIAN, &packages, peer::trust_packages)
}

/// A disk called `name` with `packages` of a Debian `release` on it, and what `complete` makes of its files.
fn with_packages(
    workspace: &Workspace,
    name: &str,
    release: &str,
    packages: &[&str],
    complete: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let disk = workspace.guest().join(format!("{name}.ext4"));
    let built_from = format!("{release} {} +{ROOM}", packages.join(" "));
    if key::is_fresh(&disk, &built_from) {
        return Ok(disk);
    }
    let step = Step::start(format!("the guest's disk `{name}`"));
    key::forget(&disk)?;
    let scratch = tempfile::Builder::new().prefix("root-").tempdir_in(workspace.guest())?;
    let tree = scratch.path().join("root");
    debian::install(&tree, release, packages)?;
    std::fs::create_dir_all(tree.join("payload"))?;
    complete(&tree)?;
    ext4::build(&disk, &tree, ROOM)?;
    key::remember(&disk, &built_from)?;
    step.done("built");
    Ok(disk)
}
