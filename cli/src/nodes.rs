//! `plimsoll nodes`: which nodes send events, when they were heard of last, and what of theirs never arrived.

use std::{
    fmt::Write as _,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    collector::{Client, Place},
    events::{printable, time},
    output::print,
};

/// Agents say that they are there every three seconds; so long without a word is no chance.
pub(crate) const SILENT: &str = "30s";

/// List the nodes that a collector knows: when each was heard of last, and what of its events never arrived.
///
/// Agents say every three seconds that they are there. A node is SILENT when its agent does not run, cannot reach the
/// collector, or its certificate is refused; what it enforces is enforced all the same, and its events wait on its disk.
/// MISSING are numbers that were skipped and have not come since, LOST what the node itself could not keep, by cause.
/// Exit status: 0 every node is heard of and nothing is missing or lost, 1 a node is silent, or misses or lost events,
/// 3 the collector could not be reached.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// A node that was not heard of for so long is silent.
    #[arg(long, default_value = SILENT, value_name = "TIME", value_parser = time::parse_age)]
    silent_after: Duration,
    /// Print the collector's answer, with every gap, as one JSON object.
    #[arg(long)]
    json: bool,
}

/// What the collector knows of a node.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Node {
    #[serde(rename = "node")]
    pub(crate) name: String,
    pub(crate) agent_version: String,
    pub(crate) last_seen_unix_ns: u64,
    pub(crate) boot_id: String,
    pub(crate) spool_id: String,
    /// Of the numbering that the two above name.
    pub(crate) last_sequence: u64,
    /// Numbers that were skipped and have not come since.
    pub(crate) missing: u64,
    pub(crate) losses: Vec<Loss>,
}

/// What a node could not keep.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Loss {
    pub(crate) cause: String,
    pub(crate) count: u64,
    /// When the node began to count.
    pub(crate) since_unix_ns: u64,
}

#[derive(Deserialize)]
struct Answer<T> {
    nodes: Vec<T>,
}

impl Node {
    /// Everything lost, whatever the cause.
    pub(crate) fn lost(&self) -> u64 {
        self.losses.iter().fold(0, |sum, loss| sum.saturating_add(loss.count))
    }

    /// How long nothing was heard of it. Clocks differ: a node of the future was heard of just now.
    pub(crate) fn age(&self, now: SystemTime) -> Duration {
        Duration::from_nanos(time::unix_ns(now).saturating_sub(self.last_seen_unix_ns))
    }
}

/// Asks for all nodes, the one heard of last first.
pub(crate) fn fetch(client: &Client) -> anyhow::Result<Vec<Node>> {
    Ok(client.get::<Answer<Node>>("/nodes", Vec::new())?.nodes)
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let client = Client::new(&arguments.place);
    let answer: Answer<Value> = client.get("/nodes", Vec::new())?;
    let nodes: Vec<Node> = answer.nodes.iter().map(Node::deserialize).collect::<Result<_, _>>()?;
    let now = SystemTime::now();
    if arguments.json {
        print(&(serde_json::to_string_pretty(&json!({ "nodes": answer.nodes }))? + "\n"))?;
    } else {
        print(&text(&nodes, now, arguments.silent_after)?)?;
    }
    let is_whole = |node: &Node| node.age(now) < arguments.silent_after && node.missing == 0 && node.lost() == 0;
    Ok(if nodes.iter().all(is_whole) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text(nodes: &[Node], now: SystemTime, silent_after: Duration) -> Result<String, std::fmt::Error> {
    if nodes.is_empty() {
        return Ok("no node has sent anything yet; an agent's `collector.endpoint` says where it sends events\n".into());
    }
    let mut text = String::new();
    let width = nodes.iter().map(|node| printable(&node.name).chars().count()).max().unwrap_or_default().max(4);
    writeln!(
        text,
        "{:width$}  {:8}  {:19}  {:9}  {:>10}  {:>8}  {:>8}",
        "NODE", "STATE", "LAST SEEN (UTC)", "AGENT", "LAST NO.", "MISSING", "LOST"
    )?;
    for node in nodes {
        let state = if node.age(now) < silent_after { "+ heard" } else { "- SILENT" };
        let seen: String = time::display(node.last_seen_unix_ns).chars().take(19).collect();
        let (name, version) = (printable(&node.name), printable(&node.agent_version));
        writeln!(
            text,
            "{name:width$}  {state:8}  {seen:19}  {version:9}  {:>10}  {:>8}  {:>8}",
            node.last_sequence,
            node.missing,
            node.lost()
        )?;
        for loss in node.losses.iter().filter(|loss| loss.count > 0) {
            let since: String = time::display(loss.since_unix_ns).chars().take(19).collect();
            writeln!(text, "{:width$}  lost {}: {} since {since}", "", printable(&loss.cause), loss.count)?;
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use expect_test::expect;

    #[test]
    fn a_silent_node_and_what_was_lost_are_told_in_words() {
        let node = |name: &str, seen: u64, missing: u64, lost: u64| {
            let losses = json!([
                {"cause": "queue-full", "count": lost, "since_unix_ns": 1_767_225_600_000_000_000_u64},
                {"cause": "oversized", "count": 0, "since_unix_ns": 1},
            ]);
            serde_json::from_value::<Node>(json!({
                "node": name, "agent_version": "0.1.0", "last_seen_unix_ns": seen * 1_000_000_000, "boot_id": "b",
                "spool_id": "s", "last_sequence": 1234, "missing": missing, "gaps": [], "losses": losses,
            }))
            .unwrap()
        };
        let now = UNIX_EPOCH + Duration::from_secs(1_767_225_700);
        let nodes = [node("shop-1", 1_767_225_699, 0, 0), node("shop-2\u{1b}[2J", 1_767_225_600, 3, 7)];
        expect![[r"
            NODE             STATE     LAST SEEN (UTC)      AGENT        LAST NO.   MISSING      LOST
            shop-1           + heard   2026-01-01 00:01:39  0.1.0            1234         0         0
            shop-2\u{1b}[2J  - SILENT  2026-01-01 00:00:00  0.1.0            1234         3         7
                             lost queue-full: 7 since 2026-01-01 00:00:00
        "]]
        .assert_eq(&text(&nodes, now, Duration::from_secs(30)).unwrap());
    }
}
