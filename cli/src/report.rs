//! `plimsoll report`: evidence for those who ask which controls Plimsoll supports, and how that is known.
//!
//! ```text
//! policies, collector or file ──> Facts ──┐
//! mappings (policies/compliance) ─────────┴─> results ─> parts ─> directory with an index and a manifest
//! ```

mod evidence;
mod facts;
mod index;
mod mapping;
mod pack;

#[cfg(test)]
mod tests;

use std::{path::PathBuf, process::ExitCode};

use self::{facts::Facts, pack::Pack};
use crate::{
    events::Source,
    output::print,
    policy::{Loaded, load},
};

/// Write an evidence pack: which controls Plimsoll supports, with what evidence, and what it does not cover.
///
/// The pack is a directory: an index (Markdown and JSON), the mappings used, the policies given, what was decided in the
/// window by verdict and reason, the nodes with their losses, and the SHA-256 of every part, as `sha256sum -c` reads it.
/// The same input gives the same bytes. Plimsoll supports controls and never makes anybody compliant: every control says
/// what it does not cover, and what an auditor has to look for elsewhere.
///
///   plimsoll report --policy policies/ --since 30d --output evidence/
///   plimsoll report --policy policies/ --events events.jsonl --nodes nodes.json --since 2026-01-01T00:00:00Z \
///       --until 2026-02-01T00:00:00Z --output evidence/
///
/// Exit status: 0 all evidence that the mappings ask for is there, 1 some is not, or a policy or mapping is wrong,
/// 3 something could not be read, reached or written.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// The policies in force: documents, or directories of them.
    #[arg(long, required = true, value_name = "FILE")]
    policy: Vec<PathBuf>,
    /// Where the pack is written; it must not be there, or be empty.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    #[command(flatten)]
    source: Source,
    /// Only these mappings: nist-sp-800-190, pci-dss-4.0, cis-kubernetes; may be given several times [default: all]
    #[arg(long, value_name = "ID")]
    mapping: Vec<String>,
    /// A mapping of your own, in the form of those in policies/compliance; may be given several times.
    #[arg(long, value_name = "FILE")]
    mapping_file: Vec<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mappings = mapping::load(&arguments.mapping, &arguments.mapping_file)?;
    let policies = match load(&arguments.policy)? {
        Loaded::Policies(policies) => policies,
        Loaded::Refused(code) => return Ok(code),
    };
    let facts = Facts::read(policies, &arguments.source)?;
    let results: Vec<_> = mappings.iter().map(|mapping| evidence::results(mapping, &facts)).collect();
    let pack = Pack::new(&facts, &mappings, &results)?;
    let manifest = pack.write(&arguments.output)?;
    let controls = results.iter().flat_map(|result| &result.controls);
    let (all, whole) = controls.fold((0_usize, 0_usize), |(all, whole), control| {
        (all + 1, whole + usize::from(control.state == evidence::State::Shown))
    });
    print(&format!(
        "{whole} of {all} controls have all their evidence; see {}\nMANIFEST.sha256 is {manifest}\n",
        arguments.output.join("index.md").display(),
    ))?;
    Ok(if whole == all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
