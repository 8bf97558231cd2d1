//! What events say of one image's files: executed, loaded, or tried and refused.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_sbom::display_path;
use serde::Serialize;
use serde_json::Value;

use crate::collector::Parameters;

/// Different paths that are remembered; a container chooses those that are no files of its image, and they are not kept.
const MAX_PATHS: usize = 1_000_000;

/// How often, and when last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Seen {
    pub(super) count: u64,
    pub(super) last_unix_ns: u64,
}

/// What happened to one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Facts {
    pub(super) executed: Seen,
    pub(super) loaded: Seen,
    /// Tried, and denied.
    pub(super) refused: Seen,
}

/// Events of one image.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) image: String,
    /// By path, in the notation of inventories.
    pub(super) files: BTreeMap<String, Facts>,
    /// Executions that were allowed, as agents with `reportExecutions` tell them.
    pub(super) allowed_executions: u64,
    /// Nodes that the image ran on, and whether they reported an allowed execution of it.
    pub(super) nodes: BTreeMap<String, bool>,
    /// Events about files of the image whose path is not known, or beyond [`MAX_PATHS`].
    pub(super) nameless: u64,
}

impl Seen {
    fn add(&mut self, time: u64) {
        self.count = self.count.saturating_add(1);
        self.last_unix_ns = self.last_unix_ns.max(time);
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self { count: self.count.saturating_add(other.count), last_unix_ns: self.last_unix_ns.max(other.last_unix_ns) }
    }
}

impl Facts {
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            executed: self.executed.plus(other.executed),
            loaded: self.loaded.plus(other.loaded),
            refused: self.refused.plus(other.refused),
        }
    }
}

impl Observed {
    /// Of the image with this digest or reference.
    pub(super) fn of(image: &str) -> Self {
        Self {
            image: image.to_owned(),
            files: BTreeMap::new(),
            allowed_executions: 0,
            nodes: BTreeMap::new(),
            nameless: 0,
        }
    }

    /// What a collector narrows its answer by.
    pub(super) fn filter(&self) -> Parameters {
        vec![("image", self.image.clone())]
    }

    /// Counts an event, if it is of the image.
    pub(super) fn take(&mut self, event: &Value) {
        let text = |pointer| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        if ![text("/image/digest"), text("/image/reference")].contains(&self.image.as_str()) {
            return;
        }
        let (hook, verdict) = (text("/hook"), text("/verdict"));
        let reports = hook == "exec" && verdict == "allow";
        self.allowed_executions = self.allowed_executions.saturating_add(u64::from(reports));
        *self.nodes.entry(text("/node").to_owned()).or_default() |= reports;
        // What was written since, or lies elsewhere, is no file of the image, whatever its path.
        if text("/file/origin") != "image-file" || !matches!(hook, "exec" | "map" | "protect") {
            return;
        }
        let is_name_only = event.pointer("/file/path_is_name_only").and_then(Value::as_bool).unwrap_or(false);
        let path =
            path(text("/file/path"), text("/file/path_raw")).filter(|path| !is_name_only && path.starts_with('/'));
        let is_full = self.files.len() >= MAX_PATHS;
        let Some(path) = path.filter(|path| !is_full || self.files.contains_key(path)) else {
            self.nameless = self.nameless.saturating_add(1);
            return;
        };
        let time = event.get("time_unix_ns").and_then(Value::as_u64).unwrap_or(0);
        let facts = self.files.entry(path).or_default();
        match (verdict, hook) {
            ("allow" | "audit", "exec") => facts.executed.add(time),
            ("allow" | "audit", _) => facts.loaded.add(time),
            _ => facts.refused.add(time),
        }
    }

    /// Nodes that reported no allowed execution of the image, though it ran there.
    pub(super) fn quiet_nodes(&self) -> BTreeSet<&str> {
        self.nodes.iter().filter(|(_, reports)| !**reports).map(|(node, _)| &**node).collect()
    }
}

/// The path as inventories write it. `raw` is in hexadecimal, and there if the path is not UTF-8.
fn path(text: &str, raw: &str) -> Option<String> {
    if raw.is_empty() {
        return Some(display_path(text.as_bytes()));
    }
    let pairs = raw.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    pairs.collect::<Option<Vec<u8>>>().map(|bytes| display_path(&bytes))
}
