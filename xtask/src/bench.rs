//! `cargo xtask bench`: what enforcement costs. Writes the tables of docs/benchmarks.md.

mod sbom;

use std::{fmt::Write as _, fs, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, ensure};
use plimsoll_tests::vm::Kernel;

use crate::{build, guest::Guests, setup, step, workspace::Workspace};

/// What the guest runs.
const COMMAND: [&str; 2] = ["plimsoll-guest-tests", "bench"];
const DEADLINE: Duration = Duration::from_mins(20);
const DOCUMENT: &str = "docs/benchmarks.md";
/// What is in the document from this line on, up to the figures of SBOMs, is written by the command.
const FIGURES: &str = "<!-- figures -->\n";

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What to measure
    #[arg(value_enum, default_value_t = Part::Enforcement)]
    part: Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// What a container pays for enforcement
    Enforcement,
    /// Reading SBOMs and compiling allowlists, beside syft
    Sbom,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<ExitCode> {
    if arguments.part == Part::Sbom {
        return sbom::run(workspace);
    }
    setup::run(workspace)?;
    build::run(workspace)?;
    let mut figures = String::from("\n## One decision, on this machine\n\n");
    figures.push_str(&step::output(&mut build::decision(workspace, &["bench"])?)?);
    let guests = Guests::complete(workspace)?;
    for kernel in Kernel::ALL {
        step::heading(&format!("instructions on Linux {kernel}"));
        let outcome = guests.guest(kernel).icount(true).deadline(DEADLINE).run(&COMMAND)?;
        ensure!(outcome.status == 0, "the benchmark failed on Linux {kernel}");
        write!(figures, "\n## Guest instructions, Linux {kernel}\n\n{}", table(&outcome.output))?;
    }
    write(workspace, &figures)?;
    Ok(ExitCode::SUCCESS)
}

fn table(output: &str) -> String {
    // A line of one mark parts two tables.
    let lines = output.lines().filter(|line| line.starts_with('|')).map(|line| if line == "|" { "" } else { line });
    lines.fold(String::new(), |table, line| table + line + "\n")
}

fn write(workspace: &Workspace, figures: &str) -> Result<()> {
    let path = workspace.root().join(DOCUMENT);
    let document = fs::read_to_string(&path).with_context(|| format!("cannot read {DOCUMENT}"))?;
    let (words, old) = document.split_once(FIGURES).with_context(|| format!("{DOCUMENT} has no {FIGURES}"))?;
    let sbom = old.find(sbom::FIGURES).and_then(|at| old.get(at..)).unwrap_or_default();
    fs::write(&path, format!("{words}{FIGURES}{figures}\n{sbom}"))?;
    println!("{figures}\nwritten to {DOCUMENT}");
    Ok(())
}
