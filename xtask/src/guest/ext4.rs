//! File systems made from folders, without mounting anything.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::step;

/// Room for what a guest writes, and for the file system's own needs, in MiB.
const SLACK: u64 = 64;
const MEBIBYTE: u64 = 1024 * 1024;

/// Makes `file` an ext4 file system with what is in `directory`, and `room` MiB to spare. The file is sparse.
pub(super) fn build(file: &Path, directory: &Path, room: u64) -> Result<()> {
    let listing = step::output(Command::new("du").args(["--summarize", "--block-size=1"]).arg(directory))?;
    let used = listing.split_whitespace().next().and_then(|bytes| bytes.parse::<u64>().ok());
    let used = used.with_context(|| format!("cannot tell the size of {}", directory.display()))?;
    let size = used / MEBIBYTE * 11 / 10 + SLACK + room;
    if file.exists() {
        fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    let mut make = Command::new("mke2fs");
    make.args(["-q", "-t", "ext4", "-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=1", "-d"]).arg(directory);
    step::quietly(make.arg(file).arg(format!("{size}M")))
}
