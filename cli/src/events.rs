//! `plimsoll events`: what a collector has stored, page by page, as a table or as JSON lines.

mod table;
mod time;

#[cfg(test)]
mod tests;

use std::{
    io::{self, Write},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;

/// How long one page may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of one page; more is not an answer of a collector.
const PAGE_BYTES: u64 = 64 << 20;
/// Events asked for at once.
const PAGE_EVENTS: u64 = 500;
/// Characters shown of an answer that is not understood.
const EXCERPT: usize = 300;

/// Print events stored by a collector.
///
/// Filters narrow each other. Times are RFC 3339 (`2026-01-31T08:00:00Z`), seconds since 1970, or an age such as
/// `90s`, `15m`, `2h`, `7d`. Exit status: 0 the query was answered, 2 the command line is wrong, 3 the collector
/// could not be reached, or did not take the query.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where the collector answers queries.
    #[arg(long, env = "PLIMSOLL_COLLECTOR", default_value = "http://127.0.0.1:7480", value_name = "URL")]
    collector: String,
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

#[derive(Deserialize)]
struct Page {
    events: Vec<Value>,
    /// Where the next page begins; absent or null on the last one.
    next: Option<Value>,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    help: Option<String>,
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
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build().into();
    let mut left = arguments.limit;
    let mut cursor = None;
    let mut table = table::Table::default();
    while left > 0 {
        let mut page = fetch(&agent, arguments, left.min(PAGE_EVENTS), cursor.as_deref())?;
        page.events.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= page.events.len() as u64;
        if arguments.json {
            for event in &page.events {
                writeln!(out, "{event}")?;
            }
        } else {
            table.print(&page.events, out)?;
        }
        let next = page.next.map(|next| next.as_str().map_or_else(|| next.to_string(), str::to_owned));
        match next {
            // A collector that points to the same place for ever must not be followed for ever.
            Some(_) if next == cursor => anyhow::bail!("the collector's pages lead in a circle"),
            Some(_) => cursor = next,
            None => break,
        }
    }
    if !arguments.json && table.is_empty() {
        writeln!(out, "no events match")?;
    }
    out.flush()?;
    Ok(())
}

fn fetch(agent: &ureq::Agent, arguments: &Arguments, limit: u64, cursor: Option<&str>) -> anyhow::Result<Page> {
    let collector = arguments.collector.trim_end_matches('/');
    let mut response = agent
        .get(format!("{collector}/events"))
        .query_pairs(query(&arguments.filters, limit, cursor))
        .call()
        .with_context(|| {
            format!(
                "cannot reach the collector at `{collector}`; is it running, and is --collector its `http` address?"
            )
        })?;
    let status = response.status();
    let body = response.body_mut().with_config().limit(PAGE_BYTES).read_to_vec();
    let body = body.with_context(|| format!("the answer of the collector at `{collector}` broke off"))?;
    if !status.is_success() {
        anyhow::bail!("the collector at `{collector}` refused the query ({status}): {}", explanation(&body));
    }
    serde_json::from_slice(&body)
        .with_context(|| format!("`{collector}` did not answer like a collector: {}", explanation(&body)))
}

/// The parameters.
fn query(filters: &Filters, limit: u64, cursor: Option<&str>) -> Vec<(&'static str, String)> {
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
        ("limit", Some(limit.to_string())),
        ("cursor", cursor.map(str::to_owned)),
    ];
    parameters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// What an answer that is not a page says, fit for a terminal.
pub(crate) fn explanation(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Refusal>(body) {
        Ok(Refusal { error, help: Some(help) }) => format!("{error}; {help}"),
        Ok(Refusal { error, help: None }) => error,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    table::printable(&text.chars().take(EXCERPT).collect::<String>())
}
