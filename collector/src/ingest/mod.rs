//! The gRPC service agents stream to.

pub(crate) mod check;
pub(crate) mod checkpoint;
mod peer;

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, atomic::AtomicBool},
};

use plimsoll_proto::{
    limits,
    v1::{
        Acknowledgement, EventBatch,
        collector_server::{Collector, CollectorServer},
    },
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming};

use self::{check::Checked, peer::Peer};
use crate::{
    metrics::{Metrics, Reason},
    store::{Done, Job, Writer},
    tls::Loaded,
};

/// Streams at once; one per agent is what is meant.
const MAX_STREAMS: usize = 10_000;
/// Batches of one stream that may wait for the disk.
const IN_FLIGHT: usize = 8;

/// The service.
#[derive(Debug)]
pub(crate) struct Ingest {
    writer: Writer,
    metrics: Arc<Metrics>,
    streams: Arc<Semaphore>,
    /// Where agents must prove who they are.
    tls: Option<watch::Receiver<Loaded>>,
    shutdown: CancellationToken,
}

impl Ingest {
    pub(crate) fn service(
        writer: Writer,
        metrics: Arc<Metrics>,
        tls: Option<watch::Receiver<Loaded>>,
        shutdown: CancellationToken,
    ) -> CollectorServer<Self> {
        let streams = Arc::new(Semaphore::new(MAX_STREAMS));
        CollectorServer::new(Self { writer, metrics, streams, tls, shutdown })
            .max_decoding_message_size(limits::BATCH_BYTES)
    }
}

#[tonic::async_trait]
impl Collector for Ingest {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<Acknowledgement, Status>> + Send>>;

    async fn stream(&self, request: Request<Streaming<EventBatch>>) -> Result<Response<Self::StreamStream>, Status> {
        let permit = Arc::clone(&self.streams)
            .try_acquire_owned()
            .map_err(|_none| Status::resource_exhausted("too many agents are connected; try again later"))?;
        let peer = match &self.tls {
            None => Peer::Loopback,
            Some(tls) => Peer::authenticate(request.extensions(), tls.clone())?,
        };
        let (pending, waiting) = mpsc::channel(IN_FLIGHT);
        let agent = Agent {
            inbound: request.into_inner(),
            writer: self.writer.clone(),
            peer,
            open: Open::new(Arc::clone(&self.metrics), permit),
            broken: Arc::default(),
            pending,
        };
        tokio::spawn(agent.read_until(self.shutdown.clone()));
        Ok(Response::new(Box::pin(ReceiverStream::new(waiting).then(Pending::settle))))
    }
}

/// Counts a stream for as long as it is read.
struct Open {
    metrics: Arc<Metrics>,
    _permit: OwnedSemaphorePermit,
}

impl Open {
    fn new(metrics: Arc<Metrics>, permit: OwnedSemaphorePermit) -> Self {
        metrics.streams.inc();
        Self { metrics, _permit: permit }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.metrics.streams.dec();
    }
}

/// What will become of a batch, in the order of arrival.
enum Pending {
    Stored { boot_id: String, spool_id: String, checkpoint: u64, done: oneshot::Receiver<Done> },
    Ended(Status),
}

impl Pending {
    async fn settle(self) -> Result<Acknowledgement, Status> {
        match self {
            Self::Stored { boot_id, spool_id, checkpoint, done } => match done.await {
                Ok(Done { sequence, contradicted }) => {
                    Ok(Acknowledgement { boot_id, spool_id, sequence, contradicted, checkpoint })
                }
                Err(_dropped) => Err(not_stored()),
            },
            Self::Ended(status) => Err(status),
        }
    }
}

fn not_stored() -> Status {
    Status::unavailable("the batch could not be stored; send it again on a new stream")
}

/// One stream. It reads on while earlier batches wait for the disk, up to [`IN_FLIGHT`]; then the agent waits.
struct Agent {
    inbound: Streaming<EventBatch>,
    writer: Writer,
    peer: Peer,
    open: Open,
    broken: Arc<AtomicBool>,
    pending: mpsc::Sender<Pending>,
}

