//! `plimsoll policy simulate`: what policies would have done with stored events, before they are rolled out.
//!
//! Events are read once. Those that no policy can tell apart are counted as one, so that the memory needed grows with how
//! different events are and not with their number; only then are policies asked.

mod line;
mod read;
mod report;
mod stored;
mod verdicts;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use self::{
    read::{Stored, read},
    report::Report,
};
use crate::{
    output::print,
    policy::check::{Loaded, load},
};

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The policies to try: documents, or directories of them. As on a node, the most specific one decides.
    #[arg(required = true, value_name = "FILE")]
    policies: Vec<PathBuf>,
    /// Stored events, one JSON object a line, as `plimsoll events --json` prints them; `-` is standard input.
    #[arg(long, value_name = "FILE", required_unless_present = "from_collector", conflicts_with = "from_collector")]
    events: Option<PathBuf>,
    #[command(flatten)]
    collector: stored::FromCollector,
    /// Rows to show; all are counted.
    #[arg(long, default_value_t = 20, value_name = "N")]
    top: usize,
    /// Print one JSON object, with every row.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  plimsoll policy simulate new/ --from-collector http://collector:7480 --since 7d
  plimsoll events --since 7d --limit 1000000 --json > events.jsonl
  plimsoll policy simulate new/ --events events.jsonl";

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let policies = match load(&arguments.policies)? {
        Loaded::Policies(policies) => policies,
        Loaded::Refused(code) => return Ok(code),
    };
    let (stored, is_cut) = match &arguments.events {
        Some(events) => (from_file(events)?, false),
        None => arguments.collector.read()?,
    };
    let report = Report::new(&stored, &verdicts::of(&policies, &stored)?);
    let text =
        if arguments.json { serde_json::to_string_pretty(&report)? + "\n" } else { report.text(arguments.top)? };
    print(&text)?;
    if is_cut {
        eprintln!(
            "plimsoll: the collector has older events of that time that were not read; raise --limit, or ask for less"
        );
    }
    Ok(ExitCode::from(if is_cut { 3 } else { report.code() }))
}

fn from_file(path: &Path) -> anyhow::Result<Stored> {
    let unreadable = || format!("cannot read `{}`", path.display());
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template("reading {bytes}/{total_bytes}, {bytes_per_sec}")?);
    let stored = if path.as_os_str() == "-" {
        read(bar.wrap_read(io::stdin().lock()))
    } else {
        let file = File::open(path).with_context(unreadable)?;
        bar.set_length(file.metadata().with_context(unreadable)?.len());
        read(bar.wrap_read(file))
    };
    bar.finish_and_clear();
    stored.with_context(unreadable)
}

#[cfg(test)]
mod tests;
