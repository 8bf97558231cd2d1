//! `cargo xtask bench compare`: what Plimsoll and Debian's fapolicyd cost, and what they stop, side by side.

use std::{fmt::Write as _, fs, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, ensure};
use plimsoll_tests::vm::{Guest, Kernel};
use serde::Deserialize;

use super::{chart, write_behind};
use crate::{build, guest::Guests, setup, step, workspace::Workspace};

/// What is in the document from this line on is written by the command.
const FIGURES: &str = "<!-- figures: compare -->\n";
/// Begins a line of a guest's output that is one figure or finding.
const RESULT: &str = "compare-result ";
const KERNEL: Kernel = Kernel::V6_12;
const DEADLINE: Duration = Duration::from_mins(20);
const CHARTS: &str = "docs/charts";
/// fapolicyd's overhead is to be at least this many times ours.
const AIM: f64 = 50.0;

/// One line of a guest's output.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum Shown {
    Cost(Cost),
    Memory(Memory),
    Prevention(Prevention),
}

/// Instructions of a work under nothing, Plimsoll in `Monitor` and in `Enforce`, fapolicyd.
#[derive(Debug, Deserialize)]
struct Cost {
    work: String,
    instructions: [u64; 4],
}

/// KiB that a daemon holds.
#[derive(Debug, Deserialize)]
struct Memory {
    daemon: String,
    resident: u64,
    anonymous: u64,
}

/// What came of a technique under nothing, Plimsoll, fapolicyd at its strictest and as recommended.
#[derive(Debug, Deserialize)]
struct Prevention {
    area: String,
    name: String,
    what: String,
    results: [String; 4],
}

pub(super) fn run(workspace: &Workspace) -> Result<ExitCode> {
    setup::run(workspace)?;
    build::run(workspace)?;
    let guests = Guests::with_peer(workspace)?;
    let shown = in_guest("prevention", &guests.guest(KERNEL))?;
    let prevention =
        shown.into_iter().filter_map(|shown| if let Shown::Prevention(row) = shown { Some(row) } else { None });
    let prevention: Vec<Prevention> = prevention.collect();
    let (mut costs, mut memory) = (Vec::new(), Vec::new());
    for shown in in_guest("costs", &guests.guest(KERNEL).icount(true))? {
        match shown {
            Shown::Cost(cost) => costs.push(cost),
            Shown::Memory(daemon) => memory.push(daemon),
            Shown::Prevention(_) => {}
        }
    }
    ensure!(!costs.is_empty() && !memory.is_empty() && !prevention.is_empty(), "the guests showed nothing");
    let figures = format!("{}{}", cost_tables(&costs, &memory)?, prevention_table(&prevention)?);
    draw(workspace, &costs, &prevention)?;
    write_behind(workspace, FIGURES, &figures)?;
    Ok(ExitCode::SUCCESS)
}

fn in_guest(what: &str, guest: &Guest) -> Result<Vec<Shown>> {
    step::heading(&format!("{what} on Linux {KERNEL}"));
    let guest = guest.clone().deadline(DEADLINE).hidden(RESULT);
    let outcome = guest.run(&["plimsoll-guest-tests", "compare", what])?;
    ensure!(outcome.status == 0, "the comparison of {what} failed on Linux {KERNEL}");
    let lines = outcome.output.lines().filter_map(|line| line.strip_prefix(RESULT));
    lines.map(|line| serde_json::from_str(line).with_context(|| format!("not a result: {line}"))).collect()
}

fn cost_tables(costs: &[Cost], memory: &[Memory]) -> Result<String> {
    let mut text = format!(
        "\n## Beside fapolicyd: costs, Linux {KERNEL}\n\nGuest instructions of one operation, those of all processes together:\n\n\
         | work | nothing | Plimsoll, Monitor | | Plimsoll, Enforce | | fapolicyd | | fapolicyd's overhead by Plimsoll's |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|\n"
    );
    for Cost { work, instructions: [nothing, monitor, enforce, peer] } in costs {
        let [m, e, p] = [monitor, enforce, peer].map(|with| chart::overhead(*nothing, *with));
        let times = times(e, p);
        writeln!(
            text,
            "| {work} | {nothing} | {monitor} | {m:+.2} % | {enforce} | {e:+.2} % | {peer} | {p:+.2} % | {times} |"
        )?;
    }
    let reached = costs.iter().filter(|cost| ratio(cost).is_some_and(|ratio| ratio >= AIM) || free(cost)).count();
    writeln!(
        text,
        "\nAt most a fiftieth of fapolicyd's overhead, or none that stands out: {reached} of {} works.",
        costs.len()
    )?;
    text.push_str("\n![overheads](charts/compare-overhead.svg)\n\n| daemon | resident, KiB | of that anonymous, KiB |\n|---|---:|---:|\n");
    for Memory { daemon, resident, anonymous } in memory {
        writeln!(text, "| {daemon} | {resident} | {anonymous} |")?;
    }
    Ok(text)
}

