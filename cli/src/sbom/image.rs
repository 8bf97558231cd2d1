//! Reading an unpacked image, with a bar on standard error if that is a terminal.

use std::path::{Path, PathBuf};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use plimsoll_rootfs::{Image, LayerCache, Options, Progress, RootfsError, Tree};

/// Indexes the root filesystem at `rootfs`.
pub(crate) fn index(rootfs: &Path) -> anyhow::Result<Image> {
    index_with(rootfs, None)
}

/// As [`index`]; what `cache` knows of the files is not read again.
pub(super) fn index_with(rootfs: &Path, cache: Option<&LayerCache>) -> anyhow::Result<Image> {
    shown(|progress| {
        let options = Options { progress: Some(progress), cache, ..Options::default() };
        plimsoll_rootfs::index(&[rootfs.to_owned()], &options)
    })
}

/// Merges layers, the top one first, and hashes what can run; their files can be opened.
pub(crate) fn tree(layers: &[PathBuf]) -> anyhow::Result<Tree> {
    shown(|progress| Tree::read(layers, &Options { progress: Some(progress), ..Options::default() }))
}

/// Shows how far the reading got.
fn shown<T>(read: impl FnOnce(&(dyn Fn(Progress) + Sync)) -> Result<T, RootfsError>) -> anyhow::Result<T> {
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template("reading {pos}/{len} files, {msg} hashed")?);
    let outcome = read(&|progress| {
        bar.set_length(progress.total_files);
        bar.set_position(progress.files);
        bar.set_message(HumanBytes(progress.bytes).to_string());
    });
    bar.finish_and_clear();
    Ok(outcome?)
}
