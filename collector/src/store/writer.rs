//! The one thread that writes. It takes what is queued, up to a bound, into one transaction: one disk flush serves many
//! agents.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Opened, Progress, StoreError, checkpoint::Kept, findings, insert, insert::Outcome, migrations::VERSION, newest,
    now_unix_ns, outputs, retention, silence::Silence,
};
use crate::{
    config::Retention,
    ingest::check::Checked,
    json::{Kind, word},
    metrics::{self, Cause, Metrics, Reason},
};

/// Batches that may wait. With the 1024 events of a batch this bounds memory; beyond it agents wait.
const QUEUE: usize = 64;
/// Batches in one transaction.
const COALESCED: usize = 8;
/// Reports of outputs that may wait, and that are written in one transaction.
const REPORTS: usize = 64;
/// How often retention looks, and a store that failed is tried again, if no batch comes.
const TICK: Duration = Duration::from_secs(5);

/// A batch to be stored.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) batch: Checked,
    /// Set once a batch of the same stream could not be stored: storing a later one would acknowledge the lost one.
    pub(crate) broken: Arc<AtomicBool>,
    /// Told once the batch is on disk; dropped if it is not.
    pub(crate) done: oneshot::Sender<Done>,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    /// The highest number that is now dealt with.
    pub(crate) sequence: u64,
    /// The batch was put aside, since it contradicts what is stored.
    pub(crate) contradicted: bool,
}

/// The writer is gone; nothing can be stored any more.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the store no longer takes events")]
pub(crate) struct WriterGone;

/// Whether events can be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Ready,
    /// The last transaction failed.
    Failing,
    /// The thread ended.
    Gone,
}

/// Hands batches to the thread.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Job>,
    reports: mpsc::Sender<Progress>,
    newest: watch::Receiver<i64>,
    failing: Arc<AtomicBool>,
}

impl Writer {
    /// Starts the thread. Once `finish` is cancelled it takes nothing more, stores what is queued, folds the
    /// write-ahead log into the database, and ends.
    pub(crate) fn start(
        opened: Opened,
        path: &Path,
        retention: Retention,
        silent_after: Duration,
        metrics: Arc<Metrics>,
        finish: CancellationToken,
    ) -> Result<(Self, thread::JoinHandle<()>), StoreError> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let (reports, reported) = mpsc::channel(REPORTS);
        let failed = |source| StoreError::Open { path: path.to_owned(), source };
        let (stored, newest) = watch::channel(newest(&opened.connection).map_err(failed)?);
        let failing = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Handle::current();
        let silence = Silence::load(&opened.connection, silent_after).map_err(failed)?;
        let failing_too = Arc::clone(&failing);
        let thread =
            Thread { opened, retention, silence, metrics, failing: failing_too, pruned: None, reported, stored };
        let handle = thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || thread.run(&runtime, jobs, &finish))
            .map_err(|source| StoreError::Io { path: path.to_owned(), source })?;
        Ok((Self { queue, reports, newest, failing }, handle))
    }

    /// Waits for room in the queue.
    pub(crate) async fn store(&self, job: Job) -> Result<(), WriterGone> {
        self.queue.send(job).await.map_err(|_job| WriterGone)
    }

    /// Waits until it is on disk how an output came on.
    pub(crate) async fn report(
        &self,
        progress: impl FnOnce(oneshot::Sender<()>) -> Progress,
    ) -> Result<(), WriterGone> {
        let (done, written) = oneshot::channel();
        self.reports.send(progress(done)).await.map_err(|_progress| WriterGone)?;
        written.await.map_err(|_dropped| WriterGone)
    }

    /// The id of the newest event on disk.
    pub(crate) fn newest(&self) -> watch::Receiver<i64> {
        self.newest.clone()
    }

    pub(crate) fn health(&self) -> Health {
        if self.queue.is_closed() {
            Health::Gone
        } else if self.failing.load(Ordering::Acquire) {
            Health::Failing
        } else {
            Health::Ready
        }
    }
}

enum Next {
    Batches,
    Idle,
    End,
}

