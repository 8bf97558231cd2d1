//! What enforcement costs: the same loops in a container without an agent, beside one, and under a policy, in turns.
//!
//! Meant for a guest whose clock counts instructions: a nanosecond there is one guest instruction.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    container::{ACTOR, Container, ContainerSpec},
    stage::set_up,
    technique::{NETWORK, files},
};

/// A loop of the actor's.
struct Loop {
    name: &'static str,
    /// The actor's arguments.
    command: [&'static str; 3],
}

const fn looped(name: &'static str, command: [&'static str; 3]) -> Loop {
    Loop { name, command }
}

const OPEN: &str = "measure-open-close";
const LOOPS: [Loop; 6] = [
    looped("fork + exec + exit, dynamic program", ["measure-fork-exec", "/usr/bin/true", "150"]),
    looped("fork + exec + exit, static program", ["measure-fork-exec", "/usr/bin/busybox", "150"]),
    looped("open + close", [OPEN, "/usr/bin/true", "3000"]),
    looped("mmap(PROT_EXEC) + munmap", ["measure-map-exec", "/usr/bin/true", "3000"]),
    looped("TCP connection, made and reset", ["measure-connect", "10.1.0.1:7000", "500"]),
    looped("connect of a UDP socket", ["measure-connect-udp", "10.1.0.1:7000", "3000"]),
];
const ROUNDS: usize = 3;
const SITUATIONS: [&str; 6] = [
    "no agent",
    "agent, no workload",
    "enforced workload",
    "with network rules",
    "with file rules",
    "beside one with file rules",
];

/// The least instructions of each loop in each situation: what disturbs a round only ever adds to it.
type Figures = [[u64; SITUATIONS.len()]; LOOPS.len()];

/// Prints tables in Markdown.
pub(crate) fn run() -> Result<()> {
    let mut figures: Figures = [[u64::MAX; SITUATIONS.len()]; LOOPS.len()];
    let free = Container::create(usual(ContainerSpec::of_test_image("free")?))?;
    free.bring_up()?;
    // Once for nothing: the page cache fills, and whatever the boot left to do gets done.
    measure_all(&free, 0, &mut figures)?;
    figures = [[u64::MAX; SITUATIONS.len()]; LOOPS.len()];
    for round in 0..ROUNDS {
        measure_all(&free, 0, &mut figures)?;
        let stage = set_up(false)?;
        measure_all(&free, 1, &mut figures)?;
        let enforced = Container::create(usual(stage.spec("enforced", "enforced")?))?;
        enforced.bring_up()?;
        measure_all(&enforced, 2, &mut figures)?;
        // From here on the hooks of network rules are attached.
        let restricted = Container::create(usual(stage.spec(NETWORK.name, NETWORK.name)?))?;
        restricted.bring_up()?;
        measure_all(&restricted, 3, &mut figures)?;
        // From here on the hooks of file rules are attached too.
        let mut spec = stage.spec(files::FILES.name, files::FILES.name)?;
        (files::FILES.configure)(&mut spec);
        let ruled = Container::create(usual(spec))?;
        ruled.bring_up()?;
        measure_all(&ruled, 4, &mut figures)?;
        measure_all(&enforced, 5, &mut figures)?;
        if round + 1 == ROUNDS {
            print(&figures);
            print_programs(&restricted, &ruled)?;
        }
        drop((enforced, restricted, ruled));
        stage.remove()?;
    }
    Ok(())
}

/// As an engine starts it, or hooks are attached that only unusual containers cause.
fn usual(spec: ContainerSpec) -> ContainerSpec {
    ContainerSpec { usual: true, capabilities: Vec::new(), ..spec }
}

fn measure_all(container: &Container, situation: usize, figures: &mut Figures) -> Result<()> {
    for (figures, looped) in figures.iter_mut().zip(&LOOPS) {
        let mean = run_loop(container, looped)?;
        figures[situation] = figures[situation].min(mean);
    }
    Ok(())
}

fn run_loop(container: &Container, looped: &Loop) -> Result<u64> {
    let command: Vec<&str> = [ACTOR].into_iter().chain(looped.command).collect();
    let output = container.exec(&command)?;
    ensure!(output.status == 0, "{output:?}");
    let processor_time = output.stdout.split_whitespace().next().and_then(|time| time.parse().ok());
    processor_time.with_context(|| format!("not a number: {output:?}"))
}

fn print(figures: &Figures) {
    let [base, others @ ..] = SITUATIONS;
    println!("| operation | {base} | {} | ratio |", others.join(" | ratio | "));
    println!("|---|---:|{}", "---:|---:|".repeat(others.len()));
    for (looped, [without, others @ ..]) in LOOPS.iter().zip(figures) {
        let cells: Vec<_> = others.iter().map(|figure| format!("{figure} | {}", ratio(*figure, *without))).collect();
        println!("| {} | {without} | {} |", looped.name, cells.join(" | "));
    }
    println!("|");
}

/// Where the instructions go: how often each program ran in a loop, and how long each time, under network rules or, for what
/// opens files, under file rules.
fn print_programs(restricted: &Container, ruled: &Container) -> Result<()> {
    const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";
    println!("| operation | program | runs for each | instructions of a run |");
    println!("|---|---|---:|---:|");
    std::fs::write(SWITCH, "1")?;
    for looped in &LOOPS {
        let before = statistics()?;
        run_loop(if looped.command[0] == OPEN { ruled } else { restricted }, looped)?;
        let times: f64 = looped.command[2].parse()?;
        for ((name, runs, time), (_, runs_before, time_before)) in statistics()?.into_iter().zip(before) {
            let (runs, time) = (runs - runs_before, time - time_before);
            // The actor's loop is warmed up by a tenth of its rounds. What ran less often than that was not the loop's.
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            let per_round = runs as f64 / (times * 1.1);
            if per_round >= 0.5 {
                println!("| {} | {name} | {per_round:.1} | {} |", looped.name, time / runs.max(1));
            }
        }
    }
    std::fs::write(SWITCH, "0")?;
    Ok(())
}

/// Name, runs and time of each loaded program, in the order of their ids.
fn statistics() -> Result<Vec<(String, u64, u64)>> {
    let output = Command::new("bpftool").args(["--json", "prog", "show"]).output().context("cannot run bpftool")?;
    let programs: Vec<Value> = serde_json::from_slice(&output.stdout).context("bpftool's answer is no JSON")?;
    let number = |program: &Value, field: &str| program[field].as_u64().unwrap_or(0);
    let row = |program: &Value| {
        let name = program["name"].as_str().unwrap_or_default().to_owned();
        (name, number(program, "run_cnt"), number(program, "run_time_ns"))
    };
    Ok(programs.iter().map(row).collect())
}

/// Hundredths of a percent, with a sign.
fn ratio(value: u64, base: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let change = (value as f64 / base as f64 - 1.0) * 100.0;
    format!("{change:+.2} %")
}
