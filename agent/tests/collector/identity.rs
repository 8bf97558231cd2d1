//! Who may write whose events, with real TLS from the exporter to the collector.

use std::{fs, path::Path, time::Duration};

use plimsoll_agent::{
    config::Tls,
    exporter::{Endpoint, Exporter, ExporterConfig, ExporterHandle},
};
use plimsoll_collector::{config, server::Server};
use rcgen::SanType;
use tempfile::TempDir;
use tokio::sync::watch;

use crate::{
    authority::Authority,
    harness::{deny, metric, within},
};

pub(crate) const LONG: Duration = Duration::from_hours(1);
pub(crate) const OWN: &str = "spiffe://nodes.example/plimsoll/node/node-1";

pub(crate) struct Site {
    pub(crate) directory: TempDir,
    pub(crate) authority: Authority,
    pub(crate) server: Server,
}

fn server_files(directory: &Path, authority: &Authority) -> config::Tls {
    let tls = config::Tls {
        certificate: directory.join("server.pem"),
        key: directory.join("server.key"),
        trust_domains: [("nodes.example".to_owned(), directory.join("ca.pem"))].into(),
        revocation_lists: Vec::new(),
    };
    fs::write(directory.join("ca.pem"), &authority.pem).unwrap();
    authority.issue(&tls.certificate, &tls.key, SanType::DnsName("localhost".try_into().unwrap()), LONG);
    tls
}

impl Site {
    /// A collector on every address of this machine.
    pub(crate) async fn start() -> Self {
        let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new());
        let config = config::Config {
            grpc: "0.0.0.0:0".parse().unwrap(),
            http: "127.0.0.1:0".parse().unwrap(),
            database: directory.path().join("events.db"),
            tls: Some(server_files(directory.path(), &authority)),
            ..config::Config::default()
        };
        Self { server: Server::start(config).await.unwrap(), directory, authority }
    }

    pub(crate) fn files(&self, name: &str) -> Tls {
        let path = |end: &str| self.directory.path().join(format!("{name}.{end}"));
        Tls { ca: self.directory.path().join("ca.pem"), certificate: path("pem"), key: path("key") }
    }

    pub(crate) fn agent(&self, tls: Tls, spool: &str) -> (ExporterHandle, watch::Sender<()>) {
        let endpoint =
            Endpoint { address: format!("https://localhost:{}", self.server.grpc_address().port()), tls: Some(tls) };
        self.exporter(Some(endpoint), spool)
    }

    pub(crate) fn agent_without_collector(&self, spool: &str) -> (ExporterHandle, watch::Sender<()>) {
        self.exporter(None, spool)
    }

    fn exporter(&self, endpoint: Option<Endpoint>, spool: &str) -> (ExporterHandle, watch::Sender<()>) {
        let (stop, stopped) = watch::channel(());
        let config = ExporterConfig {
            node: "node-1".to_owned(),
            boot_id: "boot".to_owned(),
            agent_version: "0.1.0".to_owned(),
            directory: self.directory.path().join(spool),
            spool_key: self.directory.path().join(format!("{spool}.keys")),
            spool_bytes: 8 << 20,
            endpoint,
        };
        (Exporter::start(config, stopped).unwrap().0, stop)
    }

    pub(crate) async fn metric(&self, name: &str) -> u64 {
        metric(&self.server, name).await
    }

    pub(crate) async fn until(&self, name: &str, least: u64) {
        within(async {
            let mut polls = tokio::time::interval(Duration::from_millis(10));
            while self.metric(name).await < least {
                polls.tick().await;
            }
        })
        .await;
    }
}

