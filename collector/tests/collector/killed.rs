//! A collector in a process of its own, killed while its output delivers.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use axum::{http::StatusCode, response::IntoResponse as _};
use plimsoll_proto::v1::collector_client::CollectorClient;

use crate::{
    harness::{Stream, batch, event},
    receiver::{Receiver, SECRET},
};

const EVENTS: u64 = 200;

struct Process {
    child: Child,
    grpc: SocketAddr,
}

impl Process {
    fn start(config: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll-collector"));
        command.arg("--config").arg(config).env("RUST_LOG", "info").stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let started = lines.find(|line| line.contains("the collector runs")).expect("it does not start");
        let line: serde_json::Value = serde_json::from_str(&started).unwrap();
        let grpc = line["fields"]["grpc"].as_str().unwrap().parse().unwrap();
        // Whoever writes to a closed pipe ends.
        std::thread::spawn(move || lines.count());
        Self { child, grpc }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test]
async fn a_killed_collector_delivers_the_rest_in_order() {
    // Of what a stopped collector had not written down, up to one delivery comes again.
    let receiver = Receiver::answering(|count, _body| match count % 3 {
        1 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        _ => StatusCode::OK.into_response(),
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let (secret, config) = (directory.path().join("secret"), directory.path().join("collector.yaml"));
    std::fs::write(&secret, SECRET).unwrap();
    let text = format!(
        "{{ grpc: '127.0.0.1:0', http: '127.0.0.1:0', database: '{}', outputs: {{ siem: {{ batch: 5,
           retry: {{ initial: 5ms, max: 20ms }}, webhook: {{ url: 'http://{}/', secret: '{}' }} }} }} }}",
        directory.path().join("events.db").display(),
        receiver.address,
        secret.display()
    );
    std::fs::write(&config, text).unwrap();
    let mut collector = Process::start(&config);
    let client = CollectorClient::connect(format!("http://{}", collector.grpc)).await.unwrap();
    let mut stream = Stream::open(client).await.unwrap();
    stream.send(batch("a", (1..=EVENTS).map(|n| event(n, n)))).await.unwrap();
    for kills in 1..=3 {
        receiver.until(|all| all.len() >= kills * 8).await;
        collector.kill();
        collector = Process::start(&config);
    }
    receiver.until(|_all| receiver.sequences().last() == Some(&EVENTS)).await;
    collector.kill();
    let found = receiver.sequences();
    let mut furthest = 0;
    for sequence in &found {
        assert!(*sequence <= furthest + 1, "{sequence} came before {}: {found:?}", furthest + 1);
        furthest = furthest.max(*sequence);
    }
    assert_eq!(furthest, EVENTS);
    assert!(found.len() as u64 <= EVENTS + 3 * 5, "{} events for {EVENTS}", found.len());
}
