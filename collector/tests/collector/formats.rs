//! What outputs write is what others read: rsyslog's daemon, OpenTelemetry's own messages, lines of OCSF.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command},
    sync::{Arc, Mutex},
};

use opentelemetry_proto::tonic::{
    collector::logs::v1::{
        ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
        logs_service_server::{LogsService, LogsServiceServer},
    },
    common::v1::any_value::Value as Any,
    logs::v1::LogRecord,
};
use plimsoll_collector::config::outputs::Output;
use plimsoll_proto::v1;
use prost::Message as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::{
    harness::{Harness, batch, deny, event, within},
    receiver::{Receiver, output, until},
};

async fn harness(output: Output) -> Harness {
    Harness::start_with(move |config| drop(config.outputs.insert("out".to_owned(), output.clone()))).await
}

/// Debian's rsyslogd on a free port of loopback, ended when dropped.
struct Rsyslog {
    daemon: Child,
    directory: TempDir,
    port: u16,
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
    }
}

impl Rsyslog {
    async fn start(tls: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().display();
        let (mut global, mut module) = (String::new(), "module(load=\"imtcp\"".to_owned());
        if tls {
            let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
            fs::write(directory.path().join("tls.crt"), made.cert.pem()).unwrap();
            fs::write(directory.path().join("tls.key"), made.signing_key.serialize_pem()).unwrap();
            global = format!(
                "defaultNetstreamDriver=\"gtls\" defaultNetstreamDriverCAFile=\"{folder}/tls.crt\"
                 defaultNetstreamDriverCertFile=\"{folder}/tls.crt\" defaultNetstreamDriverKeyFile=\"{folder}/tls.key\""
            );
            module.push_str(" StreamDriver.Name=\"gtls\" StreamDriver.Mode=\"1\" StreamDriver.AuthMode=\"anon\"");
        }
        let config = format!(
            "global(workDirectory=\"{folder}\" maxMessageSize=\"64k\" {global})
             {module})
             $EscapeControlCharactersOnReceive off
             template(name=\"read\" type=\"string\" string=\"%pri% %timestamp:::date-rfc3339% %hostname% %app-name% %msg%\\n\")
             input(type=\"imtcp\" address=\"127.0.0.1\" port=\"0\" listenPortFileName=\"{folder}/port\")
             action(type=\"omfile\" file=\"{folder}/received\" template=\"read\")\n"
        );
        let path = directory.path().join("rsyslog.conf");
        fs::write(&path, config).unwrap();
        let mut command = Command::new("/usr/sbin/rsyslogd");
        command.args(["-n", "-i"]).arg(directory.path().join("pid")).arg("-f").arg(&path);
        let daemon = command.spawn().expect("rsyslogd is not installed: cargo xtask setup");
        let port_file = directory.path().join("port");
        let port = || fs::read_to_string(&port_file).ok().and_then(|text| text.trim().parse().ok());
        until(|| port().is_some()).await;
        let port = port().unwrap();
        Self { daemon, directory, port }
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    async fn lines(&self, count: usize) -> Vec<String> {
        let read = || fs::read_to_string(self.file("received")).unwrap_or_default();
        until(|| read().lines().count() >= count).await;
        read().lines().map(str::to_owned).collect()
    }
}

async fn rsyslog_reads(tls: bool) {
    let rsyslog = Rsyslog::start(tls).await;
    let ca = if tls { format!(", ca: '{}'", rsyslog.file("tls.crt").display()) } else { String::new() };
    let harness = harness(output(&format!("cef: {{ address: '127.0.0.1:{}'{ca} }}", rsyslog.port))).await;
    let hostile = "/tmp/a\n<34>1 - forged - - - -\r=|\\\u{1b}[2J\u{fc}";
    let events = [event(1, 1_700_000_000), deny(2, 1_700_000_001, hostile)];
    harness.stream().await.send(batch("node-1", events)).await.unwrap();
    let many = (3..=60).map(|n| deny(n, 1_700_000_002, &format!("/{}", "x".repeat(2000))));
    harness.stream().await.send(batch("node-1", many)).await.unwrap();
    let lines = rsyslog.lines(60).await;
    assert_eq!(lines.len(), 60, "a message is a line");
    assert!(lines[0].starts_with("84 2023-11-14T22:13:20Z node-1 plimsoll CEF:0|Plimsoll|"), "{}", lines[0]);
    assert!(lines[0].contains(" cs5Label=package cs5=pkg:deb/debian/coreutils@9.1"), "{}", lines[0]);
    let path = "filePath=/tmp/a\\n<34>1 - forged - - - -\\r\\=|\\\\\u{fffd}[2J\u{fc} ";
    assert!(lines[1].contains(path), "{}", lines[1]);
    for (line, sequence) in lines.iter().zip(1..) {
        assert!(line.contains(&format!(" externalId=node-1/boot/spool/{sequence} ")), "{sequence}: {line}");
    }
    harness.stop().await;
}

#[tokio::test]
async fn rsyslog_reads_cef_over_tcp() {
    rsyslog_reads(false).await;
}

#[tokio::test]
async fn rsyslog_reads_cef_over_tls() {
    rsyslog_reads(true).await;
}

/// OpenTelemetry's service, made from its own protobufs. It rejects what has `/poison` in it.
#[derive(Clone, Default)]
struct Logs(Arc<Mutex<Vec<ExportLogsServiceRequest>>>);

#[tonic::async_trait]
impl LogsService for Logs {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let token = request.metadata().get("authorization").map(|token| token.to_str().unwrap().to_owned());
        assert_eq!(token.as_deref(), Some("Bearer t0ken"));
        let request = request.into_inner();
        let mut response = ExportLogsServiceResponse::default();
        if records(&request).iter().any(|record| text(record, "file.path") == Some("/poison")) {
            let error_message = "no".to_owned();
            response.partial_success = Some(ExportLogsPartialSuccess { rejected_log_records: 1, error_message });
        } else {
            self.0.lock().unwrap().push(request);
        }
        Ok(Response::new(response))
    }
}

fn records(request: &ExportLogsServiceRequest) -> Vec<&LogRecord> {
    let scopes = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
    scopes.flat_map(|scope| &scope.log_records).collect()
}

fn value<'a>(record: &'a LogRecord, key: &str) -> Option<&'a Any> {
    record.attributes.iter().find(|found| found.key == key)?.value.as_ref()?.value.as_ref()
}

