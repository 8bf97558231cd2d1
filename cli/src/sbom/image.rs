//! Reading an unpacked image, with a bar on standard error if that is a terminal.

use std::path::Path;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use plimsoll_rootfs::{Image, LayerCache, Options, Progress};

/// Indexes the root filesystem at `rootfs`.
pub(crate) fn index(rootfs: &Path) -> anyhow::Result<Image> {
    index_with(rootfs, None)
}

/// As [`index`]; what `cache` knows of the files is not read again.
pub(super) fn index_with(rootfs: &Path, cache: Option<&LayerCache>) -> anyhow::Result<Image> {
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template("reading {pos}/{len} files, {msg} hashed")?);
    let progress = |progress: Progress| {
        bar.set_length(progress.total_files);
        bar.set_position(progress.files);
        bar.set_message(HumanBytes(progress.bytes).to_string());
    };
    let options = Options { progress: Some(&progress), cache, ..Options::default() };
    let image = plimsoll_rootfs::index(&[rootfs.to_owned()], &options);
    bar.finish_and_clear();
    Ok(image?)
}
