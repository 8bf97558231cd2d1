//! Takes events off the agent's hands and brings them to the collector, each exactly once per number.
//!
//! ```text
//! submit ─> queue in memory ─> writer thread ─> spool on disk ─> sender thread ─> collector
//! ```
//! Nothing here waits for the collector, nor for the disk, in the name of whoever submits: what does not fit is
//! refused at once, counted by cause, and reported to the collector as lost.

mod checkpoint;
mod counters;
mod grpc;
mod losses;
mod metrics;
mod sender;
pub mod spool;
mod writer;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    time::Duration,
};

use plimsoll_proto::{limits, v1};
use prost::Message as _;
use tokio::sync::{oneshot, watch};

pub use self::{
    counters::{Counters, Snapshot},
    grpc::{Endpoint, EndpointError},
    losses::KernelLosses,
    metrics::ExporterMetrics,
    spool::SpoolError,
};
use self::{losses::Ledger, sender::Sender, writer::Worker};

/// Events that may wait for the disk.
const QUEUE_EVENTS: usize = 4096;
/// Bytes that may; events differ by a factor of hundreds.
const QUEUE_BYTES: u64 = 16 << 20;
/// How long [`ExporterHandle::finish`] waits for the disk and the collector together.
const FINISH: Duration = Duration::from_secs(5);

/// What an exporter needs to know.
#[derive(Clone, Debug)]
pub struct ExporterConfig {
    /// The node's name.
    pub node: String,
    /// The kernel's boot id, from `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// Version of this agent.
    pub agent_version: String,
    /// Where the spool is; made if it does not exist.
    pub directory: PathBuf,
    /// The keys of the spool; made if it does not exist.
    pub spool_key: PathBuf,
    /// Bytes the spool may take.
    pub spool_bytes: u64,
    /// Where events go; without it they stay in the spool.
    pub endpoint: Option<Endpoint>,
}

/// Why the exporter cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ExporterError {
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("cannot read the losses of earlier runs")]
    Losses(#[source] io::Error),
    #[error("cannot start a thread of the exporter")]
    Thread(#[source] io::Error),
}

/// Why an event was refused. It is counted already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    #[error("the queue to the spool is full")]
    QueueFull,
    #[error("the event has {bytes} bytes, more than the {limit} an event may have", limit = limits::EVENT_BYTES)]
    Oversized { bytes: usize },
    #[error("the spool is no longer written")]
    Stopped,
}

/// Starts exporters.
#[derive(Debug)]
pub struct Exporter;

impl Exporter {
    /// Opens the spool and starts the threads. When the sender of `stop` is dropped, what is in the spool is sent for
    /// a few seconds more; what is left then waits for the next start.
    pub fn start(
        config: ExporterConfig,
        stop: watch::Receiver<()>,
    ) -> Result<(ExporterHandle, ExporterMetrics), ExporterError> {
        if let Some(endpoint) = &config.endpoint {
            endpoint.check()?;
        }
        let opened =
            spool::open(&config.directory, &config.spool_key, &config.node, &config.boot_id, config.spool_bytes)?;
        let counters = Arc::new(Counters::default());
        counters.spool_corrupt.add(opened.corrupt);
        counters.spool_bytes.set(opened.writer.bytes());
        let ledger = Ledger::open(&config.directory, Arc::clone(&counters)).map_err(ExporterError::Losses)?;
        let ledger = Arc::new(ledger);
        let (queue, queued) = sync_channel(QUEUE_EVENTS);
        let (written, seen) = watch::channel(());
        let (writer_ended, writer) = oneshot::channel();
        let worker = Worker {
            queued,
            spool: opened.writer,
            counters: Arc::clone(&counters),
            ledger: Arc::clone(&ledger),
            written,
        };
        spawn("spool", move || {
            worker.run();
            drop(writer_ended);
        })?;
        let sender = match config.endpoint {
            None => None,
            Some(endpoint) => {
                let node = v1::Node { name: config.node, ..v1::Node::default() };
                let (ended, sender) = oneshot::channel();
                let task = Sender::new(
                    endpoint,
                    node,
                    config.agent_version,
                    opened.reader,
                    Arc::clone(&counters),
                    Arc::clone(&ledger),
                );
                spawn("sender", move || {
                    task.run(seen, stop);
                    drop(ended);
                })?;
                Some(sender)
            }
        };
        let metrics = ExporterMetrics::new(Arc::clone(&counters));
        Ok((ExporterHandle { queue, counters, ledger, writer, sender }, metrics))
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), ExporterError> {
    let thread = std::thread::Builder::new().name(format!("exporter-{name}"));
    thread.spawn(work).map(drop).map_err(ExporterError::Thread)
}

/// Takes events. Dropped without [`ExporterHandle::finish`], the threads end by themselves.
#[derive(Debug)]
pub struct ExporterHandle {
    queue: SyncSender<(v1::Event, u64)>,
    counters: Arc<Counters>,
    ledger: Arc<Ledger>,
    /// Closed once the thread has ended.
    writer: oneshot::Receiver<()>,
    sender: Option<oneshot::Receiver<()>>,
}

impl ExporterHandle {
    /// Queues an event for the spool, or counts it as lost. Never waits. The event's `sequence` is set later.
    pub fn submit(&self, mut event: v1::Event) -> Result<(), Dropped> {
        // Whatever number it gets, it takes no more room than this one.
        event.sequence = u64::MAX;
        let bytes = event.encoded_len();
        if bytes > limits::EVENT_BYTES {
            self.counters.oversized.add(1);
            return Err(Dropped::Oversized { bytes });
        }
        let bytes = bytes as u64;
        if self.counters.queued_bytes.get() + bytes > QUEUE_BYTES {
            self.counters.queue_full.add(1);
            return Err(Dropped::QueueFull);
        }
        self.counters.queued.add(1);
        self.counters.queued_bytes.add(bytes);
        let Err(error) = self.queue.try_send((event, bytes)) else { return Ok(()) };
        self.counters.queued.subtract(1);
        self.counters.queued_bytes.subtract(bytes);
        match error {
            TrySendError::Full(_) => {
                self.counters.queue_full.add(1);
                Err(Dropped::QueueFull)
            }
            TrySendError::Disconnected(_) => {
                self.counters.spool_error.add(1);
                Err(Dropped::Stopped)
            }
        }
    }

    /// Sets the totals of what was lost before it came here. They are reported with the next heartbeat.
    pub fn losses(&self, totals: KernelLosses) {
        self.ledger.set_kernel(totals);
    }

    /// The counters at this moment.
    pub fn snapshot(&self) -> Snapshot {
        self.counters.snapshot()
    }

    /// Waits until every queued event is in the spool and, while the collector takes them, until it has them; at most
    /// five seconds. What it has not got by then is sent after the next start.
    pub async fn finish(self) -> Snapshot {
        let Self { queue, counters, ledger: _, writer, sender } = self;
        drop(queue);
        let ended = async {
            // Nothing is ever sent through these; they end with their threads.
            drop(writer.await);
            if let Some(sender) = sender {
                drop(sender.await);
            }
        };
        if tokio::time::timeout(FINISH, ended).await.is_err() {
            tracing::warn!("the exporter did not finish in time; what the collector has not got stays in the spool");
        }
        counters.snapshot()
    }
}
