//! The events of a time, from a collector or from a file, with every reason to doubt that they are all there are.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{printable, time};
use crate::{
    collector::{Client, Parameters, Place},
    nodes::{self, Node},
};

/// Bytes of the longest line; an event has at most a few kilobytes.
const MAX_LINE: u64 = 16 << 20;
/// Bytes of a file of nodes.
const MAX_NODES: u64 = 64 << 20;
/// Nanoseconds without a word, after which a node may have events that did not arrive.
const SILENT_NS: u64 = 30_000_000_000;

/// Where events are taken from, and of which time.
#[derive(clap::Args)]
pub(crate) struct Source {
    #[command(flatten)]
    place: Place,
    /// Take events from this file instead, one JSON object a line as `plimsoll events --json` prints them; `-` is standard
    /// input.
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// With --events: which nodes there are and what was lost, as `plimsoll nodes --json` prints it.
    #[arg(long, value_name = "FILE", requires = "events")]
    nodes: Option<PathBuf>,
    /// Events from this time on.
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = time::parse_now)]
    since: SystemTime,
    /// Events before this time; everything is told as of then [default: now]
    #[arg(long, value_name = "TIME", default_value = "0s", hide_default_value = true, value_parser = time::parse_now)]
    until: SystemTime,
}

/// What was read, beside the events.
#[derive(Debug, Serialize)]
pub(crate) struct Reading {
    pub(crate) since_unix_ns: u64,
    pub(crate) until_unix_ns: u64,
    /// Events of the time.
    pub(crate) events: u64,
    /// Lines that are no events.
    pub(crate) unreadable: u64,
    /// None if nobody told of nodes.
    pub(crate) nodes: Option<Vec<Node>>,
    /// Why there may have been more than these events; none if there is no reason to think so.
    pub(crate) doubts: Vec<String>,
}

#[derive(Deserialize)]
struct Nodes {
    nodes: Vec<Node>,
}

impl Source {
    /// Hands every event of the time to `take`. `filter` narrows what a collector sends; a file is read as it is.
    pub(crate) fn read(&self, filter: Parameters, mut take: impl FnMut(&Value)) -> anyhow::Result<Reading> {
        let mut reading = Reading {
            since_unix_ns: time::unix_ns(self.since),
            until_unix_ns: time::unix_ns(self.until),
            events: 0,
            unreadable: 0,
            nodes: None,
            doubts: Vec::new(),
        };
        let has_earlier = match &self.events {
            Some(path) => self.read_file(path, &mut reading, &mut take)?,
            None => self.ask_collector(filter, &mut reading, &mut take)?,
        };
        if !has_earlier {
            let begin = time::display(reading.since_unix_ns);
            reading.doubts.push(format!("no event is older than {begin}: what happened early in this time may never have been stored, or be forgotten"));
        }
        reading.doubt_nodes();
        Ok(reading)
    }

    /// Says whether there is an event from before.
    fn read_file(&self, path: &Path, reading: &mut Reading, take: &mut impl FnMut(&Value)) -> anyhow::Result<bool> {
        let unreadable = |path: &Path| format!("cannot read `{}`", path.display());
        if let Some(path) = &self.nodes {
            let mut text = String::new();
            let file = File::open(path).with_context(|| unreadable(path))?;
            file.take(MAX_NODES).read_to_string(&mut text).with_context(|| unreadable(path))?;
            let nodes: Nodes = serde_json::from_str(&text)
                .with_context(|| format!("`{}` is not what `plimsoll nodes --json` prints", path.display()))?;
            reading.nodes = Some(nodes.nodes);
        }
        let input: Box<dyn Read> = match path.to_str() {
            Some("-") => Box::new(io::stdin().lock()),
            _ => Box::new(File::open(path).with_context(|| unreadable(path))?),
        };
        lines(BufReader::new(input), reading, take).with_context(|| unreadable(path))
    }

    /// Says whether there is an event from before.
    fn ask_collector(
        &self,
        mut filter: Parameters,
        reading: &mut Reading,
        take: &mut impl FnMut(&Value),
    ) -> anyhow::Result<bool> {
        let client = Client::new(&self.place);
        filter.push(("since", time::parameter(self.since)));
        filter.push(("until", time::parameter(self.until)));
        client.events(&filter, u64::MAX, |events| {
            reading.events = reading.events.saturating_add(events.len() as u64);
            events.iter().for_each(&mut *take);
            Ok(())
        })?;
        // Asked for last, so that what was missed until now is known.
        reading.nodes = Some(nodes::fetch(&client)?);
        let mut has_earlier = false;
        client.events(&vec![("until", time::parameter(self.since))], 1, |events| {
            has_earlier |= !events.is_empty();
            Ok(())
        })?;
        Ok(has_earlier)
    }
}

/// Reads a file's events; says whether there is one from before the time.
fn lines(mut input: impl BufRead, reading: &mut Reading, take: &mut impl FnMut(&Value)) -> io::Result<bool> {
    let mut has_earlier = false;
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
        if length == 0 {
            break;
        }
        if length as u64 == MAX_LINE {
            return Err(io::Error::other(format!("a line is longer than the limit of {MAX_LINE} bytes")));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let event: Option<Value> = serde_json::from_slice(&line).ok();
        let time = event.as_ref().and_then(|event| event.get("time_unix_ns")).and_then(Value::as_u64);
        match (event, time) {
            (Some(_), Some(time)) if time < reading.since_unix_ns => has_earlier = true,
            (Some(_), Some(time)) if time >= reading.until_unix_ns => {}
            (Some(event), Some(_)) => {
                reading.events = reading.events.saturating_add(1);
                take(&event);
            }
            _ => reading.unreadable = reading.unreadable.saturating_add(1),
        }
    }
    if reading.unreadable > 0 {
        reading.doubts.push(format!("{} lines are no events", reading.unreadable));
    }
    Ok(has_earlier)
}

impl Reading {
    /// Whether a node was not heard of when the time ended, so that events may wait there.
    pub(crate) fn is_silent(&self, node: &Node) -> bool {
        node.last_seen_unix_ns.saturating_add(SILENT_NS) < self.until_unix_ns
    }

    fn doubt_nodes(&mut self) {
        let Some(nodes) = &self.nodes else {
            self.doubts.push("nobody said what was lost: give `--nodes FILE`, or ask a collector".to_owned());
            return;
        };
        for node in nodes {
            let name = printable(&node.name);
            if node.missing > 0 {
                self.doubts.push(format!("node {name}: {} events were sent and never came", node.missing));
            }
            for loss in node.losses.iter().filter(|loss| loss.count > 0) {
                let (cause, since) = (printable(&loss.cause), time::display(loss.since_unix_ns));
                self.doubts.push(format!("node {name}: lost {} events ({cause}) since {since}", loss.count));
            }
            if self.is_silent(node) {
                let seen = time::display(node.last_seen_unix_ns);
                self.doubts.push(format!("node {name}: not heard of since {seen}; events may wait there"));
            }
        }
    }
}
