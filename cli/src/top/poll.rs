//! Asking, again and again: the collector for nodes and events, an agent for its metrics.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender},
    time::{Duration, SystemTime},
};

use serde_json::Value;

use super::{
    figures::{self, Figures},
    fleet::{Answers, Events},
};
use crate::{
    collector::{Client, Place},
    events::{Stored, time},
    nodes,
};

/// Events of so long before the last answer are asked for again: they arrive a little later than they happen.
const OVERLAP: Duration = Duration::from_mins(1);
/// After so many rounds the whole window is asked for: events may wait on a node's disk for long.
const WHOLE: u32 = 15;

/// Whom to ask, and how far it got.
pub(super) struct Poll {
    collector: Client,
    agent: Option<figures::Client>,
    window: Duration,
    limit: u64,
    /// When events were asked for with success, last; and how often since the whole window was read.
    asked: Option<(SystemTime, u32)>,
}

impl Poll {
    pub(super) fn new(place: &Place, agent: Option<&str>, window: Duration, limit: u64) -> Self {
        Self { collector: Client::new(place), agent: agent.map(figures::Client::new), window, limit, asked: None }
    }

    /// Asks everybody once. What fails is a problem that is told; the rest is answered all the same.
    pub(super) fn ask(&mut self, now: SystemTime) -> Answers {
        let mut answers = Answers::default();
        match nodes::fetch(&self.collector) {
            Ok(nodes) => answers.nodes = Some(nodes),
            Err(error) => answers.problems.push(format!("{error:#}")),
        }
        // A collector that does not answer would be waited for a second time.
        if answers.problems.is_empty() {
            match self.events(now) {
                Ok(events) => answers.events = Some(events),
                Err(error) => answers.problems.push(format!("{error:#}")),
            }
        }
        match self.agent.as_ref().map(|agent| Figures::fetch(agent, now)) {
            Some(Ok(figures)) => answers.figures = Some(figures),
            Some(Err(error)) => answers.problems.push(format!("{error:#}")),
            None => {}
        }
        answers
    }

    fn events(&mut self, now: SystemTime) -> anyhow::Result<Events> {
        let begin = now.checked_sub(self.window).unwrap_or(SystemTime::UNIX_EPOCH);
        let recent = self.asked.filter(|(_, rounds)| *rounds < WHOLE);
        let recent = recent.and_then(|(asked, rounds)| Some((asked.checked_sub(OVERLAP)?, rounds)));
        let (begin, rounds) =
            recent.map_or((begin, 0), |(recent, rounds)| (recent.max(begin), rounds.saturating_add(1)));
        let mut found = Vec::new();
        let has_more =
            self.collector.events(&vec![("since", time::parameter(begin))], self.limit, |page: &[Value]| {
                found.extend(page.iter().map(Stored::of));
                Ok(())
            })?;
        self.asked = Some((now, rounds));
        Ok(Events { found, is_all: rounds == 0, has_more })
    }

    /// Asks until nobody listens any more. A message on `again` asks at once, and for the whole window.
    pub(super) fn run(mut self, every: Duration, answers: &SyncSender<Answers>, again: &Receiver<()>) {
        loop {
            let round = self.ask(SystemTime::now());
            if answers.send(round).is_err() {
                return;
            }
            match again.recv_timeout(every) {
                Ok(()) => self.asked = None,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}
