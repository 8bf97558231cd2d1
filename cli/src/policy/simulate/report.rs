//! What a person reads of it: how much changes, and what would be denied, by workload, package and rule.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
};

use plimsoll_abi::Verdict;
use plimsoll_policy::Answer;
use serde::Serialize;

use super::{
    read::{Kind, Stored},
    verdicts::Outcome,
};
use crate::output::printable;

#[derive(Default, Serialize)]
pub(super) struct Report {
    events: u64,
    allowed: u64,
    /// A policy in `Monitor` would report them.
    audited: u64,
    denied: u64,
    /// Of `denied`, those that went ahead when they were stored.
    newly_denied: u64,
    /// Those that were denied when they were stored, and would not be.
    no_longer_denied: u64,
    /// Of `allowed`, those of workloads that no policy is for.
    without_policy: u64,
    /// What the events do not say would decide.
    undecided: u64,
    undecided_because: BTreeMap<String, u64>,
    unreadable: u64,
    first_unreadable: Option<String>,
    /// What would be denied or reported, the most frequent first.
    deviations: Vec<Row>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Row {
    count: u64,
    /// As many went ahead when they were stored.
    new: u64,
    verdict: &'static str,
    workload: String,
    namespace: String,
    policy: String,
    package: String,
    hook: String,
    reason: &'static str,
    rule: String,
    /// One of them.
    example: String,
}

impl Report {
    pub(super) fn new(stored: &Stored, outcomes: &[(&Kind, Outcome)]) -> Self {
        let mut report = Self {
            events: stored.beyond,
            undecided: stored.beyond,
            unreadable: stored.unreadable,
            first_unreadable: stored.first_unreadable.clone(),
            ..Self::default()
        };
        if stored.beyond > 0 {
            report.undecided_because.insert("there are too many different events".to_owned(), stored.beyond);
        }
        let mut rows: HashMap<(usize, [&str; 6]), Row> = HashMap::new();
        for (kind, outcome) in outcomes {
            report.count(kind, outcome);
            if let Outcome::Answered { policy, answer } = outcome
                && answer.verdict != Verdict::Allow
            {
                let (verdict, reason) = (answer.verdict.name(), answer.reason.name());
                let key = [policy, &kind.package, &kind.hook, &answer.rule, verdict, reason];
                for (workload, count) in &kind.counts {
                    rows.entry((*workload, key))
                        .or_insert_with(|| Row::of(stored, kind, *workload, policy, answer))
                        .add(kind, *count);
                }
            }
        }
        report.deviations = rows.into_values().collect();
        report.deviations.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.cmp(b)));
        report
    }

    fn count(&mut self, kind: &Kind, outcome: &Outcome) {
        let count = kind.count();
        let add = |number: &mut u64| *number = number.saturating_add(count);
        let was_denied = kind.verdict == "deny";
        add(&mut self.events);
        match outcome.verdict() {
            Some(Verdict::Deny) => {
                add(&mut self.denied);
                if !was_denied {
                    add(&mut self.newly_denied);
                }
            }
            Some(verdict) => {
                add(if verdict == Verdict::Allow { &mut self.allowed } else { &mut self.audited });
                if was_denied {
                    add(&mut self.no_longer_denied);
                }
            }
            None => add(&mut self.undecided),
        }
        match outcome {
            Outcome::NoPolicy => add(&mut self.without_policy),
            Outcome::Undecided { policy, why } => {
                add(self.undecided_because.entry(format!("{policy}: {}: {why}", kind.hook)).or_default());
            }
            Outcome::Answered { .. } => {}
        }
    }

    pub(super) fn text(&self, top: usize) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        writeln!(text, "{:>9} events", self.events)?;
        writeln!(text, "{:>9} would be denied, {} of them went ahead so far", self.denied, self.newly_denied)?;
        writeln!(text, "{:>9} would be reported, and go ahead", self.audited)?;
        writeln!(text, "{:>9} would go ahead, {} of them without a policy", self.allowed, self.without_policy)?;
        if self.no_longer_denied > 0 {
            writeln!(text, "{:>9} were denied, and would no longer be", self.no_longer_denied)?;
        }
        if self.undecided > 0 {
            writeln!(text, "{:>9} cannot be told:", self.undecided)?;
            for (why, count) in &self.undecided_because {
                writeln!(text, "{count:>9}   {}", printable(why))?;
            }
        }
        if self.unreadable > 0 {
            writeln!(text, "{:>9} lines are no events", self.unreadable)?;
            writeln!(text, "          {}", printable(self.first_unreadable.as_deref().unwrap_or_default()))?;
        }
        for row in self.deviations.iter().take(top) {
            let or_none = |text: &str| if text.is_empty() { "-".to_owned() } else { printable(text) };
            writeln!(
                text,
                "\n{:>9} {} {} ({}), {} new\n          workload {} in {}, package {}\n          policy {}: {}\n          as {}",
                row.count,
                row.verdict,
                printable(&row.hook),
                row.reason,
                row.new,
                or_none(&row.workload),
                or_none(&row.namespace),
                or_none(&row.package),
                printable(&row.policy),
                printable(&row.rule),
                or_none(&row.example),
            )?;
        }
        let more = self.deviations.len().saturating_sub(top);
        if more > 0 {
            writeln!(text, "\n... and {more} more rows; --top shows them")?;
        }
        Ok(text)
    }

    /// The exit status: what could not be read or told outweighs what would be denied.
    pub(super) fn code(&self) -> u8 {
        match (self.unreadable > 0, self.denied.saturating_add(self.audited) > 0) {
            (true, _) => 3,
            (false, true) => 1,
            (false, false) => 0,
        }
    }
}

impl Row {
    fn of(stored: &Stored, kind: &Kind, workload: usize, policy: &str, answer: &Answer) -> Self {
        Self {
            count: 0,
            new: 0,
            verdict: answer.verdict.name(),
            workload: stored.workloads.get(workload).map(|workload| workload.id.clone()).unwrap_or_default(),
            namespace: kind.place.0.clone(),
            policy: policy.to_owned(),
            package: kind.package.clone(),
            hook: kind.hook.clone(),
            reason: answer.reason.name(),
            rule: answer.rule.clone(),
            example: example(kind),
        }
    }

    fn add(&mut self, kind: &Kind, count: u64) {
        self.count = self.count.saturating_add(count);
        if kind.verdict != "deny" {
            self.new = self.new.saturating_add(count);
        }
        // Which of several is shown does not depend on the order they came in.
        let example = example(kind);
        if example < self.example {
            self.example = example;
        }
    }
}

/// What it was about, in a few words.
fn example(kind: &Kind) -> String {
    match &kind.network {
        Some((address, port, protocol)) => format!("{address}:{port}/{protocol}"),
        None if kind.path.is_empty() => kind.operation.clone(),
        None => kind.path.clone(),
    }
}
