//! `cargo xtask corpus`: real SBOMs, by real generators, over real root filesystems, against an oracle.
//!
//! The oracle knows nothing of Plimsoll: it finds files with `find`, computes digests with `sha256sum` and its like, and
//! looks for these digests in the documents' text. Every disagreement must have an explanation that is checked, or the
//! test fails. Everything is made below `target/corpus`.

mod generators;
mod judge;
mod oracle;
mod roots;
mod tools;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, ensure};

use crate::{build, setup, step, workspace::Workspace};
use judge::Verdict;
use oracle::Oracle;

/// Where everything is kept.
#[derive(Debug, Clone)]
pub(crate) struct Corpus {
    directory: PathBuf,
    syft: PathBuf,
}

impl Corpus {
    fn new(workspace: &Workspace) -> Result<Self> {
        let directory = workspace.target().join("corpus");
        fs::create_dir_all(directory.join("sboms"))
            .with_context(|| format!("cannot create {}", directory.display()))?;
        Ok(Self { directory, syft: workspace.tools().join("bin/syft") })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    setup::run_for_corpus(workspace)?;
    let plimsoll = build::command_line(workspace)?;
    let corpus = Corpus::new(workspace)?;
    tools::install(&corpus)?;
    step::heading("root filesystems");
    let roots = roots::make(&corpus)?;
    let mut verdicts = Vec::new();
    for root in &roots {
        step::heading(&format!("SBOMs of {}", root.name));
        let oracle = Oracle::consult(root)?;
        for document in generators::run(&corpus, root)? {
            verdicts.push(judge::document(&plimsoll, root, &oracle, &document)?);
        }
    }
    judge::same_words_in_other_clothes(&verdicts)?;
    report(&corpus, &roots, &verdicts)
}

/// A bare debian root filesystem and its SBOM by syft, for the benchmark.
pub(crate) fn debian(workspace: &Workspace) -> Result<PathBuf> {
    setup::run_for_corpus(workspace)?;
    let corpus = Corpus::new(workspace)?;
    roots::debian(&corpus)
}

fn report(corpus: &Corpus, roots: &[roots::Root], verdicts: &[Verdict]) -> Result<ExitCode> {
    let table = judge::table(verdicts);
    println!("\n{table}");
    fs::write(corpus.at("report.md"), &table)?;
    let generators: std::collections::BTreeSet<&str> = verdicts.iter().map(|verdict| verdict.generator).collect();
    let unexplained: usize = verdicts.iter().map(|verdict| verdict.faults.len()).sum();
    for verdict in verdicts {
        for fault in &verdict.faults {
            println!("FAULT  {} {}: {fault}", verdict.root, verdict.document);
        }
        for explanation in &verdict.explained {
            println!("explained  {} {}: {explanation}", verdict.root, verdict.document);
        }
    }
    println!(
        "\n{} documents by {} generators over {} root filesystems; {unexplained} faults",
        verdicts.len(),
        generators.len(),
        roots.len()
    );
    ensure!(generators.len() >= 6 && roots.len() >= 3, "the corpus has become too small");
    Ok(if unexplained == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Text of a file.
fn text(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
