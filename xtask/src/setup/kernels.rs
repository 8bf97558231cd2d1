//! Guest kernels: out of Debian's packages, an image and the few modules that guests load.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use plimsoll_tests::vm::Kernel;

use super::apt::Apt;
use crate::{
    pins,
    step::{self, Step},
    workspace::Workspace,
};

/// File that says what a kernel's folder was made from.
const ORIGIN: &str = "origin";

/// Puts `kernel` where guests look for it.
pub(super) fn install(workspace: &Workspace, apt: &mut Apt, kernel: Kernel) -> Result<()> {
    let directory = workspace.kernel_directory(kernel);
    let modules = pins::MODULES.join(" ");
    if let Ok(origin) = fs::read_to_string(directory.join(ORIGIN))
        && let Some((package, has)) = origin.split_once('\n')
        && has == modules
    {
        step::found(&format!("guest kernel {kernel}: {package}"));
        return Ok(());
    }
    let package = apt.dependency(pins::kernel_package(kernel), &format!("linux-image-{kernel}."))?;
    let step = Step::start(format!("guest kernel {kernel}: {package}"));
    let scratch = tempfile::Builder::new().prefix("kernel-").tempdir_in(workspace.guest())?;
    Apt::unpack(&package, scratch.path())?;
    if directory.exists() {
        fs::remove_dir_all(&directory).with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    fs::create_dir_all(directory.join("modules"))?;
    let release = package.strip_prefix("linux-image-").unwrap_or(&package);
    let image = scratch.path().join(format!("boot/vmlinuz-{release}"));
    fs::copy(&image, directory.join("vmlinuz")).with_context(|| format!("cannot copy {}", image.display()))?;
    copy_modules(scratch.path(), release, &directory.join("modules"))?;
    // Written last: a folder without it is made anew.
    fs::write(directory.join(ORIGIN), format!("{package}\n{modules}"))?;
    step.done("installed");
    Ok(())
}

fn copy_modules(unpacked: &Path, release: &str, to: &Path) -> Result<()> {
    step::quietly(Command::new("depmod").arg("--basedir").arg(unpacked).arg(release))?;
    let tree = unpacked.join("lib/modules").join(release);
    let listing = tree.join("modules.dep");
    let dependencies = fs::read_to_string(&listing).with_context(|| format!("cannot read {}", listing.display()))?;
    for (index, module) in load_order(&dependencies, pins::MODULES).iter().enumerate() {
        let name = module_name(module);
        let copy = to.join(format!("{index:02}-{name}.ko"));
        let packed = tree.join(module);
        if packed.extension().is_some_and(|extension| extension == "xz") {
            let unpacked = Command::new("xz").args(["--decompress", "--stdout"]).arg(&packed).output()?;
            anyhow::ensure!(unpacked.status.success(), "cannot decompress {}", packed.display());
            fs::write(&copy, unpacked.stdout)?;
        } else {
            fs::copy(&packed, &copy)?;
        }
    }
    Ok(())
}

/// The files to load for `wanted`, dependencies first, each once. `dependencies` has lines of `file: file file`, where a file
/// comes before what it depends on. A wanted module that is not among them is built in.
fn load_order(dependencies: &str, wanted: &[&str]) -> Vec<PathBuf> {
    let mut order: Vec<PathBuf> = Vec::new();
    for name in wanted {
        let line = dependencies.lines().filter_map(|line| line.split_once(':'));
        let Some((file, needs)) = line.into_iter().find(|(file, _)| module_name(Path::new(file)) == *name) else {
            continue;
        };
        for path in needs.split_whitespace().rev().chain([file]).map(PathBuf::from) {
            if !order.contains(&path) {
                order.push(path);
            }
        }
    }
    order
}

/// `kernel/fs/overlayfs/overlay.ko.xz` is `overlay`.
fn module_name(file: &Path) -> &str {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.split_once('.').map_or(name, |(stem, _)| stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_loaded_first_and_once() {
        let listing = "a/virtio.ko:\na/virtio_ring.ko: a/virtio.ko\n\
            a/virtio_pci.ko.xz: a/modern.ko a/virtio_ring.ko a/virtio.ko\nb/virtio_blk.ko: a/virtio_ring.ko a/virtio.ko\n";
        let order = load_order(listing, &["virtio_pci", "virtio_blk", "built_in"]);
        let expected = ["a/virtio.ko", "a/virtio_ring.ko", "a/modern.ko", "a/virtio_pci.ko.xz", "b/virtio_blk.ko"];
        assert_eq!(order, expected.map(PathBuf::from));
    }
}