fn text<'a>(record: &'a LogRecord, key: &str) -> Option<&'a str> {
    value(record, key).map(|value| if let Any::StringValue(text) = value { text.as_str() } else { "no text" })
}

async fn serve(logs: Logs) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = tonic::transport::Server::builder().add_service(LogsServiceServer::new(logs));
    tokio::spawn(service.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

fn assert_record(record: &LogRecord) {
    assert_eq!((record.time_unix_nano, record.severity_text.as_str()), (5_000_000_000, "DENY"));
    assert_eq!((record.severity_number, record.event_name.as_str()), (17, "plimsoll.decision"));
    assert_eq!(text(record, "file.path"), Some("/tmp/x"));
    assert_eq!(text(record, "container.image.id"), Some("sha256:aa"));
    assert_eq!(value(record, "process.pid"), Some(&Any::IntValue(10)));
    assert_eq!(value(record, "plimsoll.operation"), None, "what the agent does not know is left out");
}

#[tokio::test]
async fn otlp_over_grpc_is_decoded_and_what_is_rejected_is_kept() {
    let logs = Logs::default();
    let address = serve(logs.clone()).await;
    let token = tempfile::NamedTempFile::new().unwrap();
    fs::write(token.path(), "t0ken\n").unwrap();
    let kind = format!("otlp: {{ endpoint: 'http://{address}', token: '{}' }}", token.path().display());
    let harness = harness(output(&kind)).await;
    let events = [deny(1, 5, "/tmp/x"), deny(2, 5, "/poison"), deny(3, 5, "/tmp/x")];
    harness.stream().await.send(batch("a", events)).await.unwrap();
    let (received, resource) = within(async {
        loop {
            let (_, answer) = harness.get("/v1/outputs").await;
            if answer["outputs"][0]["lag_events"] == 0 {
                let requests = logs.0.lock().unwrap().clone();
                let found = requests.iter().flat_map(records).cloned().collect::<Vec<_>>();
                return (found, requests[0].resource_logs[0].resource.clone().unwrap());
            }
        }
    })
    .await;
    received.iter().for_each(assert_record);
    let sequences: Vec<_> = received.iter().map(|record| value(record, "plimsoll.sequence").unwrap().clone()).collect();
    assert_eq!(sequences, [Any::IntValue(1), Any::IntValue(3)]);
    assert!(resource.attributes.iter().any(|found| found.key == "host.name"));
    let (_, letters) = harness.get("/v1/outputs/out/dead-letters").await;
    assert_eq!(letters["dead_letters"][0]["reason"], "the receiver rejected 1 of 1 records: no");
    harness.stop().await;
}

#[tokio::test]
async fn otlp_over_http_is_decoded() {
    let receiver = Receiver::start().await;
    let harness =
        harness(output(&format!("otlp: {{ endpoint: 'http://{}', protocol: http }}", receiver.address))).await;
    harness.stream().await.send(batch("a", [deny(1, 5, "/tmp/x")])).await.unwrap();
    receiver.until(|all| all.len() == 1).await;
    let delivery = receiver.deliveries().remove(0);
    assert_eq!(delivery.headers["content-type"], "application/x-protobuf");
    let request = ExportLogsServiceRequest::decode(delivery.body).unwrap();
    assert_record(records(&request)[0]);
    harness.stop().await;
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _torn)| whole);
    whole.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[tokio::test]
async fn ocsf_is_a_line_for_each_event_of_the_verdicts_that_are_wanted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.ndjson");
    // Half a line, as a power cut leaves it.
    fs::write(&path, "{\"class_uid\":").unwrap();
    let kind = format!("verdicts: [deny], ocsf: {{ file: '{}' }}", path.display());
    let harness = harness(output(&kind)).await;
    let mut allowed = event(1, 5);
    allowed.verdict = v1::Verdict::Allow.into();
    let mut connected = deny(3, 5, "");
    connected.hook = v1::Hook::Connect.into();
    connected.network = Some(v1::Network { address: "10.0.0.1".to_owned(), port: 443, protocol: "tcp".to_owned() });
    harness.stream().await.send(batch("a", [allowed, deny(2, 5, "/tmp/x"), connected])).await.unwrap();
    until(|| lines(&path).len() == 2).await;
    let found = lines(&path);
    assert_eq!((&found[0]["type_uid"], &found[0]["disposition_id"]), (&json!(100_701), &json!(2)));
    assert_eq!(found[0]["process"]["file"]["path"], "/tmp/x");
    assert_eq!(found[0]["actor"]["process"]["parent_process"], json!({ "pid": 1, "name": "init" }));
    assert_eq!((&found[1]["class_uid"], &found[1]["dst_endpoint"]["port"]), (&json!(4001), &json!(443)));
    harness.stop().await;
}
