//! Brings the spool to the collector: sends ahead, moves the cursor with acknowledgements, begins again after a loss
//! of the connection.

use std::{
    collections::VecDeque,
    hash::{BuildHasher as _, RandomState},
    io,
    sync::Arc,
    time::Duration,
};

use plimsoll_identity::{SignatureError, Signer};
use plimsoll_proof::Link;
use plimsoll_proto::v1::{self, collector_client::CollectorClient};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{
    checkpoint::{Checkpoints, Tip},
    counters::Counters,
    grpc::{Endpoint, EndpointError},
    losses::Ledger,
    spool::{Acknowledged, Numbering, Reader},
};

/// Batches sent ahead of their acknowledgement.
const IN_FLIGHT: usize = 8;
/// How often losses are told; the collector hears at least this often that the node is alive.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// How long the collector may take to open a stream, or to acknowledge a batch.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long is sent on after the agent was told to stop; a little less than whoever waits for it waits.
const DRAIN: Duration = Duration::from_millis(4500);
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LAST_DELAY: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("the collector ended the stream: {}", .0.message())]
    Status(Box<Status>),
    #[error("the collector closed the stream")]
    Closed,
    #[error("the collector did not answer for {} s", PATIENCE.as_secs())]
    Silent,
    #[error("a checkpoint cannot be signed")]
    Signing(#[from] SignatureError),
    #[error("the spool cannot be read")]
    Spool(#[from] io::Error),
}

impl From<Status> for SessionError {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

/// What a change means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    GoOn,
    /// There is no time left.
    GiveUp,
}

/// Why a stream ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// There is nothing more to send, or no time left.
    Finished,
    /// The node has another certificate now. The next stream shows it.
    Renewed,
}

/// When to stop.
struct Closing {
    written: watch::Receiver<()>,
    stop: watch::Receiver<()>,
    /// Nothing more will be written.
    complete: bool,
    /// Set once the agent stops.
    deadline: Option<Instant>,
}

impl Closing {
    /// Waits for a new event, or for the next step towards the end.
    async fn changed(&mut self) -> Next {
        let deadline = self.deadline;
        let expired = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            written = self.written.changed(), if !self.complete => self.complete = written.is_err(),
            stop = self.stop.changed(), if deadline.is_none() => if stop.is_ok() { return Next::GoOn },
            () = expired => return Next::GiveUp,
        }
        if self.complete || self.stop.has_changed().is_err() {
            self.deadline.get_or_insert_with(|| Instant::now() + DRAIN);
        }
        Next::GoOn
    }
}

/// The sending end of one stream, and what it has not seen acknowledged.
struct Session {
    outbound: mpsc::Sender<v1::EventBatch>,
    in_flight: VecDeque<Acknowledged>,
    /// When the last batch was acknowledged, or the first was sent.
    progress: Instant,
    checkpoints: Checkpoints,
}

/// Sends for as long as the agent runs.
pub(super) struct Sender {
    endpoint: Endpoint,
    node: v1::Node,
    agent_version: String,
    spool: Reader,
    counters: Arc<Counters>,
    ledger: Arc<Ledger>,
    delay: Duration,
    /// Events of the spool could not be read back, and the next batch has to say so.
    unexplained: bool,
}

impl Sender {
    pub(super) fn new(
        endpoint: Endpoint,
        node: v1::Node,
        agent_version: String,
        spool: Reader,
        counters: Arc<Counters>,
        ledger: Arc<Ledger>,
    ) -> Self {
        Self { endpoint, node, agent_version, spool, counters, ledger, delay: FIRST_DELAY, unexplained: false }
    }

