//! The same work in the same container under nothing, under Plimsoll, and under fapolicyd.
//!
//! Meant for a guest whose clock counts instructions, on one processor: the time that goes by is what all processes took together,
//! the daemons that are asked included. Each work is warmed up by a part of itself, or all of it, in the process that then counts.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{
    RESULT,
    peer::{Peer, Strictness},
};
use crate::{
    container::{ACTOR, Container, ContainerSpec, image_digest},
    daemon::{Agent, Collector, Node},
    stage::{self, SBOM},
};

/// A work: its name, and the actor's arguments.
const WORKS: [(&str, &[&str]); 9] = [
    ("exec of one program", &["measure-fork-exec", "/usr/bin/true", "150"]),
    ("execl, as UnixBench's", &["measure-chain", "150"]),
    ("spawn, as UnixBench's", &["measure-spawn", "500"]),
    ("loading of a library", &["measure-load", "/usr/lib/x86_64-linux-gnu/libbz2.so.1.0", "500"]),
    ("mmap(PROT_EXEC), munmap", &["measure-map-exec", "/usr/bin/true", "2000"]),
    ("open, close", &["measure-open-close", "/usr/bin/true", "2000"]),
    ("shell script, as UnixBench's", &["measure-run", "10", "/usr/bin/dash", "/opt/compare/script.sh"]),
    (
        "compilation by tcc",
        &["measure-run", "10", "/usr/bin/tcc", "-c", "-o", "/tmp/object.o", "/opt/compare/source.c"],
    ),
    ("exec of 1,000 programs", &["measure-fork-exec-each", "/opt/compare/bin"]),
];
const SITUATIONS: [&str; 4] = ["nothing", "Plimsoll, Monitor", "Plimsoll, Enforce", "fapolicyd"];
const DIRECTORY: &str = "/run/plimsoll-compared";
const LAYER: &str = "/payload/peer/layer";
/// What no package of the image owns, and the policy therefore names.
const ADDITIONS: &str = "  allow:\n    - {path: /opt/compare/**, reason: no package owns it}\n    \
                         - {path: /usr/bin/tcc, reason: no package of the image owns it}\n";

/// The time of each work in each situation.
type Figures = [[u64; SITUATIONS.len()]; WORKS.len()];

/// Prints a result for each work, and one for each daemon.
pub(super) fn run() -> Result<()> {
    let mut figures: Figures = [[0; SITUATIONS.len()]; WORKS.len()];
    let free = Container::create(with_layer(ContainerSpec::of_test_image("free")?))?;
    measure(&free, 0, &mut figures)?;
    under_plimsoll(&mut figures)?;
    let peer = Peer::start(Strictness::Recommended, &free)?;
    measure(&free, 3, &mut figures)?;
    memory("fapolicyd", peer.pid())?;
    for ((name, _), figures) in WORKS.iter().zip(figures) {
        println!("{RESULT}{}", json!({"kind": "cost", "work": name, "instructions": figures}));
    }
    Ok(())
}

fn under_plimsoll(figures: &mut Figures) -> Result<()> {
    let directory = Path::new(DIRECTORY);
    let node = Node::new(directory, 0, &image_digest()?, Path::new(SBOM), "")?;
    for (suite, mode) in [("compared-monitor", "Monitor"), ("compared", "Enforce")] {
        node.write_policy(&format!("{suite}.yaml"), &stage::policy_with(suite, mode, ADDITIONS))?;
    }
    let collector = Collector::start(directory)?;
    let mut agent: Agent = node.start_agent()?;
    for (situation, suite) in [(1, "compared-monitor"), (2, "compared")] {
        let container = Container::create(with_layer(stage::spec_for(&node, suite, suite)?))?;
        measure(&container, situation, figures)?;
    }
    memory("plimsoll-agent", agent.daemon.pid())?;
    agent.daemon.kill()?;
    drop(collector);
    node.detach()
}

fn with_layer(spec: ContainerSpec) -> ContainerSpec {
    let layers = [LAYER.into()].into_iter().chain(spec.layers).collect();
    ContainerSpec { layers, usual: true, ..spec }
}

fn measure(container: &Container, situation: usize, figures: &mut Figures) -> Result<()> {
    for (figures, (name, arguments)) in figures.iter_mut().zip(&WORKS) {
        let command: Vec<&str> = [ACTOR].into_iter().chain(arguments.iter().copied()).collect();
        let output = container.exec(&command)?;
        ensure!(output.status == 0, "{name}, {}: {output:?}", SITUATIONS[situation]);
        let time = output.stdout.split_whitespace().nth(1).and_then(|time| time.parse::<u64>().ok());
        let time = time.with_context(|| format!("{name}: not two numbers: {output:?}"))?;
        println!("{:<20} {name:<30} {time}", SITUATIONS[situation]);
        figures[situation] = time;
    }
    Ok(())
}

/// Prints what a daemon holds in memory, in KiB: all of it, and without files that it has mapped.
fn memory(name: &str, pid: u32) -> Result<()> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let value = line.and_then(|line| line.split_whitespace().next()).and_then(|value| value.parse::<u64>().ok());
        value.with_context(|| format!("no {field} in {status}"))
    };
    let (resident, anonymous) = (field("VmRSS:")?, field("RssAnon:")?);
    println!("{RESULT}{}", json!({"kind": "memory", "daemon": name, "resident": resident, "anonymous": anonymous}));
    Ok(())
}
