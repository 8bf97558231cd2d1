//! What evidence is drawn from: the policies given, and the events and nodes of the window, counted.

use std::collections::BTreeMap;

use plimsoll_policy::{Mode, Policy};
use serde_json::Value;

use crate::events::{Reading, Source, printable};

/// Different words of one field that are counted apart; agents send a few dozen.
const MAX_WORDS: usize = 200;

pub(super) struct Facts {
    pub(super) policies: Vec<Policy>,
    pub(super) reading: Reading,
    /// Events by verdict, reason and hook.
    pub(super) verdicts: BTreeMap<[String; 3], u64>,
    /// Namespaces that events name, with how many of each verdict.
    pub(super) namespaces: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Facts {
    pub(super) fn read(policies: Vec<Policy>, source: &Source) -> anyhow::Result<Self> {
        let mut verdicts: BTreeMap<[String; 3], u64> = BTreeMap::new();
        let mut namespaces: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        let reading = source.read(Vec::new(), |event| {
            let text = |pointer| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let word = |pointer| printable(text(pointer));
            count(&mut verdicts, [word("/verdict"), word("/reason"), word("/hook")], || {
                ["other", "other", "other"].map(str::to_owned)
            });
            let full = namespaces.len() >= MAX_WORDS;
            let namespace = word("/workload/namespace");
            let namespace = if full && !namespaces.contains_key(&namespace) { "other".to_owned() } else { namespace };
            count(namespaces.entry(namespace).or_default(), word("/verdict"), || "other".to_owned());
        })?;
        Ok(Self { policies, reading, verdicts, namespaces })
    }

    /// Events with this verdict.
    pub(super) fn with_verdict(&self, verdict: &str) -> u64 {
        let of = self.verdicts.iter().filter(|([word, ..], _)| word == verdict);
        of.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Denials and audits for one of these reasons.
    pub(super) fn for_reasons(&self, reasons: &[&str]) -> u64 {
        let of =
            self.verdicts.iter().filter(|([verdict, reason, _], _)| verdict != "allow" && reasons.contains(&&**reason));
        of.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Names of policies in `Enforce`, and of the others, that satisfy something.
    pub(super) fn policies_that(&self, satisfy: impl Fn(&Policy) -> bool) -> [Vec<&str>; 2] {
        let names = |mode| {
            let of = self.policies.iter().filter(|policy| policy.mode == mode && satisfy(policy));
            of.map(|policy| &*policy.name).collect()
        };
        [names(Mode::Enforce), names(Mode::Monitor)]
    }
}

/// Counts one; as `other` what would be one word too many.
fn count<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K, other: impl FnOnce() -> K) {
    let key = if counts.len() >= MAX_WORDS && !counts.contains_key(&key) { other() } else { key };
    let count = counts.entry(key).or_default();
    *count = count.saturating_add(1);
}
