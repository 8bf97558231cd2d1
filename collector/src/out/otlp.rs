//! Events as OpenTelemetry's log records, over gRPC or as protobuf over HTTP. docs/outputs.md has the mapping.

use std::{path::PathBuf, time::Duration};

use opentelemetry_proto::tonic::{
    collector::logs::v1::{
        ExportLogsServiceRequest, ExportLogsServiceResponse, logs_service_client::LogsServiceClient,
    },
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber},
    resource::v1::Resource,
};
use prost::Message as _;
use tonic::{
    Code, Request, Status,
    metadata::MetadataValue,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use super::{
    http::{Http, bearer},
    sink::{Failure, SinkError, excerpt},
};
use crate::{
    config::{self, outputs::Protocol},
    event::Event,
    store::Stored,
};

const DEADLINE: Duration = Duration::from_secs(30);
const SCOPE: &str = "plimsoll";

/// One receiver.
pub(super) enum Otlp {
    Grpc { channel: Channel, token: Option<PathBuf> },
    Http(Http),
}

impl Otlp {
    pub(super) fn new(otlp: &config::outputs::Otlp) -> Result<Self, SinkError> {
        if otlp.protocol == Protocol::Http {
            let url = format!("{}/v1/logs", otlp.endpoint.trim_end_matches('/'));
            return Ok(Self::Http(Http::new(&url, otlp.token.clone(), otlp.ca.as_deref())?));
        }
        let tls = |error: tonic::transport::Error| SinkError::Tls(Box::new(error));
        let mut endpoint = Endpoint::from_shared(otlp.endpoint.clone()).map_err(tls)?;
        endpoint = endpoint.timeout(DEADLINE).connect_timeout(DEADLINE);
        if let Some(ca) = &otlp.ca {
            let text = std::fs::read(ca).map_err(|source| SinkError::Secret { path: ca.clone(), source })?;
            let authorities = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(text));
            endpoint = endpoint.tls_config(authorities).map_err(tls)?;
        }
        Ok(Self::Grpc { channel: endpoint.connect_lazy(), token: otlp.token.clone() })
    }

    pub(super) async fn send(&self, events: &[Stored]) -> Result<(), Failure> {
        let request = request(events);
        let response = match self {
            Self::Http(http) => {
                let answer = http.post(request.encode_to_vec(), &[("content-type", "application/x-protobuf")]).await?;
                ExportLogsServiceResponse::decode(answer.as_slice()).map_err(|error| Failure::retry(&error))?
            }
            Self::Grpc { channel, token } => {
                let mut request = Request::new(request);
                if let Some(path) = token {
                    let token = MetadataValue::try_from(bearer(path).await?.as_bytes());
                    let token = token.map_err(|error| Failure::retry(&error))?;
                    request.metadata_mut().insert("authorization", token);
                }
                let mut client = LogsServiceClient::new(channel.clone());
                client.export(request).await.map_err(|status| failure(&status))?.into_inner()
            }
        };
        let rejected = response.partial_success.filter(|partial| partial.rejected_log_records > 0);
        rejected.map_or(Ok(()), |partial| {
            let (count, said) = (partial.rejected_log_records, excerpt(&partial.error_message));
            Err(Failure::Refused {
                error: format!("the receiver rejected {count} of {} records: {said}", events.len()),
            })
        })
    }
}

/// Only what the events themselves are at fault for is final. What the configuration or the receiver is at fault for waits.
fn failure(status: &Status) -> Failure {
    let error = format!("the receiver answered {:?}: {}", status.code(), excerpt(status.message()));
    match status.code() {
        Code::InvalidArgument | Code::OutOfRange => Failure::Refused { error },
        _ => Failure::Retry { after: None, error },
    }
}

