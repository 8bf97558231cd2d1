//! An OCI image that grows layer by layer, and its layers as overlayfs wants them.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat, setxattr};

use crate::step;

const TAG: &str = "latest";
/// A file of this prefix in a layer says that the rest of its name is gone.
const WHITEOUT: &[u8] = b".wh.";
/// This one says that nothing of the folder in lower layers is to be seen.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// An OCI layout with one image, and the folder in which its next layer is prepared.
#[derive(Debug)]
pub(super) struct Layout {
    layout: PathBuf,
    bundle: PathBuf,
}

impl Layout {
    /// An image without layers in the new folder `layout`, to be worked on in the new folder `bundle`.
    pub(super) fn create(layout: PathBuf, bundle: PathBuf) -> Result<Self> {
        let this = Self { layout, bundle };
        step::quietly(Command::new("umoci").arg("init").arg("--layout").arg(&this.layout))?;
        step::quietly(&mut this.umoci("new"))?;
        step::quietly(this.umoci("unpack").arg(&this.bundle))?;
        Ok(this)
    }

    /// The image's files; what is changed here is the next layer.
    pub(super) fn rootfs(&self) -> PathBuf {
        self.bundle.join("rootfs")
    }

    /// Makes a layer of all changes since the last.
    pub(super) fn commit(&self, comment: &str) -> Result<()> {
        let mut repack = self.umoci("repack");
        repack.args(["--refresh-bundle", "--history.comment", comment]);
        step::quietly(repack.arg(&self.bundle))
    }

    /// Says what a container of the image runs, and drops what commits left over.
    pub(super) fn configure(&self, command: &[&str]) -> Result<()> {
        let mut configure = self.umoci("config");
        configure.args(command.iter().flat_map(|word| ["--config.entrypoint", word]));
        step::quietly(&mut configure)?;
        step::quietly(Command::new("umoci").arg("gc").arg("--layout").arg(&self.layout))
    }

    /// The digest of the image's manifest.
    pub(super) fn digest(&self) -> Result<String> {
        let digest = self.inspect("{{.Digest}}")?.trim().to_owned();
        ensure!(digest.starts_with("sha256:"), "skopeo named no digest: `{digest}`");
        Ok(digest)
    }

    /// Unpacks each layer into a folder of `directory` that is named by its number, the lowest 0. Answers how many there are.
    pub(super) fn unpack(&self, directory: &Path) -> Result<usize> {
        let listing = self.inspect("{{range .Layers}}{{println .}}{{end}}")?;
        let layers: Vec<&str> = listing.split_whitespace().collect();
        for (number, layer) in layers.iter().enumerate() {
            let hex = layer.strip_prefix("sha256:").with_context(|| format!("layer `{layer}` has no SHA-256"))?;
            let folder = directory.join(number.to_string());
            fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
            super::extract(&self.layout.join("blobs/sha256").join(hex), &folder)?;
            convert_whiteouts(&folder)?;
        }
        Ok(layers.len())
    }

    fn umoci(&self, command: &str) -> Command {
        let mut umoci = Command::new("umoci");
        umoci.arg(command).arg("--image").arg(format!("{}:{TAG}", self.layout.display()));
        umoci
    }

    fn inspect(&self, format: &str) -> Result<String> {
        let reference = format!("oci:{}:{TAG}", self.layout.display());
        step::output(Command::new("skopeo").args(["inspect", "--format", format, &reference]))
    }
}

/// Turns OCI's whiteouts under `directory` into overlayfs'.
fn convert_whiteouts(directory: &Path) -> Result<()> {
    let mut pending = vec![directory.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let entry = entry?;
            let name = entry.file_name();
            if name.as_bytes() == OPAQUE {
                fs::remove_file(entry.path())?;
                setxattr(&folder, "trusted.overlay.opaque", b"y", XattrFlags::empty())?;
            } else if let Some(gone) = name.as_bytes().strip_prefix(WHITEOUT) {
                fs::remove_file(entry.path())?;
                let whiteout = folder.join(OsStr::from_bytes(gone));
                mknodat(CWD, &whiteout, FileType::CharacterDevice, Mode::empty(), makedev(0, 0))
                    .with_context(|| format!("cannot create {}", whiteout.display()))?;
            } else if entry.file_type()?.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    Ok(())
}
