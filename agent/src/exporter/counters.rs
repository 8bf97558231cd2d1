//! What became of the events: exact, cheap to count, readable at any time.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters since the agent started.
        #[derive(Debug, Default)]
        pub struct Counters { $(pub(super) $name: Counter,)* }

        /// The counters at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Snapshot { $($(#[$doc])* pub $name: u64,)* }

        impl Counters {
            /// Reads every counter.
            pub fn snapshot(&self) -> Snapshot {
                Snapshot { $($name: self.$name.get(),)* }
            }
        }
    };
}

counters! {
    /// Events in the queue to the spool, now.
    queued,
    /// Their bytes.
    queued_bytes,
    /// Bytes of the spool on disk, now.
    spool_bytes,
    /// Events refused because the queue to the spool was full.
    queue_full,
    /// Events refused because they were larger than an event may be.
    oversized,
    /// Events refused because the spool had reached its bound.
    spool_full,
    /// Events refused because the spool could not be written.
    spool_error,
    /// Stretches of the spool, of one or more events each, that could not be read back.
    spool_corrupt,
    /// Events written to the spool.
    spooled,
    /// Events sent, repetitions included.
    sent,
    /// Events that the collector has stored.
    acked,
    /// Streams to the collector that ended early, or that could not be opened.
    reconnects,
    /// Streams that were opened anew because the certificates had changed.
    renewals,
    /// 1 while a stream to the collector is open.
    connected,
}

/// One counter.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn subtract(&self, count: u64) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
