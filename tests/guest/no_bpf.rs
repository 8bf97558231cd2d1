//! What is to be seen on a kernel whose security modules do not include BPF.

use std::{path::Path, process::Command};

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;

use crate::{daemon::Node, stage::SBOM, trial};

const AGENT: &str = "/payload/bin/plimsoll-agent";

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        trial("no_bpf::preflight_refuses_and_names_the_reason", preflight_refuses_and_names_the_reason),
        trial("no_bpf::the_agent_refuses_in_one_line_and_stays_red", the_agent_refuses_in_one_line_and_stays_red),
    ]
}

fn preflight_refuses_and_names_the_reason() -> anyhow::Result<()> {
    let output = Command::new(AGENT).arg("preflight").output().with_context(|| format!("cannot run `{AGENT}`"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    ensure!(output.status.code() == Some(1), "preflight ended with {}: {said}", output.status);
    ensure!(said.contains("lsm=") && said.contains("bpf"), "preflight does not say what to do about it: {said}");
    Ok(())
}

fn the_agent_refuses_in_one_line_and_stays_red() -> anyhow::Result<()> {
    let digest = format!("sha256:{}", "0".repeat(64));
    let node = Node::new(Path::new("/run/plimsoll-no-bpf"), 0, &digest, Path::new(SBOM), "")?;
    let mut agent = node.launch_agent()?;
    let code = agent.daemon.wait()?;
    let log = agent.daemon.log();
    ensure!(code == 1, "the agent ended with {code}: {log}");
    let lines: Vec<&str> = log.lines().collect();
    ensure!(lines.len() == 1, "it should be one line: {log}");
    ensure!(log.contains("`bpf` is not in the kernel's LSM list") && log.contains("boot with `lsm="), "{log}");
    ensure!(!node.is_ready(), "readiness is green");
    Ok(())
}
