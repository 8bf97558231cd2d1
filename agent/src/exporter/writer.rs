//! The one thread that writes the spool's directory on behalf of the queue.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use plimsoll_proto::v1;
use tokio::sync::watch;

use super::{
    counters::Counters,
    losses::Ledger,
    spool::{AppendError, Writer},
};

/// How often the losses are written.
const LEDGER: Duration = Duration::from_secs(1);

/// Moves events from the queue to the spool until the queue is closed.
pub(super) struct Worker {
    pub(super) queued: Receiver<(v1::Event, u64)>,
    pub(super) spool: Writer,
    pub(super) counters: Arc<Counters>,
    pub(super) ledger: Arc<Ledger>,
    /// Told after every event; dropped at the end.
    pub(super) written: watch::Sender<()>,
}

impl Worker {
    pub(super) fn run(mut self) {
        let mut refusing = false;
        let mut saved = Instant::now();
        loop {
            match self.queued.recv_timeout(LEDGER) {
                Ok((event, bytes)) => {
                    self.take(event, &mut refusing);
                    self.counters.queued.subtract(1);
                    self.counters.queued_bytes.subtract(bytes);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if saved.elapsed() >= LEDGER {
                self.ledger.save();
                saved = Instant::now();
            }
        }
        self.ledger.save();
    }

    fn take(&mut self, event: v1::Event, refusing: &mut bool) {
        let outcome = self.spool.append(event);
        match &outcome {
            Ok(_) => self.counters.spooled.add(1),
            Err(AppendError::Full) => self.counters.spool_full.add(1),
            Err(AppendError::Write(_)) => self.counters.spool_error.add(1),
        }
        match outcome {
            Ok(_) => {
                self.counters.spool_bytes.set(self.spool.bytes());
                self.written.send_replace(());
                *refusing = false;
            }
            // Said once per stretch: a flood of events must not become a flood of lines.
            Err(error) if !*refusing => {
                *refusing = true;
                tracing::error!(error = ?error, "events are being lost: {error}");
            }
            Err(_) => {}
        }
    }
}
