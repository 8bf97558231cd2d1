//! The test image: a real OCI image of Debian packages, with SBOMs that know all of it but one file.
//!
//! `target/guest/image` holds
//! - `oci/`: the image as an OCI layout, tag `latest`
//! - `digest`: the digest of its manifest, as `sha256:<hex>`
//! - `layers/0` (Debian), `layers/1` (the package `plimsoll-actor`), `layers/2` (`/opt/undeclared/tool`): the layers, unpacked
//!   as overlayfs wants them
//! - `lowerdir`: the layers' folders, top first, one a line
//! - `sbom.syft.json`, `sbom.spdx.json`, `sbom.cdx.json`: what Syft finds in layers 0 and 1

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    pins,
    step::{self, Step},
    workspace::Workspace,
};

mod layers;

/// Debian packages of the base layer. Not even essential ones are added to them: the fewer files, the sooner they are hashed.
const PACKAGES: &[&str] = &[
    "base-files",
    "base-passwd",
    "busybox-static",
    "coreutils",
    "dash",
    "debianutils",
    "diffutils",
    "dpkg",
    "grep",
    "libc-bin",
    "mawk",
    "mount",
    "perl-base",
    "python3-minimal",
    "sed",
    "stress-ng",
    "tar",
];
/// What no container needs.
const LEFT_OUT: [&str; 4] = ["/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*"];
/// Links `/bin`, `/lib` and so on into `/usr` before anything is installed, as on every Debian; it comes with mmdebstrap.
const MERGED_USR: &str = "/usr/share/mmdebstrap/hooks/merged-usr";
/// Goes up when this module makes another image from the same parts.
const RECIPE: u32 = 1;
const ACTOR: &str = "plimsoll-actor";

/// Builds the image unless it is there and its parts are the same. Answers its folder. Needs root, [`crate::setup::run`] and
/// [`crate::build::run`] before it.
pub(crate) fn build(workspace: &Workspace) -> Result<PathBuf> {
    let image = workspace.guest().join("image");
    let actor = workspace.release().join(ACTOR);
    ensure!(actor.is_file(), "{} is missing: run `cargo xtask build`", actor.display());
    ensure!(rustix::process::geteuid().is_root(), "the test image has files of several owners: run this as root");
    let parts = format!("{}\nsyft {}\nactor {}\n", base_parts(), pins::SYFT, digest_of("sha256sum", &actor)?);
    if is_stamped(&image, &parts) {
        return Ok(image);
    }
    let base = base(workspace)?;
    let step = Step::start("the test image");
    let scratch = tempfile::Builder::new().prefix("image-").tempdir_in(workspace.guest())?;
    let draft = scratch.path().join("image");
    fs::create_dir(&draft)?;
    compose(workspace, &base, &actor, scratch.path(), &draft)?;
    fs::write(draft.join(STAMP), &parts)?;
    if image.exists() {
        fs::remove_dir_all(&image).with_context(|| format!("cannot remove {}", image.display()))?;
    }
    fs::rename(&draft, &image).with_context(|| format!("cannot move the image to {}", image.display()))?;
    step.done("built");
    Ok(image)
}

const STAMP: &str = "built-from";

fn is_stamped(directory: &Path, parts: &str) -> bool {
    fs::read_to_string(directory.join(STAMP)).is_ok_and(|found| found == parts)
}

fn base_parts() -> String {
    format!("recipe {RECIPE}\n{} {}", pins::DEBIAN, PACKAGES.join(" "))
}

