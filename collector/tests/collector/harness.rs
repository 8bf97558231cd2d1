//! A collector in this process on free ports, and a client of each of its two sides.

use std::{future::Future, net::SocketAddr, path::PathBuf, time::Duration};

use plimsoll_collector::{config::Config, server::Server};
use plimsoll_proto::v1::{self, collector_client::CollectorClient};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("the deadline passed")
}

pub(crate) struct Harness {
    server: Option<Server>,
    directory: tempfile::TempDir,
    change: Box<dyn Fn(&mut Config) + Send>,
}

impl Harness {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_config| {}).await
    }

    pub(crate) async fn start_with(change: impl Fn(&mut Config) + Send + 'static) -> Self {
        let change = Box::new(change);
        let mut harness = Self { server: None, directory: tempfile::tempdir().unwrap(), change };
        harness.restart().await;
        harness
    }

    /// Starts with the files that another one left.
    pub(crate) async fn adopt(directory: tempfile::TempDir) -> Self {
        let mut harness = Self { server: None, directory, change: Box::new(|_config| {}) };
        harness.restart().await;
        harness
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.directory.path().join("new/events.db")
    }

    pub(crate) fn config(&self) -> Config {
        let any = "127.0.0.1:0".parse().unwrap();
        let mut config = Config { grpc: any, http: any, database: self.database(), ..Config::default() };
        (self.change)(&mut config);
        config
    }

    pub(crate) async fn restart(&mut self) {
        if let Some(server) = self.server.take() {
            within(server.stop()).await.unwrap();
        }
        self.server = Some(Server::start(self.config()).await.unwrap());
    }

    pub(crate) async fn stop(mut self) {
        within(self.server.take().unwrap().stop()).await.unwrap();
    }

    /// Stops the collector, and leaves its files until the directory is dropped.
    pub(crate) async fn stop_and_keep(mut self) -> tempfile::TempDir {
        within(self.server.take().unwrap().stop()).await.unwrap();
        self.directory
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    pub(crate) async fn stream(&self) -> Stream {
        let endpoint = format!("http://{}", self.server().grpc_address());
        Stream::open(CollectorClient::connect(endpoint).await.unwrap()).await.unwrap()
    }

    pub(crate) async fn text(&self, path: &str) -> (u16, String) {
        text(self.server(), path).await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, serde_json::Value) {
        let (status, body) = self.text(path).await;
        (status, serde_json::from_str(&body).unwrap())
    }

    /// A metric's value; 0 if it was never counted.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        metric(self.server(), name).await
    }
}

async fn text(server: &Server, path: &str) -> (u16, String) {
    text_at(server.http_address(), path).await
}

async fn text_at(http: SocketAddr, path: &str) -> (u16, String) {
    within(async {
        let mut connection = TcpStream::connect(http).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("content-length"), "chunked answers are not understood here: {head}");
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    })
    .await
}

/// A metric's value; 0 if it was never counted.
pub(crate) async fn metric(server: &Server, name: &str) -> u64 {
    metric_at(server.http_address(), name).await
}

/// The same of a collector in another process.
pub(crate) async fn metric_at(http: SocketAddr, name: &str) -> u64 {
    let (_, text) = text_at(http, "/metrics").await;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("plimsoll_collector_{name} ")));
    line.map_or(0, |value| value.parse().unwrap())
}

pub(crate) struct Stream {
    pub(crate) batches: mpsc::Sender<v1::EventBatch>,
    pub(crate) answers: Streaming<v1::Acknowledgement>,
}

impl Stream {
    pub(crate) async fn open(client: CollectorClient<Channel>) -> Result<Self, Status> {
        let (batches, outgoing) = mpsc::channel(64);
        let mut client = client.max_encoding_message_size(64 << 20);
        let answers = within(client.stream(ReceiverStream::new(outgoing))).await?.into_inner();
        Ok(Self { batches, answers })
    }

    pub(crate) async fn send(&mut self, batch: v1::EventBatch) -> Result<v1::Acknowledgement, Status> {
        self.batches.send(batch).await.map_err(|_gone| Status::cancelled("the stream ended"))?;
        self.answer().await
    }

    pub(crate) async fn answer(&mut self) -> Result<v1::Acknowledgement, Status> {
        within(self.answers.message()).await.map(|answer| answer.expect("the stream ended without an answer"))
    }
}

pub(crate) fn node(name: &str) -> v1::Node {
    v1::Node { name: name.to_owned(), boot_id: "boot".to_owned(), spool_id: "spool".to_owned() }
}

pub(crate) fn batch(name: &str, events: impl IntoIterator<Item = v1::Event>) -> v1::EventBatch {
    v1::EventBatch {
        node: Some(node(name)),
        agent_version: "0.1.0".to_owned(),
        events: events.into_iter().map(|event| event.encode_to_vec().into()).collect(),
        ..v1::EventBatch::default()
    }
}

/// An event of an untouched file, at a time in seconds.
pub(crate) fn event(sequence: u64, seconds: u64) -> v1::Event {
    deny(sequence, seconds, "/usr/bin/ls")
}

pub(crate) fn deny(sequence: u64, seconds: u64, path: &str) -> v1::Event {
    let text = str::to_owned;
    v1::Event {
        sequence,
        kernel_sequence: 9,
        time_unix_ns: seconds * 1_000_000_000,
        verdict: v1::Verdict::Deny.into(),
        reason: v1::Reason::NotListed.into(),
        hook: v1::Hook::Exec.into(),
        process: Some(v1::Process {
            tgid: 10,
            tid: 11,
            uid: 12,
            comm: text("sh"),
            ancestors: vec![v1::Ancestor { tgid: 1, comm: text("init") }],
        }),
        file: Some(v1::File {
            path: text(path),
            path_raw: vec![0xff, 0],
            dev: 8,
            ino: u64::MAX,
            size: 3,
            origin: v1::Origin::Dropped.into(),
            ..Default::default()
        }),
        package: Some(v1::Package {
            name: text("coreutils"),
            version: text("9.1"),
            purl: text("pkg:deb/debian/coreutils@9.1"),
        }),
        evidence: text("package-digest"),
        sbom_digest: text("sha256:cc"),
        image: Some(v1::Image { digest: text("sha256:aa"), reference: text("shop/web:1") }),
        workload: Some(v1::Workload {
            id: text("w1"),
            namespace: text("shop"),
            labels: [(text("app"), text("web"))].into(),
            cgroup: 77,
            pod: text("web-0"),
            pod_uid: text("u1"),
            container: text("web"),
            owner: Some(v1::Owner { kind: text("StatefulSet"), name: text("web") }),
            service_account: text("web"),
        }),
        policy: Some(v1::Policy {
            name: text("shop"),
            generation: text("g1"),
            rule: String::new(),
            authority: text("cluster"),
        }),
        mode: v1::Mode::Enforce.into(),
        network: None,
        operation: String::new(),
        cloud: Some(v1::Cloud { provider: text("gcp"), region: text("europe-west3"), ..v1::Cloud::default() }),
    }
}
