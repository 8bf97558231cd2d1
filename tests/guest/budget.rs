//! How many instructions the verifier walks through for each program, compared with the figures that are recorded beside this
//! file, one for each kernel. A kernel refuses a program for which it takes a million.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::{
    container::{Container, image_digest},
    daemon::Node,
    stage::{SBOM, policy_with, spec_for},
    technique::Kernels,
    trial,
};

const RECORDED_6_1: &str = include_str!("budget/6.1.txt");
const RECORDED_6_12: &str = include_str!("budget/6.12.txt");
/// What compilers and minor versions of a kernel may change without anybody's notice, in percent.
const TOLERANCE: u64 = 10;
/// A policy that needs every program.
const EVERYTHING: &str = "  network: {resolvers: [192.0.2.1], egress: [{dns: a.example}]}\n  hardening:\n    capabilities: []\n  scripts: Image\n  files:\n    \
    - path: /none\n      deny: [Read]\n";

pub(crate) fn tests() -> Vec<Trial> {
    vec![trial("budget::no_program_grows_unnoticed", no_program_grows_unnoticed)]
}

fn no_program_grows_unnoticed() -> Result<()> {
    let recent = Kernels::From6_12.are_running();
    let node = Node::new(Path::new("/run/plimsoll-budget"), 6, &image_digest()?, Path::new(SBOM), "")?;
    node.write_policy("policy.yaml", &policy_with("budget", "Monitor", EVERYTHING))?;
    let mut agent = node.start_agent()?;
    let container = Container::create(spec_for(&node, "budget", "budget")?)?;
    let found = verified(&agent.daemon.log())?;
    drop(container);
    agent.daemon.kill()?;
    node.detach()?;
    let recorded = recorded(if recent { RECORDED_6_12 } else { RECORDED_6_1 })?;
    let grown = found.iter().filter(|(program, count)| {
        let budget = recorded.get(*program).copied().unwrap_or(0);
        **count > budget + budget * TOLERANCE / 100
    });
    let grown: Vec<_> = grown.collect();
    let gone: Vec<_> = recorded.keys().filter(|program| !found.contains_key(*program)).collect();
    ensure!(
        grown.is_empty() && gone.is_empty(),
        "over their budget or without one: {grown:?}; recorded, but not attached: {gone:?}. If that is as it should be, say why \
         where it is committed; all of them:\n{}",
        table(&found)?
    );
    Ok(())
}

/// Program and instructions, as the agent's log says them.
fn verified(log: &str) -> Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    for line in log.lines() {
        let Ok(entry) = serde_json::from_str::<Value>(line) else { continue };
        let fields = &entry["fields"];
        if let (Some(program), Some(count)) = (fields["hook"].as_str(), fields["verified_instructions"].as_u64()) {
            ensure!(count > 0, "the kernel does not say what it took to verify `{program}`");
            found.insert(program.to_owned(), count);
        }
    }
    ensure!(found.len() > 50, "only {} programs were attached", found.len());
    Ok(found)
}

fn recorded(text: &str) -> Result<BTreeMap<String, u64>> {
    let line = |line: &str| {
        let (program, count) = line.split_once(' ').context("no figure")?;
        Ok((program.to_owned(), count.trim().parse()?))
    };
    text.lines().map(line).collect()
}

fn table(found: &BTreeMap<String, u64>) -> Result<String> {
    let mut table = String::new();
    for (program, count) in found {
        writeln!(table, "{program} {count}")?;
    }
    Ok(table)
}
