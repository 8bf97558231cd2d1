//! What is to be seen on a kernel whose security modules do not include BPF.

use std::process::Command;

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;

use crate::trial;

const AGENT: &str = "/payload/bin/plimsoll-agent";

pub(crate) fn tests() -> Vec<Trial> {
    vec![trial("no_bpf::preflight_refuses_and_names_the_reason", preflight_refuses_and_names_the_reason)]
}

fn preflight_refuses_and_names_the_reason() -> anyhow::Result<()> {
    let output = Command::new(AGENT).arg("preflight").output().with_context(|| format!("cannot run `{AGENT}`"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    ensure!(output.status.code() == Some(1), "preflight ended with {}: {said}", output.status);
    ensure!(said.contains("lsm=") && said.contains("bpf"), "preflight does not say what to do about it: {said}");
    Ok(())
}
