//! The payload disk: the programs under test in `bin/` and `lib/`, the image they are tested with in `image/`, the
//! kernel's own tests in `selftests/`, a file system to mount in `filesystem`. Made anew each time, which takes a moment.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{ext4, peer, selftests};
use crate::{
    image,
    step::{self, Step},
    workspace::Workspace,
};

/// Programs of the release profile that guests get.
const PROGRAMS: [&str; 5] =
    ["plimsoll", "plimsoll-actor", "plimsoll-agent", "plimsoll-collector", "plimsoll-guest-tests"];
/// A shared object that guests preload.
const LIBRARY: &str = "libactor_payload.so";

/// The name of the test image in its archive.
const ARCHIVED: &str = "plimsoll.test/image:latest";

/// The disk's file. Needs [`crate::build::run`] before it.
pub(super) fn build(workspace: &Workspace) -> Result<PathBuf> {
    with(workspace, "payload", |_| Ok(()))
}

/// The file of a disk with what is needed to compare Plimsoll with a peer beside the rest, in `peer/`.
pub(super) fn build_with_peer(workspace: &Workspace) -> Result<PathBuf> {
    with(workspace, "payload-with-peer", peer::lay_out)
}

/// The file of a disk with the test image as an archive for containerd beside the rest, `image.tar`.
pub(super) fn build_with_archive(workspace: &Workspace) -> Result<PathBuf> {
    let layout = format!("oci:{}:latest", workspace.guest().join("image/oci").display());
    with(workspace, "payload-with-archive", |tree| {
        let archive = format!("oci-archive:{}:{ARCHIVED}", tree.join("image.tar").display());
        step::quietly(Command::new("skopeo").args(["copy", "--quiet", &layout, &archive]))
    })
}

/// A disk called `name`, with what `complete` adds to it.
fn with(workspace: &Workspace, name: &str, complete: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let image = image::build(workspace)?;
    let selftests = selftests::build(workspace)?;
    let step = Step::start("the payload disk");
    let disk = workspace.guest().join(format!("{name}.ext4"));
    let scratch = tempfile::Builder::new().prefix("payload-").tempdir_in(workspace.guest())?;
    let tree = scratch.path().join("payload");
    for folder in ["bin", "lib"] {
        fs::create_dir_all(tree.join(folder)).with_context(|| format!("cannot create {}", tree.display()))?;
    }
    let built = workspace.release();
    for name in PROGRAMS {
        strip(&built.join(name), &tree.join("bin").join(name))?;
    }
    strip(&built.join("examples").join(LIBRARY), &tree.join("lib").join(LIBRARY))?;
    copy_image(&image, &tree.join("image"))?;
    step::quietly(Command::new("cp").arg("--archive").arg(&selftests).arg(tree.join("selftests")))?;
    let inner = scratch.path().join("filesystem");
    fs::create_dir(&inner)?;
    fs::copy(image.join("layers/0/usr/bin/true"), inner.join("true")).context("the image has no /usr/bin/true")?;
    ext4::build(&tree.join("filesystem"), &inner, 0)?;
    complete(&tree)?;
    ext4::build(&disk, &tree, 0)?;
    step.done("built");
    Ok(disk)
}

/// Copies a program without its debug information, which no guest reads; its symbols stay, for backtraces.
fn strip(from: &Path, to: &Path) -> Result<()> {
    step::quietly(Command::new("strip").arg("--strip-debug").arg("-o").arg(to).arg(from))
}

/// Copies all of the image but its OCI layout, as hard links: the disk is made from them and they are gone.
fn copy_image(image: &Path, to: &Path) -> Result<()> {
    step::quietly(Command::new("cp").args(["--archive", "--link"]).arg(image).arg(to))?;
    fs::remove_dir_all(to.join("oci")).with_context(|| format!("cannot remove the OCI layout from {}", to.display()))
}