impl Agent {
    async fn read_until(mut self, shutdown: CancellationToken) {
        let pending = self.pending.clone();
        let mut peer = self.peer.clone();
        let ended = tokio::select! {
            ended = self.read() => ended,
            () = shutdown.cancelled() => Some(Status::unavailable("the collector is stopping")),
            status = peer.doubted() => {
                self.refuse("certificate", &status.message());
                Some(status)
            }
            () = pending.closed() => None,
        };
        if let Some(status) = ended
            && pending.send(Pending::Ended(status)).await.is_err()
        {
            tracing::debug!("an agent left before it could be told why its stream ends");
        }
    }

    /// Returns what to tell the agent; `None` if it ended the stream itself.
    async fn read(&mut self) -> Option<Status> {
        loop {
            let batch = match self.inbound.message().await {
                Ok(Some(batch)) => batch,
                Ok(None) => return None,
                Err(status) => return self.unreadable(status),
            };
            let mut checked = match check::batch(batch) {
                Ok(checked) => checked,
                Err(fault) => {
                    self.refuse(fault.name(), &fault);
                    return Some(Status::invalid_argument(fault.to_string()));
                }
            };
            if !self.peer.may_write(&checked.node.name) {
                let own = self.peer.name();
                let error = format!(
                    "`{own}` may not write events of `{}`; `node` and certificate must agree",
                    checked.node.name
                );
                self.refuse("other-node", &error);
                return Some(Status::permission_denied(error));
            }
            let sequence = self.verify(&mut checked);
            if let Err(status) = self.enqueue(checked, sequence).await {
                return Some(status);
            }
        }
    }

    /// Looks at the batch's checkpoint. One that cannot be believed is left out and counted; events do not depend on it.
    /// Returns the number that it is to be acknowledged by.
    fn verify(&self, batch: &mut Checked) -> u64 {
        let Some(signed) = batch.signed.take() else { return 0 };
        match checkpoint::verify(&self.peer, &batch.node, signed) {
            Ok(checkpoint) => {
                let sequence = checkpoint.statement.sequence;
                batch.checkpoint = Some(checkpoint);
                sequence
            }
            Err(fault) => {
                let reason = fault.name();
                self.open.metrics.refused_checkpoints.get_or_create(&Reason { reason }).inc();
                tracing::warn!(node = batch.node.name, reason, error = %fault, "a checkpoint was refused");
                checkpoint::REFUSED
            }
        }
    }

    async fn enqueue(&self, batch: Checked, checkpoint: u64) -> Result<(), Status> {
        // Room for the answer comes first: a batch that is queued must be answered.
        let Ok(slot) = self.pending.reserve().await else { return Err(not_stored()) };
        let (done, stored) = oneshot::channel();
        let (boot_id, spool_id) = (batch.node.boot_id.clone(), batch.node.spool_id.clone());
        let job = Job { batch, broken: Arc::clone(&self.broken), done };
        self.writer.store(job).await.map_err(|gone| Status::unavailable(gone.to_string()))?;
        slot.send(Pending::Stored { boot_id, spool_id, checkpoint, done: stored });
        Ok(())
    }

    /// A message that is too large or no protobuf is the agent's fault; anything else is a connection that ended.
    fn unreadable(&self, status: Status) -> Option<Status> {
        match status.code() {
            Code::OutOfRange => self.refuse("too-large", &status.message()),
            Code::Internal => self.refuse("undecodable", &status.message()),
            _ => {
                tracing::debug!(%status, "an agent's connection ended");
                return None;
            }
        }
        Some(status)
    }

    fn refuse(&self, reason: &'static str, error: &dyn fmt::Display) {
        self.open.metrics.refused_batches.get_or_create(&Reason { reason }).inc();
        tracing::warn!(reason, %error, "a batch was refused, and its stream ended");
    }
}
