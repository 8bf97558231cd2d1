//! What is shown of the fleet: counted, filtered and in order. As JSON it is what `--once --json` prints.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde::Serialize;

use super::{
    figures::Figures,
    fleet::Fleet,
    view::{Order, Sort, View},
};
use crate::{
    events::{Stored, time},
    nodes::Node,
};

/// Rates are those of so long.
const RATE: Duration = Duration::from_mins(1);

#[derive(Serialize)]
pub(super) struct Summary<'f> {
    pub(super) now_unix_ns: u64,
    pub(super) window_seconds: u64,
    /// When the collector answered last; none if it never did.
    pub(super) answered_unix_ns: Option<u64>,
    pub(super) problems: &'f [String],
    /// There are more events in the window than were read: every count is a lower bound.
    pub(super) is_partial: bool,
    pub(super) verdicts: Verdicts,
    /// Events by the evidence of their file; those about no file are left out.
    pub(super) evidence: BTreeMap<&'f str, u64>,
    pub(super) workloads: Vec<Workload<'f>>,
    pub(super) deviations: Vec<Deviation<'f>>,
    pub(super) nodes: Vec<NodeRow<'f>>,
    pub(super) silent: usize,
    pub(super) missing: u64,
    /// By cause, over all nodes, since each began to count.
    pub(super) losses: BTreeMap<&'f str, u64>,
    pub(super) agent: Option<&'f Figures>,
}

/// How many of each, in the window.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Verdicts {
    pub(super) deny: Count,
    pub(super) audit: Count,
    pub(super) allow: Count,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Count {
    pub(super) events: u64,
    /// Of the last minute.
    pub(super) last_minute: u64,
}

#[derive(Serialize)]
pub(super) struct Workload<'f> {
    pub(super) namespace: &'f str,
    #[serde(rename = "workload")]
    pub(super) id: &'f str,
    pub(super) image: &'f str,
    pub(super) verdicts: Verdicts,
    pub(super) last_unix_ns: u64,
}

/// Denials and audits of one thing, for one reason.
#[derive(Serialize)]
pub(super) struct Deviation<'f> {
    pub(super) verdict: &'f str,
    pub(super) hook: &'f str,
    /// The file, the far end, or the operation.
    pub(super) subject: &'f str,
    pub(super) reason: &'f str,
    pub(super) namespace: &'f str,
    pub(super) package: &'f str,
    pub(super) count: u64,
    pub(super) last_unix_ns: u64,
}

#[derive(Serialize)]
pub(super) struct NodeRow<'f> {
    #[serde(flatten)]
    pub(super) node: &'f Node,
    pub(super) seconds_since: u64,
    pub(super) is_silent: bool,
    pub(super) lost: u64,
}

impl<'f> Summary<'f> {
    pub(super) fn of(fleet: &'f Fleet, view: &View, now: SystemTime) -> Self {
        let recent = time::unix_ns(now.checked_sub(RATE).unwrap_or(SystemTime::UNIX_EPOCH));
        let mut verdicts = Verdicts::default();
        let mut evidence: BTreeMap<&str, u64> = BTreeMap::new();
        let mut workloads: BTreeMap<[&str; 2], Workload<'_>> = BTreeMap::new();
        let mut deviations: BTreeMap<[&str; 5], Deviation<'_>> = BTreeMap::new();
        for event in fleet.events().filter(|event| event.namespace.contains(&view.namespace)) {
            verdicts.add(event, recent);
            if !event.evidence.is_empty() {
                *evidence.entry(&event.evidence).or_default() += 1;
            }
            workloads
                .entry([&event.namespace, &event.workload])
                .or_insert_with(|| Workload::of(event))
                .add(event, recent);
            if event.verdict != "allow" {
                let key = [&*event.verdict, &event.hook, &event.subject, &event.reason, &event.namespace];
                deviations.entry(key).or_insert_with(|| Deviation::of(event)).add(event);
            }
        }
        let nodes: Vec<_> = fleet.nodes.iter().map(|node| NodeRow::of(node, fleet.silent_after, now)).collect();
        let mut losses: BTreeMap<&str, u64> = BTreeMap::new();
        for loss in fleet.nodes.iter().flat_map(|node| &node.losses).filter(|loss| loss.count > 0) {
            let sum = losses.entry(&loss.cause).or_default();
            *sum = sum.saturating_add(loss.count);
        }
        Self {
            now_unix_ns: time::unix_ns(now),
            window_seconds: fleet.window.as_secs(),
            answered_unix_ns: fleet.answered.map(time::unix_ns),
            problems: &fleet.problems,
            is_partial: fleet.is_partial,
            verdicts,
            evidence,
            workloads: sorted(workloads.into_values().collect(), view),
            deviations: ordered(deviations.into_values().collect(), view.order),
            silent: nodes.iter().filter(|node| node.is_silent).count(),
            nodes,
            missing: fleet.nodes.iter().fold(0, |sum, node| sum.saturating_add(node.missing)),
            losses,
            agent: fleet.figures.as_ref(),
        }
    }

