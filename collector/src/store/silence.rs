//! Which nodes have not been heard of for too long. Measured by a clock that nobody can set, from the start of the collector
//! on: a collector that was away says of no node that it was silent.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use rusqlite::Connection;

use super::findings;

/// Nodes that are watched; with more, those that came last are not.
const MAX_NODES: usize = 100_000;

/// Every node, and since when nothing was heard of it.
#[derive(Debug)]
pub(super) struct Silence {
    after: Duration,
    heard: HashMap<String, Instant>,
    silent: HashSet<String>,
}

impl Silence {
    pub(super) fn load(connection: &Connection, after: Duration) -> rusqlite::Result<Self> {
        let silent: HashSet<String> = findings::silent(connection)?.into_iter().collect();
        let mut find = connection.prepare("SELECT DISTINCT node FROM numberings")?;
        let nodes = find.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
        let now = Instant::now();
        let heard = nodes.into_iter().filter(|node| !silent.contains(node)).take(MAX_NODES).map(|node| (node, now));
        Ok(Self { after, heard: heard.collect(), silent })
    }

    /// Notes that a node speaks. Tells whether it was silent.
    pub(super) fn hear(&mut self, node: &str) -> bool {
        if let Some(heard) = self.heard.get_mut(node) {
            *heard = Instant::now();
        } else if self.heard.len() + self.silent.len() < MAX_NODES {
            self.heard.insert(node.to_owned(), Instant::now());
        }
        self.silent.contains(node)
    }

    /// The end of a node's silence is on disk.
    pub(super) fn ended(&mut self, node: &str) {
        self.silent.remove(node);
    }

    /// Nodes that have become silent.
    pub(super) fn due(&self) -> Vec<String> {
        let due = self.heard.iter().filter(|(_, heard)| heard.elapsed() >= self.after);
        due.map(|(node, _)| node.clone()).collect()
    }

    /// The silence of these nodes is on disk. They are watched again once they speak.
    pub(super) fn began(&mut self, nodes: Vec<String>) {
        for node in nodes {
            self.heard.remove(&node);
            self.silent.insert(node);
        }
    }
}
