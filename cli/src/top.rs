//! `plimsoll top`: what the fleet does at this moment, on a terminal.
//!
//! ```text
//! collector, agent ── poll (a thread) ──> Fleet ── summary(+ now, filter, order) ──> Summary ── draw(+ View) ──> screen
//! ```
//! `Fleet` is what was answered, `View` what the keys have chosen. Drawing asks nobody, and answers know of no screen.

mod draw;
mod figures;
mod fleet;
mod header;
mod live;
mod panels;
mod poll;
mod style;
mod summary;
mod view;

#[cfg(test)]
mod tests;

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use self::{fleet::Fleet, poll::Poll, style::Style, summary::Summary, view::View};
use crate::{collector::Place, events::time, nodes::SILENT, output::print};

/// Columns of `--once` where the output is no terminal.
const COLUMNS: u16 = 120;

/// Watch the fleet: workloads, verdicts, deviations, losses, and which nodes are heard of.
///
/// Everything comes from the collector's stored events, and with --agent from one agent's metrics. `?` shows the keys, `q`
/// ends. Allowed executions are counted only if agents report them (`reportExecutions`). Nothing is told by colour alone;
/// NO_COLOR turns colours off.
///
///   plimsoll top --window 1h --namespace shop
///   plimsoll top --agent http://127.0.0.1:9464      # beside it, what one node's kernel counts
///   plimsoll top --once || echo 'look at the fleet'
///
/// Exit status of --once: 0 no deviation, and every node heard of with nothing lost; 1 there are deviations, a node is
/// silent, events are missing or were lost, or there are more than were read; 3 the collector, or the agent, could not be
/// asked. Without --once: 0, or 2 if the output is no terminal.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Show this agent's metrics too; the address is its `admin`.
    #[arg(long, value_name = "URL")]
    agent: Option<String>,
    /// Count events of the last 15m, 2h, 7d.
    #[arg(long, default_value = "15m", value_name = "TIME", value_parser = time::parse_age)]
    window: Duration,
    /// Only namespaces that contain this; the key `n` changes it.
    #[arg(long, value_name = "TEXT", default_value = "")]
    namespace: String,
    /// Ask again after so long.
    #[arg(long, default_value = "2s", value_name = "TIME", value_parser = time::parse_age)]
    every: Duration,
    /// A node that was not heard of for so long is silent.
    #[arg(long, default_value = SILENT, value_name = "TIME", value_parser = time::parse_age)]
    silent_after: Duration,
    /// Events read at most; with more in the window, counts are lower bounds and say so.
    #[arg(long, default_value_t = 20_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=200_000))]
    events: u64,
    /// Print it once as text and end.
    #[arg(long)]
    once: bool,
    /// Print it once as one JSON object and end.
    #[arg(long, requires = "once")]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let view = View::new(arguments.namespace.clone());
    let fleet = Fleet::new(arguments.window, arguments.silent_after, arguments.events);
    let poll = Poll::new(&arguments.place, arguments.agent.as_deref(), arguments.window, arguments.events);
    if arguments.once {
        return once(poll, fleet, &view, arguments.json);
    }
    if !io::stdout().is_terminal() {
        eprintln!("plimsoll: `plimsoll top` draws on a terminal, and the output is none; `--once` prints text");
        return Ok(ExitCode::from(2));
    }
    live::run(poll, fleet, view, arguments.every)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints what the screen would show, every row of it.
fn once(mut poll: Poll, mut fleet: Fleet, view: &View, json: bool) -> anyhow::Result<ExitCode> {
    let now = SystemTime::now();
    let answers = poll.ask(now);
    fleet.take(answers, now);
    let summary = Summary::of(&fleet, view, now);
    let text = if json {
        serde_json::to_string_pretty(&summary)? + "\n"
    } else {
        let columns = io::stdout().is_terminal().then(ratatui::crossterm::terminal::size).and_then(Result::ok);
        draw::text(&summary, view, columns.map_or(COLUMNS, |(columns, _)| columns), Style::plain())
    };
    print(&text)?;
    for problem in summary.problems {
        eprintln!("plimsoll: {problem}");
    }
    Ok(ExitCode::from(summary.code()))
}
