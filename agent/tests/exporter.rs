//! The exporter against a collector that drops connections, restarts, and is slow to acknowledge.
#![expect(clippy::unwrap_used, reason = "a test's own servers and helpers fail by panicking")]

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use plimsoll_agent::exporter::{
    Dropped, Endpoint, Exporter, ExporterConfig, ExporterError, ExporterHandle, KernelLosses,
};
use plimsoll_proto::{
    limits,
    v1::{
        self, Acknowledgement, EventBatch, LossCause,
        collector_server::{Collector, CollectorServer},
    },
};
use prost::Message as _;
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::Runtime,
    sync::{mpsc, watch},
};
use tokio_stream::{
    Stream,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tonic::{Request, Response, Status, Streaming};

const DEADLINE: Duration = Duration::from_secs(30);

/// What a collector keeps over restarts.
#[derive(Debug, Default)]
struct Stored {
    /// Path by (boot id, spool id, sequence).
    events: BTreeMap<(String, String, u64), String>,
    /// Keys in the order of their first arrival.
    order: Vec<(String, String, u64)>,
    losses: BTreeMap<i32, u64>,
    streams: u64,
    repeated: u64,
}

impl Stored {
    fn take(&mut self, batch: &EventBatch) {
        let node = batch.node.clone().unwrap();
        assert_eq!(node.name, "node-1");
        for event in &batch.events {
            let event = v1::Event::decode(event.clone()).unwrap();
            let key = (node.boot_id.clone(), node.spool_id.clone(), event.sequence);
            let path = event.file.unwrap().path;
            if let Some(known) = self.events.get(&key) {
                // The same number must mean the same event, for ever.
                assert_eq!(known, &path);
                self.repeated += 1;
            } else {
                self.events.insert(key.clone(), path);
                self.order.push(key);
            }
        }
        self.losses.extend(batch.losses.iter().map(|loss| (loss.cause, loss.count)));
    }
}

#[derive(Clone, Debug)]
struct Fake {
    stored: Arc<Mutex<Stored>>,
    /// Batches with events that a stream takes before it breaks off.
    breaks_after: usize,
    /// Acknowledgements are held back until more than this many wait, or a heartbeat comes. Fewer than `breaks_after`,
    /// or nothing would ever be acknowledged.
    lag: usize,
}

#[tonic::async_trait]
impl Collector for Fake {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<Acknowledgement, Status>> + Send>>;

    async fn stream(&self, request: Request<Streaming<EventBatch>>) -> Result<Response<Self::StreamStream>, Status> {
        let (answers, stream) = mpsc::channel(64);
        self.stored.lock().unwrap().streams += 1;
        tokio::spawn(self.clone().receive(request.into_inner(), answers));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

impl Fake {
    async fn receive(self, mut batches: Streaming<EventBatch>, answers: mpsc::Sender<Result<Acknowledgement, Status>>) {
        let (mut late, mut taken) = (Vec::new(), 0);
        while let Ok(Some(batch)) = batches.message().await {
            self.stored.lock().unwrap().take(&batch);
            let node = batch.node.unwrap();
            let is_heartbeat = batch.events.is_empty();
            if let Some(last) = batch.events.last() {
                late.push(Acknowledgement {
                    boot_id: node.boot_id,
                    spool_id: node.spool_id,
                    sequence: v1::Event::decode(last.clone()).unwrap().sequence,
                    ..Acknowledgement::default()
                });
                taken += 1;
            }
            if taken == self.breaks_after {
                // Stored, and never acknowledged.
                return;
            }
            if late.len() > self.lag || is_heartbeat {
                for answer in late.drain(..) {
                    if answers.send(Ok(answer)).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// A collector with a runtime of its own, so that stopping it cuts every connection at once, as a kill would.
struct Server {
    address: SocketAddr,
    runtime: Runtime,
}

impl Server {
    async fn start(fake: Fake, address: Option<SocketAddr>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut bound = None;
        // The one before may not have let go of the port yet.
        until("the port", || {
            let _inside = runtime.enter();
            bound = listen(address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))).ok();
            bound.is_some()
        })
        .await;
        let listener = bound.unwrap();
        let address = listener.local_addr().unwrap();
        let service = CollectorServer::new(fake).max_decoding_message_size(limits::BATCH_BYTES);
        let server = tonic::transport::Server::builder().add_service(service);
        runtime.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { address, runtime }
    }

    fn stop(self) {
        self.runtime.shutdown_background();
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(16)
}

fn config(directory: &Path, address: SocketAddr) -> ExporterConfig {
    ExporterConfig {
        node: "node-1".to_owned(),
        boot_id: "boot-1".to_owned(),
        agent_version: "0.0.0".to_owned(),
        directory: directory.to_owned(),
        spool_key: directory.join("keys"),
        spool_bytes: 8 << 20,
        endpoint: Some(Endpoint { address: format!("http://{address}"), tls: None }),
    }
}

fn event(path: String) -> v1::Event {
    v1::Event { file: Some(v1::File { path, ..v1::File::default() }), ..v1::Event::default() }
}

async fn submit(exporter: &ExporterHandle, paths: std::ops::Range<u32>) {
    for n in paths {
        let deadline = Instant::now() + DEADLINE;
        while let Err(error) = exporter.submit(event(format!("/event/{n}"))) {
            assert_eq!(error, Dropped::QueueFull);
            assert!(Instant::now() < deadline);
            tokio::task::yield_now().await;
        }
    }
}

async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    let mut polls = tokio::time::interval(Duration::from_millis(5));
    while !reached() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        polls.tick().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_arrives_once_in_order_over_restarts_of_both_sides() {
    let directory = tempfile::tempdir().unwrap();
    let fake = Fake { stored: Arc::default(), breaks_after: usize::MAX, lag: 1 };
    let count = || fake.stored.lock().unwrap().events.len();
    // Stores the first batch of every stream and breaks off, so that batch must come again.
    let mut server = Server::start(Fake { breaks_after: 1, ..fake.clone() }, None).await;
    let (stop, stopped) = watch::channel(());
    let (exporter, _) = Exporter::start(config(directory.path(), server.address), stopped).unwrap();
    submit(&exporter, 0..500).await;
    until("the first events", || count() > 0).await;
    for restart in 1..=3 {
        let address = server.address;
        server.stop();
        submit(&exporter, restart * 500..(restart + 1) * 500).await;
        let breaks_after = if restart == 3 { usize::MAX } else { 3 };
        server = Server::start(Fake { breaks_after, ..fake.clone() }, Some(address)).await;
        let expected = 500 * (restart as usize + 1);
        until("the events of a restart", || count() >= expected).await;
    }
    submit(&exporter, 2000..2500).await;
    drop(stop);
    let first = exporter.finish().await;
    assert_eq!((first.spooled, first.spool_full, first.spool_error, first.spool_corrupt), (2500, 0, 0, 0));
    assert_eq!(first.acked, 2500);

    let (_stop, stopped) = watch::channel(());
    let (again, metrics) = Exporter::start(config(directory.path(), server.address), stopped).unwrap();
    submit(&again, 2500..3000).await;
    until("the events after the exporter's restart", || metrics.snapshot().acked == 500).await;
    again.finish().await;
    server.stop();

    let stored = fake.stored.lock().unwrap();
    let numbers: Vec<_> = stored.order.iter().map(|(_, _, number)| *number).collect();
    assert_eq!(numbers, (1..=3000).collect::<Vec<_>>());
    assert!(stored.order.iter().all(|(boot, spool, _)| boot == "boot-1" && *spool == stored.order[0].1));
    let paths: Vec<_> = stored.order.iter().map(|key| stored.events[key].clone()).collect();
    assert_eq!(paths, (0..3000).map(|n| format!("/event/{n}")).collect::<Vec<_>>());
    assert!(stored.streams >= 5, "{} streams", stored.streams);
    assert!(stored.repeated > 0, "what was stored and not acknowledged did not come again");
}

#[tokio::test(flavor = "multi_thread")]
async fn losses_are_counted_and_told() {
    let directory = tempfile::tempdir().unwrap();
    let fake = Fake { stored: Arc::default(), breaks_after: usize::MAX, lag: 0 };
    let server = Server::start(fake.clone(), None).await;
    let (_stop, stopped) = watch::channel(());
    let (exporter, _) = Exporter::start(config(directory.path(), server.address), stopped).unwrap();
    let refused = exporter.submit(event("x".repeat(limits::EVENT_BYTES)));
    assert!(matches!(refused, Err(Dropped::Oversized { .. })));
    exporter.losses(KernelLosses { denial_ring: 7, telemetry_ring: 8, rings_since_unix_ns: 1, undecodable: 9 });
    let told = |cause: LossCause| fake.stored.lock().unwrap().losses.get(&i32::from(cause)).copied();
    until("all losses", || {
        let causes = [LossCause::Oversized, LossCause::DenialRing, LossCause::TelemetryRing, LossCause::Undecodable];
        causes.map(told) == [Some(1), Some(7), Some(8), Some(9)]
    })
    .await;
    assert_eq!(told(LossCause::SpoolFull), Some(0));
    exporter.finish().await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_events_are_kept_up_to_the_bound_and_the_rest_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (stop, stopped) = watch::channel(());
    let mut config = config(directory.path(), nobody);
    config.spool_bytes = 1 << 20;
    let (exporter, _) = Exporter::start(config.clone(), stopped).unwrap();
    let refused: u64 =
        (0..500).map(|n| u64::from(exporter.submit(event(format!("/{n}{}", "x".repeat(10_000)))).is_err())).sum();
    drop(stop);
    let counted = exporter.finish().await;
    assert_eq!(counted.queue_full, refused);
    assert_eq!(counted.spooled + counted.spool_full + refused, 500);
    assert!(counted.spool_full > 0 && counted.spooled > 50 && counted.acked == 0, "{counted:?}");
    assert_eq!((counted.queued, counted.queued_bytes), (0, 0));

    let fake = Fake { stored: Arc::default(), breaks_after: usize::MAX, lag: 0 };
    let server = Server::start(fake.clone(), None).await;
    config.endpoint = Some(Endpoint { address: format!("http://{}", server.address), tls: None });
    let (_stop, stopped) = watch::channel(());
    let (again, _) = Exporter::start(config, stopped).unwrap();
    until("what was kept", || fake.stored.lock().unwrap().events.len() as u64 == counted.spooled).await;
    let told = || fake.stored.lock().unwrap().losses.get(&LossCause::SpoolFull.into()).copied();
    until("losses of the earlier run", || told() == Some(counted.spool_full)).await;
    let finished = again.finish().await;
    assert_eq!(finished.acked, counted.spooled);
    server.stop();
}

#[tokio::test]
async fn events_never_leave_the_machine_in_the_clear() {
    let directory = tempfile::tempdir().unwrap();
    let (_stop, stopped) = watch::channel(());
    let config = config(directory.path(), SocketAddr::from(([192, 0, 2, 1], 1)));
    let error = Exporter::start(config, stopped).unwrap_err();
    assert!(matches!(error, ExporterError::Endpoint(_)));
    assert!(error.to_string().contains("unencrypted"), "{error}");
}
