//! What was answered so far: the events of the window, each once, and the latest word on nodes and on the agent.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use super::figures::Figures;
use crate::{
    events::{Stored, time},
    nodes::Node,
};

/// Everything there is to show.
pub(super) struct Fleet {
    pub(super) window: Duration,
    pub(super) silent_after: Duration,
    limit: usize,
    events: BTreeMap<Key, Stored>,
    pub(super) nodes: Vec<Node>,
    pub(super) figures: Option<Figures>,
    /// What could not be had, in the latest answers.
    pub(super) problems: Vec<String>,
    /// There are, or were, more events in the window than are read.
    pub(super) is_partial: bool,
    /// When the collector answered last.
    pub(super) answered: Option<SystemTime>,
}

/// Time first, so that the oldest is first; then what makes an event this one.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key(u64, String, String, String, u64);

/// What one round of questions brought.
#[derive(Default)]
pub(super) struct Answers {
    pub(super) nodes: Option<Vec<Node>>,
    pub(super) events: Option<Events>,
    pub(super) figures: Option<Figures>,
    pub(super) problems: Vec<String>,
}

/// Events that a collector gave.
pub(super) struct Events {
    pub(super) found: Vec<Stored>,
    /// The whole window was asked for, not only its end.
    pub(super) is_all: bool,
    /// The collector has more that match.
    pub(super) has_more: bool,
}

impl Fleet {
    pub(super) fn new(window: Duration, silent_after: Duration, limit: u64) -> Self {
        Self {
            window,
            silent_after,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            events: BTreeMap::new(),
            nodes: Vec::new(),
            figures: None,
            problems: Vec::new(),
            is_partial: false,
            answered: None,
        }
    }

    /// Takes a round of answers. What was not answered stays as it was, beside the problem.
    pub(super) fn take(&mut self, answers: Answers, now: SystemTime) {
        self.problems = answers.problems;
        if let Some(nodes) = answers.nodes {
            self.nodes = nodes;
            self.answered = Some(now);
        }
        if let Some(mut figures) = answers.figures {
            figures.follow(self.figures.take().as_ref());
            self.figures = Some(figures);
        }
        if let Some(events) = answers.events {
            // What the last look at the whole window left out may be out of the window by now.
            self.is_partial = events.has_more || (self.is_partial && !events.is_all);
            for event in events.found {
                self.events.insert(Key::of(&event), event);
            }
        }
        self.forget(now);
    }

    /// The events of the window, the oldest first.
    pub(super) fn events(&self) -> impl Iterator<Item = &Stored> {
        self.events.values()
    }

    /// Drops what is out of the window, and the oldest beyond the limit.
    fn forget(&mut self, now: SystemTime) {
        let begin = time::unix_ns(now.checked_sub(self.window).unwrap_or(SystemTime::UNIX_EPOCH));
        while let Some(oldest) = self.events.first_entry() {
            let is_old = oldest.key().0 < begin;
            if !is_old && self.events.len() <= self.limit {
                return;
            }
            self.is_partial |= !is_old;
            self.events.pop_first();
        }
    }
}

impl Key {
    fn of(event: &Stored) -> Self {
        let Stored { node, boot_id, spool_id, sequence, time_unix_ns, .. } = event.clone();
        Self(time_unix_ns, node, boot_id, spool_id, sequence)
    }
}
