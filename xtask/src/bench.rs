//! `cargo xtask bench`: what enforcement costs. Writes the tables of docs/benchmarks.md.

use std::{fmt::Write as _, fs, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, ensure};
use plimsoll_tests::vm::Kernel;

use crate::{build, guest::Guests, setup, step, workspace::Workspace};

/// What the guest runs.
const COMMAND: [&str; 2] = ["plimsoll-guest-tests", "bench"];
const DEADLINE: Duration = Duration::from_mins(20);
const DOCUMENT: &str = "docs/benchmarks.md";
/// Everything in the document from this line on is written by the command.
const FIGURES: &str = "<!-- figures -->\n";

pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
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
    output.lines().filter(|line| line.starts_with('|')).fold(String::new(), |table, line| table + line + "\n")
}

fn write(workspace: &Workspace, figures: &str) -> Result<()> {
    let path = workspace.root().join(DOCUMENT);
    let document = fs::read_to_string(&path).with_context(|| format!("cannot read {DOCUMENT}"))?;
    let (words, _old) = document.split_once(FIGURES).with_context(|| format!("{DOCUMENT} has no {FIGURES}"))?;
    fs::write(&path, format!("{words}{FIGURES}{figures}"))?;
    println!("{figures}\nwritten to {DOCUMENT}");
    Ok(())
}