/// One resource for each stretch of events of one node, so that the order stays.
fn request(events: &[Stored]) -> ExportLogsServiceRequest {
    let stretches = events.chunk_by(|a, b| a.event.node == b.event.node);
    let resource_logs = stretches.map(|events| ResourceLogs {
        resource: events.first().map(|first| Resource {
            attributes: vec![text("service.name", SCOPE), text("host.name", &first.event.node)],
            ..Resource::default()
        }),
        scope_logs: vec![ScopeLogs {
            scope: Some(InstrumentationScope {
                name: SCOPE.to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                ..InstrumentationScope::default()
            }),
            log_records: events.iter().map(|stored| record(&stored.event)).collect(),
            ..ScopeLogs::default()
        }],
        ..ResourceLogs::default()
    });
    ExportLogsServiceRequest { resource_logs: resource_logs.collect() }
}

fn record(event: &Event) -> LogRecord {
    let severity = match event.verdict.as_str() {
        "allow" => SeverityNumber::Info,
        "deny" => SeverityNumber::Error,
        _ => SeverityNumber::Warn,
    };
    LogRecord {
        time_unix_nano: event.time_unix_ns,
        observed_time_unix_nano: u64::try_from(event.received_unix_ns).unwrap_or(0),
        severity_number: severity.into(),
        severity_text: event.verdict.to_ascii_uppercase(),
        body: Some(AnyValue { value: Some(Value::StringValue(event.summary())) }),
        event_name: "plimsoll.decision".to_owned(),
        attributes: attributes(event),
        ..LogRecord::default()
    }
}

/// The names of OpenTelemetry's semantic conventions where there is one.
fn attributes(event: &Event) -> Vec<KeyValue> {
    let mut found = vec![
        text("plimsoll.verdict", &event.verdict),
        text("plimsoll.reason", &event.reason),
        text("plimsoll.hook", &event.hook),
        text("plimsoll.mode", &event.mode),
        text("plimsoll.operation", &event.operation),
        text("plimsoll.evidence", &event.evidence),
        text("plimsoll.sbom.digest", &event.sbom_digest),
        text("plimsoll.boot_id", &event.boot_id),
        text("plimsoll.spool_id", &event.spool_id),
        number("plimsoll.sequence", event.sequence),
    ];
    if let Some(process) = &event.process {
        found.push(number("process.pid", process.tgid.into()));
        found.push(number("thread.id", process.tid.into()));
        found.push(text("user.id", &process.uid.to_string()));
        found.push(text("process.executable.name", &process.comm));
        if let Some(parent) = process.ancestors.first() {
            found.push(number("process.parent_pid", parent.tgid.into()));
        }
    }
    if let Some(file) = &event.file {
        found.push(text("file.path", &file.path));
        found.push(text("file.inode", &file.ino.to_string()));
        found.push(number("file.size", file.size));
        found.push(text("plimsoll.file.sha256", &file.sha256));
        found.push(text("plimsoll.file.origin", &file.origin));
    }
    if let Some(package) = &event.package {
        found.push(text("plimsoll.package.purl", &package.purl));
    }
    if let Some(image) = &event.image {
        found.push(text("container.image.id", &image.digest));
        found.push(text("container.image.name", &image.reference));
    }
    if let Some(workload) = &event.workload {
        found.push(text("container.id", &workload.id));
        found.push(text("k8s.namespace.name", &workload.namespace));
    }
    if let Some(policy) = &event.policy {
        found.push(text("plimsoll.policy.name", &policy.name));
        found.push(text("plimsoll.policy.generation", &policy.generation));
        found.push(text("plimsoll.policy.rule", &policy.rule));
    }
    if let Some(network) = &event.network {
        found.push(text("network.peer.address", &network.address));
        found.push(number("network.peer.port", network.port.into()));
        found.push(text("network.transport", &network.protocol));
    }
    found.retain(|attribute| {
        attribute.value.as_ref().is_some_and(|value| value.value != Some(Value::StringValue(String::new())))
    });
    found
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

/// OpenTelemetry's integers are signed; what is beyond them is their largest.
fn number(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