/// The base layer's files as a tar archive, kept beside the image: it changes less often than the actor.
fn base(workspace: &Workspace) -> Result<PathBuf> {
    let directory = workspace.guest().join("image-base");
    let archive = directory.join("rootfs.tar");
    let parts = base_parts();
    if is_stamped(&directory, &parts) && archive.is_file() {
        return Ok(archive);
    }
    let step = Step::start(format!("the test image's {} Debian packages", PACKAGES.len()));
    if directory.exists() {
        fs::remove_dir_all(&directory).with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    fs::create_dir_all(&directory)?;
    let mut bootstrap = Command::new("mmdebstrap");
    bootstrap.args(["--quiet", "--mode=root", "--variant=custom", &format!("--include={}", PACKAGES.join(","))]);
    bootstrap.args(LEFT_OUT.map(|pattern| format!("--dpkgopt=path-exclude={pattern}")));
    bootstrap.arg(format!("--hook-directory={MERGED_USR}"));
    step::quietly(bootstrap.arg(pins::DEBIAN).arg(&archive))?;
    fs::write(directory.join(STAMP), parts)?;
    step.done("bootstrapped");
    Ok(archive)
}

/// Makes everything in `draft`, with `scratch` for what is not kept.
fn compose(workspace: &Workspace, base: &Path, actor: &Path, scratch: &Path, draft: &Path) -> Result<()> {
    let layout = layers::Layout::create(draft.join("oci"), scratch.join("bundle"))?;
    let rootfs = layout.rootfs();
    extract(base, &rootfs)?;
    layout.commit("Debian packages")?;

    let package = actor_package(actor, scratch)?;
    let mut install = Command::new("dpkg");
    step::quietly(install.arg(format!("--root={}", rootfs.display())).arg("--install").arg(&package))?;
    layout.commit("plimsoll-actor")?;
    sboms(workspace, &rootfs, draft)?;

    add_undeclared(&rootfs)?;
    layout.commit("an undeclared program")?;

    layout.configure(&["/usr/bin/plimsoll-actor", "wait"])?;
    fs::write(draft.join("digest"), format!("{}\n", layout.digest()?))?;
    let folders = layout.unpack(&draft.join("layers"))?;
    let order: Vec<String> = (0..folders).rev().map(|number| format!("layers/{number}")).collect();
    fs::write(draft.join("lowerdir"), format!("{}\n", order.join("\n")))?;
    Ok(())
}

/// Unpacks a tar archive with its owners and extended attributes.
fn extract(archive: &Path, directory: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--numeric-owner", "--same-owner", "--same-permissions", "--xattrs", "--xattrs-include=*"]);
    step::quietly(tar.arg("--file").arg(archive).arg("--directory").arg(directory))
}

/// A Debian package with the actor in it.
fn actor_package(actor: &Path, scratch: &Path) -> Result<PathBuf> {
    let tree = scratch.join("package");
    let (control, programs) = (tree.join("DEBIAN"), tree.join("usr/bin"));
    for directory in [&control, &programs] {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    }
    let installed = programs.join(ACTOR);
    fs::copy(actor, &installed).with_context(|| format!("cannot copy {}", actor.display()))?;
    fs::set_permissions(&installed, fs::Permissions::from_mode(0o755))?;
    let description = format!(
        "Package: {ACTOR}\nVersion: {}\nArchitecture: amd64\nMaintainer: Plimsoll <plimsoll@localhost>\n\
         Depends: libc6, libgcc-s1\nDescription: tries ways of running code\n",
        env!("CARGO_PKG_VERSION")
    );
    fs::write(control.join("control"), description)?;
    // Built by hand, since only `dh_md5sums` would write it, and digests of files are what packages are here for.
    fs::write(control.join("md5sums"), format!("{}  usr/bin/{ACTOR}\n", digest_of("md5sum", &installed)?))?;
    let package = scratch.join(format!("{ACTOR}.deb"));
    step::quietly(Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(&tree).arg(&package))?;
    Ok(package)
}

fn digest_of(program: &str, file: &Path) -> Result<String> {
    let line = step::output(Command::new(program).arg(file))?;
    line.split_whitespace().next().map(str::to_owned).with_context(|| format!("{program} printed nothing"))
}

fn sboms(workspace: &Workspace, rootfs: &Path, directory: &Path) -> Result<()> {
    let mut syft = Command::new(workspace.tools().join("bin/syft"));
    syft.env("SYFT_CHECK_FOR_APP_UPDATE", "false").args(["scan", "--quiet"]);
    syft.arg(format!("dir:{}", rootfs.display())).arg("--base-path").arg(rootfs);
    for (format, name) in [("syft-json", "syft"), ("spdx-json", "spdx"), ("cyclonedx-json", "cdx")] {
        syft.arg("--output").arg(format!("{format}={}", directory.join(format!("sbom.{name}.json")).display()));
    }
    step::quietly(&mut syft)
}

/// A working program that no package owns and that is like no other file.
fn add_undeclared(rootfs: &Path) -> Result<()> {
    let directory = rootfs.join("opt/undeclared");
    fs::create_dir_all(&directory)?;
    let tool = directory.join("tool");
    fs::copy(rootfs.join("usr/bin/true"), &tool).context("cannot copy /usr/bin/true")?;
    let mut file: File = OpenOptions::new().append(true).open(&tool)?;
    file.write_all(b"\n")?;
    Ok(())
}
