//! Who may send events over the network.

use std::{path::Path, process::Command};

use plimsoll_collector::{config::Tls, server::Server};
use plimsoll_proto::v1::collector_client::CollectorClient;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::harness::{Harness, Stream, batch, event, within};

fn openssl(directory: &Path, arguments: &str) {
    let output = Command::new("openssl").current_dir(directory).args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An authority, a certificate for `localhost` and one for a client, each with its key.
fn certificates(directory: &Path) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    openssl(directory, &format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=authority"));
    for (name, subject) in [("server", "localhost"), ("client", "node-a")] {
        openssl(
            directory,
            &format!(
                "req -x509 {key} -keyout {name}.key -out {name}.pem -subj /CN={subject} -CA ca.pem -CAkey ca.key \
             -addext subjectAltName=DNS:{subject} -addext basicConstraints=critical,CA:FALSE"
            ),
        );
    }
}

#[tokio::test]
async fn agents_without_a_certificate_are_turned_away() {
    let directory = tempfile::tempdir().unwrap();
    certificates(directory.path());
    let path = |name: &str| directory.path().join(name);
    let read = |name: &str| std::fs::read(path(name)).unwrap();
    let harness = Harness::start().await;
    let mut config = harness.config();
    config.grpc = "0.0.0.0:0".parse().unwrap();
    config.database = path("events.db");
    config.tls = Some(Tls { certificate: path("server.pem"), key: path("server.key"), client_ca: path("ca.pem") });
    let server = Server::start(config).await.unwrap();
    let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{}", server.grpc_address().port())).unwrap();
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read("ca.pem"))).domain_name("localhost");

    let anonymous = endpoint.clone().tls_config(tls.clone()).unwrap().connect_lazy();
    let refused = async {
        let mut stream = Stream::open(CollectorClient::new(anonymous)).await?;
        stream.send(batch("a", [event(1, 1)])).await
    };
    refused.await.unwrap_err();

    let identity = Identity::from_pem(read("client.pem"), read("client.key"));
    let known = endpoint.tls_config(tls.identity(identity)).unwrap().connect_lazy();
    let mut stream = Stream::open(CollectorClient::new(known)).await.unwrap();
    assert_eq!(stream.send(batch("a", [event(1, 1)])).await.unwrap().sequence, 1);
    within(server.stop()).await.unwrap();
    harness.stop().await;
}