async fn next(
    jobs: &mut mpsc::Receiver<Job>,
    taken: &mut Vec<Job>,
    (reported, reports): (&mut mpsc::Receiver<Progress>, &mut Vec<Progress>),
    patience: Duration,
    finish: &CancellationToken,
) -> Next {
    let received = tokio::select! {
        received = jobs.recv_many(taken, COALESCED) => received,
        Some(report) = reported.recv() => {
            reports.push(report);
            return Next::Batches;
        }
        () = tokio::time::sleep(patience) => return Next::Idle,
        () = finish.cancelled() => {
            jobs.close();
            jobs.recv_many(taken, COALESCED).await
        }
    };
    if received == 0 { Next::End } else { Next::Batches }
}

struct Thread {
    opened: Opened,
    retention: Retention,
    silence: Silence,
    metrics: Arc<Metrics>,
    failing: Arc<AtomicBool>,
    /// When retention was last done with.
    pruned: Option<Instant>,
    reported: mpsc::Receiver<Progress>,
    stored: watch::Sender<i64>,
}

impl Thread {
    fn run(mut self, runtime: &tokio::runtime::Handle, mut jobs: mpsc::Receiver<Job>, finish: &CancellationToken) {
        let mut taken = Vec::with_capacity(COALESCED);
        let mut reports = Vec::new();
        loop {
            let (patience, reported) = (self.patience(), (&mut self.reported, &mut reports));
            match runtime.block_on(next(&mut jobs, &mut taken, reported, patience, finish)) {
                Next::Batches => self.write(&mut taken, &mut reports),
                Next::Idle => self.probe(),
                Next::End => break,
            }
            if self.pruned.is_none_or(|pruned| pruned.elapsed() >= TICK) {
                self.prune();
                self.note_silence();
            }
        }
        if let Err(error) = self.opened.connection.pragma(None, "wal_checkpoint", "TRUNCATE", |_row| Ok(())) {
            tracing::error!(%error, "the write-ahead log was not folded into the database; the next start does it");
        }
    }

    /// While retention has more to remove, it does not wait for the tick.
    fn patience(&self) -> Duration {
        if self.pruned.is_some() { TICK } else { Duration::ZERO }
    }

    /// What outputs report goes with the batches, so that it costs no flush of its own while there are any.
    fn write(&mut self, jobs: &mut Vec<Job>, reports: &mut Vec<Progress>) {
        let started = Instant::now();
        jobs.retain(|job| !job.broken.load(Ordering::Acquire));
        while reports.len() < REPORTS
            && let Ok(report) = self.reported.try_recv()
        {
            reports.push(report);
        }
        match store(&mut self.opened.connection, jobs, reports) {
            Ok((outcomes, newest)) => {
                self.stored.send_replace(newest);
                for report in reports.drain(..) {
                    if report.done.send(()).is_err() {
                        tracing::debug!(output = report.output, "an output ended before its progress was on disk");
                    }
                }
                self.metrics.commit_seconds.observe(started.elapsed().as_secs_f64());
                self.failing.store(false, Ordering::Release);
                for (job, outcome) in jobs.drain(..).zip(outcomes) {
                    self.count(&job.batch, &outcome);
                    self.end_silence(&job.batch.node.name);
                    let sequence = job.batch.last.unwrap_or(outcome.last_sequence);
                    if job.done.send(Done { sequence, contradicted: outcome.contradicted }).is_err() {
                        tracing::debug!(node = job.batch.node.name, "a stream ended before its acknowledgement");
                    }
                }
            }
            Err(error) => {
                self.failed(&error);
                // An output that is not told reports again.
                reports.clear();
                for job in jobs.drain(..) {
                    job.broken.store(true, Ordering::Release);
                }
            }
        }
    }