pub(crate) fn submit(agent: &ExporterHandle) {
    agent.submit(deny(0, 1, "/tmp/x")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_writes_its_own_events_and_nobody_elses() {
    let site = Site::start().await;
    let own = site.files("own");
    site.authority.node(&own, OWN, LONG);
    let (agent, _stop) = site.agent(own, "own");
    submit(&agent);
    site.until("events_stored_total", 1).await;

    let other = site.files("other");
    site.authority.node(&other, "spiffe://nodes.example/plimsoll/node/node-2", LONG);
    let (agent, _stop) = site.agent(other, "other");
    submit(&agent);
    site.until("batches_refused_total{reason=\"other-node\"}", 1).await;
    assert_eq!(site.metric("events_stored_total").await, 1);
    within(site.server.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_prove_nothing_are_refused_by_reason() {
    let site = Site::start().await;
    let stranger = Authority::new();
    for (name, authority, id, lives, reason) in [
        ("domain", &site.authority, "spiffe://elsewhere.example/plimsoll/node/node-1", LONG, "trust-domain"),
        ("expired", &site.authority, OWN, Duration::ZERO, "expired"),
        ("stranger", &stranger, OWN, LONG, "unknown-authority"),
        ("workload", &site.authority, "spiffe://nodes.example/ns/shop/sa/web", LONG, "identity"),
    ] {
        let tls = site.files(name);
        authority.node(&tls, id, lives);
        let (agent, _stop) = site.agent(tls, name);
        submit(&agent);
        site.until(&format!("connections_refused_total{{reason=\"{reason}\"}}"), 1).await;
    }
    assert_eq!((site.metric("events_stored_total").await, site.metric("streams").await), (0, 0));
    within(site.server.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_tls_or_certificate_is_refused() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let site = Site::start().await;
    let address = ("127.0.0.1", site.server.grpc_address().port());
    let mut plain = tokio::net::TcpStream::connect(address).await.unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // What comes is an alert or a reset, never HTTP/2.
    let ended = within(plain.read_to_end(&mut answer)).await;
    assert!(ended.is_err() || answer.len() < 16, "{answer:?}");
    site.until("connections_refused_total{reason=\"protocol\"}", 1).await;

    let ca = tonic::transport::Certificate::from_pem(&site.authority.pem);
    let tls = tonic::transport::ClientTlsConfig::new().ca_certificate(ca).domain_name("localhost");
    let endpoint = format!("https://127.0.0.1:{}", address.1);
    let channel = tonic::transport::Endpoint::from_shared(endpoint).unwrap().tls_config(tls).unwrap().connect_lazy();
    let client = plimsoll_proto::v1::collector_client::CollectorClient::new(channel);
    assert!(crate::harness::Stream::open(client).await.is_err());
    site.until("connections_refused_total{reason=\"no-certificate\"}", 1).await;
    within(site.server.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_both_sides_change_while_events_flow() {
    let site = Site::start().await;
    let next = Authority::new();
    let own = Tls { ca: site.directory.path().join("both.pem"), ..site.files("own") };
    fs::write(&own.ca, format!("{}{}", site.authority.pem, next.pem)).unwrap();
    site.authority.node(&own, OWN, LONG);
    let (agent, _stop) = site.agent(own.clone(), "own");
    submit(&agent);
    site.until("events_stored_total", 1).await;
    site.authority.node(&own, OWN, LONG);
    within(async {
        let mut polls = tokio::time::interval(Duration::from_millis(10));
        while agent.snapshot().renewals == 0 {
            submit(&agent);
            polls.tick().await;
        }
    })
    .await;
    // Another authority: the old certificate is no longer believed, in the stream that is open too.
    server_files(site.directory.path(), &next);
    site.until("batches_refused_total{reason=\"certificate\"}", 1).await;
    next.node(&own, OWN, LONG);
    submit(&agent);
    within(async {
        let mut polls = tokio::time::interval(Duration::from_millis(10));
        while agent.snapshot().acked < agent.snapshot().spooled || agent.snapshot().queued > 0 {
            polls.tick().await;
        }
    })
    .await;
    let sent = agent.finish().await;
    assert_eq!(sent.acked, sent.spooled);
    assert_eq!(site.metric("events_stored_total").await, sent.spooled);
    assert_eq!(site.metric("events_missing_total").await, 0);
    within(site.server.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_certificate_does() {
    let site = Site::start().await;
    let own = site.files("own");
    site.authority.node(&own, OWN, Duration::from_secs(4));
    let (agent, _stop) = site.agent(own, "own");
    submit(&agent);
    site.until("events_stored_total", 1).await;
    site.until("batches_refused_total{reason=\"certificate\"}", 1).await;
    site.until("connections_refused_total{reason=\"expired\"}", 1).await;
    within(site.server.stop()).await.unwrap();
}
