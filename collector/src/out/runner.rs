//! One output's task: read, deliver, move the cursor on.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::watch, task, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    sink::{Failure, Sink},
    status::Status,
};
use crate::{
    config::outputs::{Output, Retry, Verdict},
    store::{self, Dead, Progress, Reading, Stored, Writer},
};

/// The longest wait that a receiver may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// The pipeline of one output.
pub(super) struct Runner {
    sink: Sink,
    database: PathBuf,
    writer: Writer,
    newest: watch::Receiver<i64>,
    status: Arc<Status>,
    verdicts: Vec<i32>,
    batch: usize,
    retry: Retry,
}

/// What came of a reading.
#[derive(Default)]
struct Outcome {
    delivered: u64,
    dead: Vec<Dead>,
}

impl Runner {
    pub(super) fn new(output: Output, sink: Sink, database: &Path, writer: Writer, status: Arc<Status>) -> Self {
        let newest = writer.newest();
        let verdicts = output.verdicts.iter().map(|verdict| number(*verdict)).collect();
        let (batch, retry) = (output.batch, output.retry);
        Self { sink, database: database.to_owned(), writer, newest, status, verdicts, batch, retry }
    }

    /// Delivers until `stop`. What was delivered, and is not written down by then, is delivered again after the next start.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = self.deliver_all() => {}
            () = stop.cancelled() => {}
        }
    }

    async fn deliver_all(&mut self) {
        // Where a new output begins is on disk before anything else: what retention removes from there on is counted.
        let beginning = Reading { events: Vec::new(), cursor: self.status.cursor(), skipped: 0 };
        self.advance(&beginning, Outcome::default()).await;
        let mut failures = 0;
        loop {
            self.newest.mark_unchanged();
            match self.read().await {
                Ok(reading) if reading.cursor == self.status.cursor() => {
                    if self.newest.changed().await.is_err() {
                        return;
                    }
                }
                Ok(reading) => {
                    failures = 0;
                    let outcome = self.deliver(&reading.events).await;
                    self.advance(&reading, outcome).await;
                }
                Err(error) => {
                    self.status.failed(&format!("the database could not be read: {error}"));
                    tracing::error!(output = self.status.name, error, "an output cannot read the database");
                    sleep(self.wait(failures, None)).await;
                    failures += 1;
                }
            }
        }
    }

    async fn read(&self) -> Result<Reading, String> {
        let (database, cursor) = (self.database.clone(), self.status.cursor());
        let (verdicts, batch) = (self.verdicts.clone(), self.batch);
        let reading = task::spawn_blocking(move || {
            store::reader(&database).and_then(|mut connection| store::read(&mut connection, cursor, &verdicts, batch))
        });
        reading.await.map_err(|panicked| panicked.to_string())?.map_err(|error| error.to_string())
    }

    /// Delivers in order. What is refused is halved until the event is found that the receiver does not take.
    async fn deliver(&mut self, events: &[Stored]) -> Outcome {
        let mut outcome = Outcome::default();
        let mut left = vec![events];
        while let Some(part) = left.pop() {
            if part.is_empty() {
                continue;
            }
            match self.settle(part).await {
                Ok(()) => outcome.delivered += part.len() as u64,
                Err(reason) => {
                    if let [event] = part {
                        outcome.dead.push(self.bury(event, reason));
                    } else {
                        let (first, second) = part.split_at(part.len() / 2);
                        left.extend([second, first]);
                    }
                }
            }
        }
        outcome
    }

    /// Tries until the receiver takes the events, or refuses them for good: then the error is its reason.
    async fn settle(&mut self, events: &[Stored]) -> Result<(), String> {
        let mut failures = 0;
        loop {
            match self.sink.send(events).await {
                Ok(()) => {
                    self.status.answered();
                    return Ok(());
                }
                Err(Failure::Refused { error }) => {
                    self.status.answered();
                    return Err(error);
                }
                Err(Failure::Retry { after, error }) => {
                    let wait = self.wait(failures, after);
                    self.status.failed(&error);
                    let milliseconds = wait.as_millis();
                    tracing::warn!(
                        output = self.status.name,
                        error,
                        milliseconds,
                        "a delivery failed and will be tried again"
                    );
                    sleep(wait).await;
                    failures += 1;
                }
            }
        }
    }

    /// Twice as long after each failure, half of it at random so that collectors do not come back all at once.
    fn wait(&self, failures: u32, after: Option<Duration>) -> Duration {
        let longest = self.retry.initial.saturating_mul(2_u32.saturating_pow(failures)).min(self.retry.max);
        let wait = longest.mul_f64(0.5 + fastrand::f64() / 2.0);
        wait.max(after.unwrap_or_default().min(MAX_RETRY_AFTER))
    }

    fn bury(&self, Stored { id, event }: &Stored, reason: String) -> Dead {
        tracing::error!(
            output = self.status.name,
            node = event.node,
            sequence = event.sequence,
            reason,
            "an event was refused for good"
        );
        let event = serde_json::to_string(event).unwrap_or_else(|error| format!("\"not JSON: {error}\""));
        Dead { id: *id, reason, event }
    }

    /// Comes back once the progress is on disk, so that no more than one reading can be delivered twice. While the database
    /// cannot be written nothing more is delivered.
    async fn advance(&mut self, reading: &Reading, Outcome { delivered, dead }: Outcome) {
        let (cursor, skipped, count) = (reading.cursor, reading.skipped, dead.len());
        let mut failures = 0;
        loop {
            let (output, dead) = (self.status.name.clone(), dead.clone());
            let written = self.writer.report(|done| Progress { output, cursor, delivered, skipped, dead, done }).await;
            if written.is_ok() {
                break;
            }
            self.status.failed("how far it came could not be written to the database");
            sleep(self.wait(failures, None)).await;
            failures += 1;
        }
        if failures > 0 {
            self.status.answered();
        }
        self.status.advanced(cursor, delivered, skipped, count);
        if skipped > 0 {
            tracing::error!(output = self.status.name, events = skipped, "retention removed undelivered events");
        }
    }
}

fn number(verdict: Verdict) -> i32 {
    use plimsoll_proto::v1;
    match verdict {
        Verdict::Allow => v1::Verdict::Allow.into(),
        Verdict::Audit => v1::Verdict::Audit.into(),
        Verdict::Deny => v1::Verdict::Deny.into(),
    }
}