/// What a work's overheads, in percent, are to each other.
fn times(ours: f64, theirs: f64) -> String {
    if ours <= NOISE { "no overhead of Plimsoll stands out".to_owned() } else { format!("{:.0} times", theirs / ours) }
}

/// Percent that two runs of the same differ by.
const NOISE: f64 = 0.3;

fn overheads(cost: &Cost) -> (f64, f64) {
    let [nothing, _, enforce, peer] = cost.instructions;
    (chart::overhead(nothing, enforce), chart::overhead(nothing, peer))
}

fn free(cost: &Cost) -> bool {
    let (ours, theirs) = overheads(cost);
    ours <= NOISE && theirs > NOISE * AIM
}

fn ratio(cost: &Cost) -> Option<f64> {
    let (ours, theirs) = overheads(cost);
    (ours > NOISE).then(|| theirs / ours)
}

fn prevention_table(rows: &[Prevention]) -> Result<String> {
    let stopped = |system: usize| {
        rows.iter().filter(|row| row.results.get(system).is_some_and(|result| result == "denied")).count()
    };
    let alone =
        rows.iter().filter(|row| row.results[2] == "denied" && row.results[1] != "denied").map(|row| row.name.as_str());
    let alone: Vec<&str> = alone.collect();
    let mut text = format!(
        "\n## Beside fapolicyd: what is stopped, Linux {KERNEL}\n\n- {} techniques, all of which work where nothing is in force\n\
         - Plimsoll stops {}, fapolicyd at its strictest {}, as recommended {}\n- stopped by fapolicyd at its strictest and not by Plimsoll: {}\n\n\
         ![techniques stopped](charts/compare-prevention.svg)\n\n\
         | technique | what is done | nothing | Plimsoll | fapolicyd, strictest | fapolicyd, recommended |\n|---|---|---|---|---|---|\n",
        rows.len(),
        stopped(1),
        stopped(2),
        stopped(3),
        if alone.is_empty() { "none".to_owned() } else { alone.join(", ") },
    );
    for Prevention { area: _, name, what, results } in rows {
        writeln!(text, "| `{name}` | {what} | {} |", results.join(" | "))?;
    }
    Ok(text)
}

fn draw(workspace: &Workspace, costs: &[Cost], rows: &[Prevention]) -> Result<()> {
    let directory = workspace.root().join(CHARTS);
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {CHARTS}"))?;
    let groups: Vec<(String, [f64; 2])> = costs
        .iter()
        .map(|cost| {
            let (ours, theirs) = overheads(cost);
            (cost.work.clone(), [ours, theirs])
        })
        .collect();
    let overhead = chart::Chart {
        title: "Instructions added to the same work, percent, logarithmic",
        names: ["Plimsoll, Enforce", "fapolicyd"],
        logarithmic: true,
    };
    fs::write(directory.join("compare-overhead.svg"), overhead.draw(&groups)?)?;
    let mut areas: Vec<(String, [f64; 2])> = Vec::new();
    for row in rows {
        if areas.last().is_none_or(|(area, _)| *area != row.area) {
            areas.push((row.area.clone(), [0.0; 2]));
        }
        let Some((_, counts)) = areas.last_mut() else { continue };
        for (count, system) in counts.iter_mut().zip([1, 2]) {
            *count += f64::from(u8::from(row.results.get(system).is_some_and(|result| result == "denied")));
        }
    }
    let stopped =
        chart::Chart { title: "Techniques stopped", names: ["Plimsoll", "fapolicyd, strictest"], logarithmic: false };
    Ok(fs::write(directory.join("compare-prevention.svg"), stopped.draw(&areas)?)?)
}