    /// Runs on a thread of its own, since reading the spool waits for the disk.
    pub(super) fn run(mut self, written: watch::Receiver<()>, stop: watch::Receiver<()>) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return tracing::error!(%error, "events cannot be sent, they stay in the spool"),
        };
        runtime.block_on(async {
            let mut closing = Closing { written, stop, complete: false, deadline: None };
            let renewals = self.endpoint.renewals();
            self.until_closed(&mut closing, renewals).await;
        });
        // A name that is being looked up must not hold up the end.
        runtime.shutdown_background();
    }

    async fn until_closed(&mut self, closing: &mut Closing, mut renewals: watch::Receiver<()>) {
        loop {
            self.spool.rewind();
            renewals.mark_unchanged();
            let outcome = self.session(closing, &mut renewals).await;
            self.counters.connected.set(0);
            let error = match outcome {
                Ok(Ended::Finished) => return,
                Ok(Ended::Renewed) => {
                    self.counters.renewals.add(1);
                    continue;
                }
                Err(error) => anyhow::Error::from(error),
            };
            self.counters.reconnects.add(1);
            let delay = jittered(self.delay);
            self.delay = (self.delay * 2).min(LAST_DELAY);
            tracing::warn!(endpoint = %self.endpoint.address, retry_ms = delay.as_millis(), "not connected: {error:#}");
            // Nothing more will come: one failed try is enough, what is left is sent after the next start.
            if closing.complete || wait(delay, closing).await == Next::GiveUp {
                return;
            }
        }
    }

    /// One stream. Returns without an error only at the end of everything.
    async fn session(
        &mut self,
        closing: &mut Closing,
        renewals: &mut watch::Receiver<()>,
    ) -> Result<Ended, SessionError> {
        let (outbound, batches) = mpsc::channel(2 * IN_FLIGHT);
        let mut session = Session {
            outbound,
            in_flight: VecDeque::new(),
            progress: Instant::now(),
            checkpoints: Checkpoints::new(None, None),
        };
        // A collector may wait for the first message before it opens its side.
        self.heartbeat(&session)?;
        let mut opening = Box::pin(open(self.endpoint.clone(), batches));
        let (mut acknowledgements, signer) = loop {
            tokio::select! {
                opened = &mut opening => break opened?,
                next = closing.changed() => if next == Next::GiveUp { return Ok(Ended::Finished) },
            }
        };
        self.counters.connected.set(1);
        tracing::info!(endpoint = %self.endpoint.address, "connected");
        let tip = self.spool.acknowledged().map(|(numbering, sequence, link)| Tip { numbering, sequence, link });
        session.checkpoints = Checkpoints::new(signer, tip.filter(|tip| tip.numbering.node == self.node.name));
        self.sign(&mut session)?;
        let mut heartbeats = interval(HEARTBEAT);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut renewed = false;
        loop {
            if !renewed {
                self.send_ahead(&mut session)?;
            }
            let finished = closing.complete && self.spool.is_at_end();
            if (renewed || finished) && session.in_flight.is_empty() {
                // The last thing that this certificate signs. Nothing else is waited for.
                self.sign(&mut session)?;
                if session.checkpoints.settled() {
                    return self.heartbeat(&session).map(|()| if renewed { Ended::Renewed } else { Ended::Finished });
                }
            }
            tokio::select! {
                acknowledgement = acknowledgements.message() => {
                    let acknowledgement = acknowledgement?.ok_or(SessionError::Closed)?;
                    session.checkpoints.acknowledge(&acknowledgement);
                    self.acknowledged(&acknowledgement, &mut session)?;
                }
                next = closing.changed() => if next == Next::GiveUp { return Ok(Ended::Finished) },
                changed = renewals.changed(), if !renewed => {
                    renewed = changed.is_ok();
                    session.progress = Instant::now();
                }
                _ = heartbeats.tick() => {
                    if session.checkpoints.after_time().is_some() {
                        self.sign(&mut session)?;
                    }
                    self.heartbeat(&session)?;
                }
                () = sleep_until(session.progress + PATIENCE), if renewed || !session.in_flight.is_empty() => {
                    return Err(SessionError::Silent);
                }
            }
        }
    }

    fn send_ahead(&mut self, session: &mut Session) -> Result<(), SessionError> {
        while session.in_flight.len() < IN_FLIGHT {
            // Full of heartbeats, that is: the connection stands still, and keep-alive will find out.
            // A second place is for the checkpoint of another numbering.
            let Ok(mut permits) = session.outbound.try_reserve_many(2) else { return session.check() };
            let batch = self.spool.next_batch()?;
            let corrupt = self.spool.take_corrupt();
            self.counters.spool_corrupt.add(corrupt);
            self.unexplained |= corrupt > 0;
            let Some(batch) = batch else { return Ok(()) };
            // A gap is told together with what explains it.
            let losses = if std::mem::take(&mut self.unexplained) {
                self.ledger.save();
                self.ledger.report()
            } else {
                Vec::new()
            };
            if session.in_flight.is_empty() {
                session.progress = Instant::now();
            }
            let mark = batch.mark();
            if let Some(tip) = session.checkpoints.before(&batch.numbering).cloned()
                && let Some(permit) = permits.next()
            {
                permit.send(self.signed(&tip, &mut session.checkpoints)?);
            }
            // Of a node that has another name now: the chain began with the old one.
            let chain = batch.chain.filter(|_| batch.numbering.node == self.node.name);
            let link = |link: Option<Link>| link.map_or(Vec::new(), |link| link.as_bytes().to_vec());
            let tip =
                chain.map(|(_, link)| Tip { numbering: Arc::clone(&batch.numbering), sequence: batch.last, link });
            session.checkpoints.advance(tip, mark.count);
            let checkpoint = match session.checkpoints.after_events().cloned() {
                Some(tip) => self.signed(&tip, &mut session.checkpoints)?.checkpoint,
                None => None,
            };
            let batch = v1::EventBatch {
                chain_before: link(chain.map(|(before, _)| before)),
                chain_after: link(chain.map(|(_, after)| after)),
                events: batch.events,
                losses,
                checkpoint,
                ..self.batch(&mark.numbering)
            };
            if let Some(permit) = permits.next() {
                permit.send(batch);
            }
            self.counters.sent.add(mark.count);
            session.in_flight.push_back(mark);
        }
        Ok(())
    }

    /// Moves the cursor. Batches are acknowledged in order, so only the oldest ones are looked at.
    fn acknowledged(&mut self, acknowledgement: &v1::Acknowledgement, session: &mut Session) -> io::Result<()> {
        let mut newest = None;
        let covered = |mark: &Acknowledged| {
            mark.numbering.boot_id == acknowledgement.boot_id
                && mark.numbering.spool_id == acknowledgement.spool_id
                && mark.last <= acknowledgement.sequence
        };
        while let Some(mark) = session.in_flight.pop_front_if(|mark| covered(mark)) {
            self.counters.acked.add(mark.count);
            newest = Some(mark);
        }
        if acknowledgement.contradicted {
            let v1::Acknowledgement { boot_id, spool_id, sequence, .. } = acknowledgement;
            tracing::error!(
                boot = boot_id,
                spool = spool_id,
                sequence,
                "the collector has other events under these numbers and put these aside; a new numbering begins"
            );
            self.spool.disown(boot_id, spool_id);
        }
        let Some(mark) = newest else { return Ok(()) };
        session.progress = Instant::now();
        self.delay = FIRST_DELAY;
        self.spool.acknowledge(&mark)?;
        self.counters.spool_bytes.set(self.spool.bytes());
        Ok(())
    }

    /// Sends a checkpoint of what was sent last, if that is not signed. If there is no room for it, the next one tells more.
    fn sign(&self, session: &mut Session) -> Result<(), SessionError> {
        let Some(tip) = session.checkpoints.unsigned_tip().cloned() else { return Ok(()) };
        let Ok(permit) = session.outbound.try_reserve() else { return session.check() };
        permit.send(self.signed(&tip, &mut session.checkpoints)?);
        Ok(())
    }

    /// A batch with nothing but the checkpoint of the tip.
    fn signed(&self, tip: &Tip, checkpoints: &mut Checkpoints) -> Result<v1::EventBatch, SessionError> {
        let mut batch = self.batch(&tip.numbering);
        if let Some(node) = batch.node.clone() {
            batch.checkpoint = checkpoints.sign(node, self.ledger.lost_stretches())?;
        }
        Ok(batch)
    }

    /// An empty batch of a numbering.
    fn batch(&self, numbering: &Numbering) -> v1::EventBatch {
        let node = v1::Node {
            name: self.node.name.clone(),
            boot_id: numbering.boot_id.clone(),
            spool_id: numbering.spool_id.clone(),
        };
        v1::EventBatch { node: Some(node), agent_version: self.agent_version.clone(), ..v1::EventBatch::default() }
    }

    /// Tells the losses. If there is no room for it, the next one tells them.
    fn heartbeat(&self, session: &Session) -> Result<(), SessionError> {
        let batch = v1::EventBatch { losses: self.ledger.report(), ..self.batch(&self.spool.numbering()) };
        match session.outbound.try_send(batch) {
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(SessionError::Closed),
        }
    }
}

