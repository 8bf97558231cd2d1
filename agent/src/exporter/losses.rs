//! Totals of events that will never arrive, kept on disk: losses happen while the collector is away, and an agent
//! that is restarted before it is back must still report them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use plimsoll_proto::v1::{LossCause, LossCount};
use serde::{Deserialize, Serialize};

use super::counters::{Counters, Snapshot};

const FILE: &str = "losses.json";

/// What was lost before events reached the exporter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelLosses {
    /// Denials and audits that found their ring full, since `rings_since_unix_ns`.
    pub denial_ring: u64,
    /// Telemetry that found its ring full, since `rings_since_unix_ns`.
    pub telemetry_ring: u64,
    /// When the kernel's counters were 0. They outlive the agent, so this must too.
    pub rings_since_unix_ns: u64,
    /// Kernel records that could not be decoded, since this agent started.
    pub undecodable: u64,
}

/// Totals since `since_unix_ns`, over all runs of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Totals {
    since_unix_ns: u64,
    undecodable: u64,
    queue_full: u64,
    spool_full: u64,
    spool_error: u64,
    spool_corrupt: u64,
    oversized: u64,
}

#[derive(Debug)]
struct State {
    kernel: Option<KernelLosses>,
    /// What is on disk, and may be reported: a reported total must never go back.
    saved: Totals,
}

/// Adds up losses of this run and earlier ones.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    counters: Arc<Counters>,
    earlier: Totals,
    state: Mutex<State>,
    /// Held while the file is replaced.
    saving: Mutex<()>,
}

impl Ledger {
    /// Reads the totals of earlier runs. Unreadable ones count again from 0, with a new beginning.
    pub(super) fn open(directory: &Path, counters: Arc<Counters>) -> io::Result<Self> {
        let path = directory.join(FILE);
        let earlier = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(path = %path.display(), %error, "totals of earlier losses are unreadable");
                Totals::new()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Totals::new(),
            Err(error) => return Err(error),
        };
        let ledger = Self {
            path,
            counters,
            earlier,
            state: Mutex::new(State { kernel: None, saved: earlier }),
            saving: Mutex::default(),
        };
        ledger.save();
        Ok(ledger)
    }

    pub(super) fn set_kernel(&self, kernel: KernelLosses) {
        self.state().kernel = Some(kernel);
    }

    /// Brings the totals up to date, on disk first.
    pub(super) fn save(&self) {
        let _saving = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let undecodable = self.state().kernel.map_or(0, |kernel| kernel.undecodable);
        let now = self.earlier.plus(&self.counters.snapshot(), undecodable);
        if now == self.state().saved && self.path.exists() {
            return;
        }
        let temporary = self.path.with_extension("new");
        let written = serde_json::to_vec(&now)
            .map_err(io::Error::from)
            .and_then(|bytes| fs::write(&temporary, bytes))
            .and_then(|()| fs::rename(&temporary, &self.path));
        if let Err(error) = written {
            // A loss that is told and may be told too low after a restart is better than one that is not told.
            tracing::warn!(path = %self.path.display(), %error, "totals of losses cannot be written");
        }
        self.state().saved = now;
    }

    /// Stretches of the spool that could not be read back.
    pub(super) fn lost_stretches(&self) -> u64 {
        self.state().saved.spool_corrupt
    }

    /// What to tell the collector: every cause that is known, those with nothing lost too.
    pub(super) fn report(&self) -> Vec<LossCount> {
        let (saved, kernel) = {
            let state = self.state();
            (state.saved, state.kernel)
        };
        let mut report = saved.report();
        if let Some(kernel) = kernel {
            let since = kernel.rings_since_unix_ns;
            report.push(loss(LossCause::DenialRing, kernel.denial_ring, since));
            report.push(loss(LossCause::TelemetryRing, kernel.telemetry_ring, since));
        }
        report
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Totals {
    fn new() -> Self {
        // A clock before 1970 is as good as any other here: the value only has to differ from the next one.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            since_unix_ns: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
            undecodable: 0,
            queue_full: 0,
            spool_full: 0,
            spool_error: 0,
            spool_corrupt: 0,
            oversized: 0,
        }
    }

    fn plus(&self, run: &Snapshot, undecodable: u64) -> Self {
        Self {
            since_unix_ns: self.since_unix_ns,
            undecodable: self.undecodable.saturating_add(undecodable),
            queue_full: self.queue_full.saturating_add(run.queue_full),
            spool_full: self.spool_full.saturating_add(run.spool_full),
            spool_error: self.spool_error.saturating_add(run.spool_error),
            spool_corrupt: self.spool_corrupt.saturating_add(run.spool_corrupt),
            oversized: self.oversized.saturating_add(run.oversized),
        }
    }

    fn report(&self) -> Vec<LossCount> {
        let all = [
            (LossCause::Undecodable, self.undecodable),
            (LossCause::QueueFull, self.queue_full),
            (LossCause::SpoolFull, self.spool_full),
            (LossCause::SpoolError, self.spool_error),
            (LossCause::SpoolCorrupt, self.spool_corrupt),
            (LossCause::Oversized, self.oversized),
        ];
        all.into_iter().map(|(cause, count)| loss(cause, count, self.since_unix_ns)).collect()
    }
}

fn loss(cause: LossCause, count: u64, since_unix_ns: u64) -> LossCount {
    LossCount { cause: cause.into(), count, since_unix_ns }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(ledger: &Ledger, cause: LossCause) -> Option<u64> {
        ledger.report().into_iter().find(|loss| loss.cause == i32::from(cause)).map(|loss| loss.count)
    }

    #[test]
    fn totals_go_on_after_a_restart_from_the_same_beginning() {
        let directory = tempfile::tempdir().unwrap();
        let counters = Arc::new(Counters::default());
        let first = Ledger::open(directory.path(), Arc::clone(&counters)).unwrap();
        counters.spool_full.add(3);
        first.save();
        let second = Ledger::open(directory.path(), Arc::new(Counters::default())).unwrap();
        assert_eq!(count(&second, LossCause::SpoolFull), Some(3));
        assert_eq!(first.report(), second.report());
    }

    #[test]
    fn what_is_not_on_disk_is_not_reported_yet() {
        let directory = tempfile::tempdir().unwrap();
        let counters = Arc::new(Counters::default());
        let ledger = Ledger::open(directory.path(), Arc::clone(&counters)).unwrap();
        counters.oversized.add(1);
        assert_eq!(count(&ledger, LossCause::Oversized), Some(0));
        ledger.save();
        assert_eq!(count(&ledger, LossCause::Oversized), Some(1));
    }

    #[test]
    fn ring_losses_are_reported_once_they_are_known() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(directory.path(), Arc::new(Counters::default())).unwrap();
        assert_eq!(count(&ledger, LossCause::DenialRing), None);
        ledger.set_kernel(KernelLosses { denial_ring: 7, rings_since_unix_ns: 1, ..KernelLosses::default() });
        assert_eq!(count(&ledger, LossCause::DenialRing), Some(7));
    }
}