    /// The exit status of `--once`: what could not be asked outweighs what is to be looked at.
    pub(super) fn code(&self) -> u8 {
        let deviates = self.verdicts.deny.events > 0 || self.verdicts.audit.events > 0;
        let is_whole = self.silent == 0 && self.missing == 0 && self.losses.is_empty() && !self.is_partial;
        match (self.problems.is_empty(), deviates || !is_whole) {
            (false, _) => 3,
            (true, true) => 1,
            (true, false) => 0,
        }
    }
}

fn sorted<'f>(mut rows: Vec<Workload<'f>>, view: &View) -> Vec<Workload<'f>> {
    // They come in the order of their names, and a stable sort keeps that among equals.
    match view.sort {
        Sort::Denied => rows.sort_by_key(|row| Reverse((row.verdicts.deny.events, row.verdicts.audit.events))),
        Sort::Audited => rows.sort_by_key(|row| Reverse(row.verdicts.audit.events)),
        Sort::Allowed => rows.sort_by_key(|row| Reverse(row.verdicts.allow.events)),
        Sort::Rate => rows.sort_by_key(|row| Reverse(row.verdicts.last_minute())),
        Sort::Last => rows.sort_by_key(|row| Reverse(row.last_unix_ns)),
        Sort::Name => {}
    }
    if view.is_reversed {
        rows.reverse();
    }
    rows
}

fn ordered(mut rows: Vec<Deviation<'_>>, order: Order) -> Vec<Deviation<'_>> {
    match order {
        Order::Latest => rows.sort_by_key(|row| Reverse(row.last_unix_ns)),
        Order::Count => rows.sort_by_key(|row| Reverse(row.count)),
    }
    rows
}

impl Verdicts {
    fn add(&mut self, event: &Stored, recent: u64) {
        let count = match event.verdict.as_str() {
            "allow" => &mut self.allow,
            "audit" => &mut self.audit,
            // A word that is not known is no reassuring one.
            _ => &mut self.deny,
        };
        count.events += 1;
        count.last_minute += u64::from(event.time_unix_ns >= recent);
    }

    /// All of them, in the last minute.
    pub(super) fn last_minute(&self) -> u64 {
        self.deny.last_minute + self.audit.last_minute + self.allow.last_minute
    }
}

impl<'f> Workload<'f> {
    fn of(event: &'f Stored) -> Self {
        let image = if event.reference.is_empty() { &event.digest } else { &event.reference };
        Self { namespace: &event.namespace, id: &event.workload, image, verdicts: Verdicts::default(), last_unix_ns: 0 }
    }

    fn add(&mut self, event: &Stored, recent: u64) {
        self.verdicts.add(event, recent);
        self.last_unix_ns = self.last_unix_ns.max(event.time_unix_ns);
    }
}

impl<'f> Deviation<'f> {
    fn of(event: &'f Stored) -> Self {
        Self {
            verdict: &event.verdict,
            hook: &event.hook,
            subject: &event.subject,
            reason: &event.reason,
            namespace: &event.namespace,
            package: &event.package,
            count: 0,
            last_unix_ns: 0,
        }
    }

    fn add(&mut self, event: &Stored) {
        self.count += 1;
        self.last_unix_ns = self.last_unix_ns.max(event.time_unix_ns);
    }
}

impl<'f> NodeRow<'f> {
    fn of(node: &'f Node, silent_after: Duration, now: SystemTime) -> Self {
        let age = node.age(now);
        Self { node, seconds_since: age.as_secs(), is_silent: age >= silent_after, lost: node.lost() }
    }
}