    fn count(&self, batch: &Checked, outcome: &Outcome) {
        let Metrics { stored, duplicates, missing, losses, refused_events, findings, .. } = &*self.metrics;
        stored.inc_by(outcome.stored);
        duplicates.inc_by(outcome.duplicates);
        missing.inc_by(outcome.missing);
        for fault in &batch.faults {
            refused_events.get_or_create(&Reason { reason: fault.name() }).inc();
        }
        for (cause, grown) in outcome.losses.iter().filter(|(_, grown)| *grown > 0) {
            losses.get_or_create(&Cause { cause: word(Kind::LossCause, *cause) }).inc_by(*grown);
        }
        match outcome.checkpoint {
            Some(Kept::Stored) => drop(self.metrics.checkpoints.inc()),
            Some(Kept::Contradicts { .. }) => self.refused_checkpoint("contradiction"),
            Some(Kept::Unknown) => self.refused_checkpoint("unknown-event"),
            None => {}
        }
        if outcome.contradicted {
            let count = batch.accepted.len() as u64;
            refused_events.get_or_create(&Reason { reason: "contradiction" }).inc_by(count);
        }
        let node = &batch.node;
        for found in &outcome.findings {
            let (kind, first, last) = (found.kind.name(), found.first, found.last);
            findings.get_or_create(&metrics::Finding { kind }).inc();
            tracing::warn!(
                kind,
                node = node.name,
                boot = node.boot_id,
                spool = node.spool_id,
                first,
                last,
                "a finding"
            );
        }
        if outcome.missing > 0 {
            tracing::warn!(node = batch.node.name, events = outcome.missing, "sequence numbers were skipped");
        }
        if let Some(fault) = batch.faults.first() {
            let count = batch.faults.len();
            tracing::warn!(node = batch.node.name, reason = fault.name(), count, "malformed events were refused");
        }
    }

    fn refused_checkpoint(&self, reason: &'static str) {
        self.metrics.refused_checkpoints.get_or_create(&Reason { reason }).inc();
    }

    /// A store that failed is tried again even if no agent is there to try it.
    fn probe(&mut self) {
        if !self.failing.load(Ordering::Acquire) {
            return;
        }
        match self.opened.connection.pragma_update(None, "user_version", VERSION) {
            Ok(()) => self.failing.store(false, Ordering::Release),
            Err(error) => self.failed(&error),
        }
    }

    fn note_silence(&mut self) {
        let due = self.silence.due();
        if due.is_empty() {
            return;
        }
        let mut written = || -> rusqlite::Result<()> {
            let transaction = self.opened.connection.transaction()?;
            due.iter().try_for_each(|node| findings::raise_silence(&transaction, node, now_unix_ns()))?;
            transaction.commit()
        };
        if let Err(error) = written() {
            return self.failed(&error);
        }
        let kind = findings::Kind::SilentNode.name();
        self.metrics.findings.get_or_create(&metrics::Finding { kind }).inc_by(due.len() as u64);
        for node in &due {
            tracing::warn!(kind, node, "a finding");
        }
        self.silence.began(due);
    }

    fn end_silence(&mut self, node: &str) {
        if !self.silence.hear(node) {
            return;
        }
        match findings::end_silence(&self.opened.connection, node, now_unix_ns()) {
            Ok(()) => self.silence.ended(node),
            Err(error) => self.failed(&error),
        }
    }

    fn prune(&mut self) {
        match retention::prune(&mut self.opened.connection, &self.retention, now_unix_ns()) {
            Ok((removed, more)) => {
                self.metrics.pruned.inc_by(removed);
                self.pruned = if more { None } else { Some(Instant::now()) };
            }
            Err(error) => {
                self.failed(&error);
                self.pruned = Some(Instant::now());
            }
        }
    }

    fn failed(&self, error: &rusqlite::Error) {
        self.metrics.commit_failures.inc();
        self.failing.store(true, Ordering::Release);
        tracing::error!(%error, "cannot write to the database; agents keep their events and send them again");
    }
}

/// What the batches changed, and the id of the newest event.
fn store(connection: &mut Connection, jobs: &[Job], reports: &[Progress]) -> rusqlite::Result<(Vec<Outcome>, i64)> {
    let now = now_unix_ns();
    let transaction = connection.transaction()?;
    let outcomes = jobs.iter().map(|job| insert::batch(&transaction, &job.batch, now)).collect::<Result<_, _>>()?;
    for report in reports {
        outputs::advance(&transaction, report, now)?;
    }
    let newest = newest(&transaction)?;
    transaction.commit()?;
    Ok((outcomes, newest))
}
