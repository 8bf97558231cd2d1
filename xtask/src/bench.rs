//! `cargo xtask bench`: what enforcement costs. Writes the tables of docs/benchmarks.md.

mod chart;
mod compare;
mod sbom;

use std::{fmt::Write as _, fs, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, ensure};
use plimsoll_tests::vm::Kernel;

use crate::{build, guest::Guests, setup, step, workspace::Workspace};

/// What the guest runs.
const COMMAND: [&str; 2] = ["plimsoll-guest-tests", "bench"];
const DEADLINE: Duration = Duration::from_mins(20);
const DOCUMENT: &str = "docs/benchmarks.md";
/// What is in the document from this line on, up to the figures of another part, is written by the command.
const FIGURES: &str = "<!-- figures -->\n";
/// How such a line begins.
const MARK: &str = "<!-- figures";

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
    /// The same work under nothing, under Plimsoll and under Debian's fapolicyd; what each of them stops
    Compare,
    /// Reading SBOMs and compiling allowlists, beside syft
    Sbom,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<ExitCode> {
    match arguments.part {
        Part::Enforcement => enforcement(workspace),
        Part::Compare => compare::run(workspace),
        Part::Sbom => sbom::run(workspace),
    }
}

fn enforcement(workspace: &Workspace) -> Result<ExitCode> {
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
    write_behind(workspace, FIGURES, figures)
}

/// Puts `figures` between `mark` and the mark that comes next.
fn write_behind(workspace: &Workspace, mark: &str, figures: &str) -> Result<()> {
    let path = workspace.root().join(DOCUMENT);
    let document = fs::read_to_string(&path).with_context(|| format!("cannot read {DOCUMENT}"))?;
    let document = replaced(&document, mark, figures).with_context(|| format!("{DOCUMENT} has no {mark}"))?;
    fs::write(&path, document)?;
    println!("{figures}\nwritten to {DOCUMENT}");
    Ok(())
}

fn replaced(document: &str, mark: &str, figures: &str) -> Option<String> {
    let (words, old) = document.split_once(mark)?;
    let next = old.find(MARK).and_then(|at| old.get(at..)).unwrap_or_default();
    Some(format!("{words}{mark}{figures}{}{next}", if next.is_empty() { "" } else { "\n" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_other_parts_stay() {
        let document = "words\n<!-- figures -->\nold\n\n<!-- figures: sbom -->\n\nmore\n";
        let new = replaced(document, FIGURES, "\nnew\n").unwrap();
        assert_eq!(new, "words\n<!-- figures -->\n\nnew\n\n<!-- figures: sbom -->\n\nmore\n");
        assert_eq!(
            replaced(&new, sbom::FIGURES, "x\n").unwrap(),
            "words\n<!-- figures -->\n\nnew\n\n<!-- figures: sbom -->\nx\n"
        );
        assert_eq!(replaced(document, "<!-- figures: none -->\n", ""), None);
    }
}