impl Session {
    fn check(&self) -> Result<(), SessionError> {
        if self.outbound.is_closed() { Err(SessionError::Closed) } else { Ok(()) }
    }
}

async fn open(
    endpoint: Endpoint,
    batches: mpsc::Receiver<v1::EventBatch>,
) -> Result<(Streaming<v1::Acknowledgement>, Option<Signer>), SessionError> {
    let (channel, signer) = endpoint.connect().await?;
    let mut client = CollectorClient::new(channel);
    let opened = timeout(PATIENCE, client.stream(ReceiverStream::new(batches))).await;
    let Ok(response) = opened else { return Err(SessionError::Silent) };
    Ok((response?.into_inner(), signer))
}

/// Waits before the next try; not if nothing more will come, then there is one last try at once.
async fn wait(delay: Duration, closing: &mut Closing) -> Next {
    let until = Instant::now() + delay;
    loop {
        tokio::select! {
            () = sleep_until(until) => return Next::GoOn,
            next = closing.changed() => if closing.complete || next == Next::GiveUp { return next },
        }
    }
}

/// Between half and all of `delay`, so that a thousand agents do not come back to a restarted collector at once.
fn jittered(delay: Duration) -> Duration {
    let random = RandomState::new().hash_one(0) % 512;
    delay.mul_f64(0.5 + f64::from(u16::try_from(random).unwrap_or(0)) / 1024.0)
}
