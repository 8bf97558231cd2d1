//! `plimsoll events`: what a collector has stored, page by page, as a table or as JSON lines.

mod table;
pub(crate) mod time;

#[cfg(test)]
mod tests;

use std::{
    io::{self, Write},
    process::ExitCode,
    time::SystemTime,
};

pub(crate) use self::table::printable;
use crate::collector::{Client, Parameters, Place};

/// Print events stored by a collector.
///
/// Filters narrow each other. Times are RFC 3339 (`2026-01-31T08:00:00Z`), seconds since 1970, or an age such as
/// `90s`, `15m`, `2h`, `7d`. Exit status: 0 the query was answered, 2 the command line is wrong, 3 the collector
/// could not be reached, or did not take the query.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    filters: Box<Filters>,
    /// Print at most so many events.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// One JSON object per line.
    #[arg(long)]
    json: bool,
}

/// What narrows the query.
#[derive(clap::Args)]
struct Filters {
    /// Only of this node.
    #[arg(long)]
    node: Option<String>,
    /// Only of this workload, by id.
    #[arg(long)]
    workload: Option<String>,
    /// Only of this image, by digest or reference.
    #[arg(long)]
    image: Option<String>,
    /// Only of files of this package, by name or package URL.
    #[arg(long)]
    package: Option<String>,
    /// Only with this verdict: allow, audit, deny.
    #[arg(long)]
    verdict: Option<String>,
    /// Only with this reason, such as not-listed or written.
    #[arg(long)]
    reason: Option<String>,
    /// Only from this hook: exec, map, protect.
    #[arg(long)]
    hook: Option<String>,
    /// Only where the path contains this.
    #[arg(long)]
    path: Option<String>,
    /// Only from this time on.
    #[arg(long, value_name = "TIME", value_parser = time::parse_now)]
    since: Option<SystemTime>,
    /// Only before this time.
    #[arg(long, value_name = "TIME", value_parser = time::parse_now)]
    until: Option<SystemTime>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match print(arguments, &mut io::stdout().lock()) {
        // The reader of a pipe has seen enough.
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        outcome => outcome.map(|()| ExitCode::SUCCESS),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn print(arguments: &Arguments, out: &mut impl Write) -> anyhow::Result<()> {
    let mut table = table::Table::default();
    Client::new(&arguments.place).events(&query(&arguments.filters), arguments.limit, |events| {
        if arguments.json {
            for event in events {
                writeln!(out, "{event}")?;
            }
        } else {
            table.print(events, out)?;
        }
        Ok(())
    })?;
    if !arguments.json && table.is_empty() {
        writeln!(out, "no events match")?;
    }
    out.flush()?;
    Ok(())
}

/// The parameters.
fn query(filters: &Filters) -> Parameters {
    let parameters = [
        ("node", filters.node.clone()),
        ("workload", filters.workload.clone()),
        ("image", filters.image.clone()),
        ("package", filters.package.clone()),
        ("verdict", filters.verdict.clone()),
        ("reason", filters.reason.clone()),
        ("hook", filters.hook.clone()),
        ("path", filters.path.clone()),
        ("since", filters.since.map(time::parameter)),
        ("until", filters.until.map(time::parameter)),
    ];
    parameters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
