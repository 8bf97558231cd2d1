//! What the collector passes on: `outputs` of the configuration.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer};

use super::duration;

/// Outputs at once; each is one series of every metric of outputs.
const MAX_OUTPUTS: usize = 16;
/// Characters of an output's name.
const MAX_NAME: usize = 40;
/// Events in one delivery.
const MAX_BATCH: usize = 1000;

/// What is wrong with `outputs`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OutputFault {
    #[error("`outputs` has more than {MAX_OUTPUTS} outputs; run another collector for the others")]
    TooMany,
    #[error("`outputs.{name}`: a name has 1 to {MAX_NAME} of a-z, 0-9 and `-`")]
    Name { name: String },
    #[error("`outputs.{name}` needs exactly one of `webhook`, `ocsf`, `cef`, `otlp`")]
    Kind { name: String },
    #[error("`outputs.{name}.batch` is {batch}; set it to 1 up to {MAX_BATCH}")]
    Batch { name: String, batch: usize },
    #[error("`outputs.{name}.ocsf` needs exactly one of `file`, `url`")]
    Place { name: String },
    #[error("`outputs.{name}`: `{url}` is no URL such as https://receiver.example/events")]
    Url { name: String, url: String },
    #[error(
        "`outputs.{name}`: `{target}` would get events unencrypted over the network; use https or `ca`, or set \
         `allowPlaintext: true` if the network already keeps strangers out"
    )]
    Plaintext { name: String, target: String },
    #[error("`outputs.{name}.otlp` speaks TLS over gRPC to authorities that `ca` names; set `ca` to a file in PEM")]
    Authorities { name: String },
}

/// One output.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Output {
    /// Only events with these verdicts; without it all.
    #[serde(default)]
    pub verdicts: Vec<Verdict>,
    /// Events in one delivery, at most.
    #[serde(default = "batch")]
    pub batch: usize,
    #[serde(default)]
    pub retry: Retry,
    /// Lets events leave this machine unencrypted.
    #[serde(default)]
    pub allow_plaintext: bool,
    pub webhook: Option<Webhook>,
    pub ocsf: Option<Ocsf>,
    pub cef: Option<Cef>,
    pub otlp: Option<Otlp>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Allow,
    Audit,
    Deny,
}

/// How long to wait after a failure: twice as long each time, the half of it at random.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Retry {
    #[serde(deserialize_with = "duration")]
    pub initial: Duration,
    #[serde(deserialize_with = "duration")]
    pub max: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { initial: Duration::from_millis(500), max: Duration::from_mins(1) }
    }
}

/// JSON over HTTP, signed as Standard Webhooks says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Webhook {
    pub url: String,
    /// File with a secret in each line (`whsec_` and Base64), all of which sign; read again for each delivery.
    pub secret: PathBuf,
    /// Authorities of the receiver, in PEM; without it those of this machine.
    pub ca: Option<PathBuf>,
}

/// OCSF as JSON lines, to a file or over HTTP.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Ocsf {
    pub file: Option<PathBuf>,
    pub url: Option<String>,
    /// File with a bearer token; read again for each delivery.
    pub token: Option<PathBuf>,
    /// Authorities of the receiver, in PEM; without it those of this machine.
    pub ca: Option<PathBuf>,
}

/// CEF in syslog (RFC 5424) over TCP, or TLS if `ca` is given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Cef {
    /// Host and port.
    pub address: String,
    /// Authorities of the receiver, in PEM.
    pub ca: Option<PathBuf>,
}

/// OpenTelemetry's logs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Otlp {
    /// Base of the receiver, such as https://receiver.example:4317; `http` adds `/v1/logs`.
    pub endpoint: String,
    #[serde(default)]
    pub protocol: Protocol,
    /// File with a bearer token; read again for each delivery.
    pub token: Option<PathBuf>,
    /// Authorities of the receiver, in PEM; without it those of this machine, which only `http` knows.
    pub ca: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    #[default]
    Grpc,
    /// Protobuf.
    Http,
}

fn batch() -> usize {
    500
}

/// Whether every output can be used as it is written.
pub(super) fn validate<'a>(
    outputs: impl ExactSizeIterator<Item = (&'a String, &'a Output)>,
) -> Result<(), OutputFault> {
    if outputs.len() > MAX_OUTPUTS {
        return Err(OutputFault::TooMany);
    }
    for (name, output) in outputs {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(plain) {
            return Err(OutputFault::Name { name: name.clone() });
        }
        output.validate(name)?;
    }
    Ok(())
}

impl Output {
    /// The word in answers.
    pub(crate) fn kind(&self) -> &'static str {
        match (&self.webhook, &self.ocsf, &self.cef) {
            (Some(_), ..) => "webhook",
            (_, Some(_), _) => "ocsf",
            (_, _, Some(_)) => "cef",
            (None, None, None) => "otlp",
        }
    }

    fn validate(&self, name: &str) -> Result<(), OutputFault> {
        let owned = || name.to_owned();
        if !(1..=MAX_BATCH).contains(&self.batch) {
            return Err(OutputFault::Batch { name: owned(), batch: self.batch });
        }
        match (&self.webhook, &self.ocsf, &self.cef, &self.otlp) {
            (Some(webhook), None, None, None) => self.url(name, &webhook.url).map(drop),
            (None, Some(ocsf), None, None) => match (&ocsf.file, &ocsf.url) {
                (Some(_), None) => Ok(()),
                (None, Some(url)) => self.url(name, url).map(drop),
                _ => Err(OutputFault::Place { name: owned() }),
            },
            (None, None, Some(cef), None) => {
                let host = cef.address.rsplit_once(':').map_or("", |(host, _)| host);
                self.plaintext(name, &cef.address, cef.ca.is_some() || is_loopback(host))
            }
            (None, None, None, Some(otlp)) => {
                let is_encrypted = self.url(name, &otlp.endpoint)?;
                let needs = is_encrypted && otlp.protocol == Protocol::Grpc && otlp.ca.is_none();
                if needs { Err(OutputFault::Authorities { name: owned() }) } else { Ok(()) }
            }
            _ => Err(OutputFault::Kind { name: owned() }),
        }
    }

    /// Whether the URL is one of TLS.
    fn url(&self, name: &str, url: &str) -> Result<bool, OutputFault> {
        let fault = || OutputFault::Url { name: name.to_owned(), url: url.to_owned() };
        let parsed: reqwest::Url = url.parse().map_err(|_invalid| fault())?;
        let host = parsed.host_str().ok_or_else(fault)?;
        match parsed.scheme() {
            "https" => Ok(true),
            "http" => self.plaintext(name, url, is_loopback(host)).map(|()| false),
            _ => Err(fault()),
        }
    }

    fn plaintext(&self, name: &str, target: &str, is_safe: bool) -> Result<(), OutputFault> {
        if is_safe || self.allow_plaintext {
            return Ok(());
        }
        Err(OutputFault::Plaintext { name: name.to_owned(), target: target.to_owned() })
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Nothing written is no output.
pub(super) fn none_is_empty<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn fault(name: &str, text: &str) -> Option<OutputFault> {
        let output: Output = serde_yaml::from_str(text).unwrap();
        validate(BTreeMap::from([(name.to_owned(), output)]).iter()).err()
    }

    #[test]
    fn an_output_has_one_kind_a_plain_name_and_a_place() {
        assert_eq!(fault("siem", "webhook: { url: 'https://a.example/x', secret: s }"), None);
        assert_eq!(fault("siem", "ocsf: { file: events.ndjson }"), None);
        for (name, text, expected) in [
            ("Siem", "ocsf: { file: f }", OutputFault::Name { name: "Siem".to_owned() }),
            ("a", "batch: 10", OutputFault::Kind { name: "a".to_owned() }),
            ("a", "{ ocsf: { file: f }, cef: { address: 'a:1' } }", OutputFault::Kind { name: "a".to_owned() }),
            ("a", "{ batch: 0, ocsf: { file: f } }", OutputFault::Batch { name: "a".to_owned(), batch: 0 }),
            ("a", "ocsf: { file: f, url: 'https://a.example' }", OutputFault::Place { name: "a".to_owned() }),
            ("a", "otlp: { endpoint: 'https://a.example:4317' }", OutputFault::Authorities { name: "a".to_owned() }),
        ] {
            assert_eq!(fault(name, text), Some(expected), "{text}");
        }
    }

    #[test]
    fn events_leave_the_machine_unencrypted_only_on_request() {
        for (text, is_safe) in [
            ("webhook: { url: 'http://127.0.0.1:1/x', secret: s }", true),
            ("webhook: { url: 'http://a.example/x', secret: s }", false),
            ("{ allowPlaintext: true, webhook: { url: 'http://a.example/x', secret: s } }", true),
            ("cef: { address: '[::1]:514' }", true),
            ("cef: { address: 'localhost:514' }", true),
            ("cef: { address: 'logs.example:514' }", false),
            ("cef: { address: 'logs.example:6514', ca: f }", true),
            ("otlp: { endpoint: 'http://10.0.0.1:4318', protocol: http }", false),
        ] {
            let fault = fault("a", text);
            assert_eq!(fault.is_none(), is_safe, "{text}: {fault:?}");
            assert!(fault.is_none_or(|fault| matches!(fault, OutputFault::Plaintext { .. })), "{text}");
        }
    }

    #[test]
    fn the_documents_examples_are_right() {
        let document = include_str!("../../../docs/outputs.md");
        let examples: Vec<_> =
            document.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        let kinds = examples.iter().map(|text| {
            let config: crate::config::Config = serde_yaml::from_str(text).unwrap();
            let output = config.outputs.values().next().unwrap();
            // The first one shows what all kinds have in common.
            if !text.contains("exactly one of") {
                config.validate().unwrap();
            }
            output.kind()
        });
        assert_eq!(kinds.skip(1).collect::<Vec<_>>(), ["webhook", "ocsf", "cef", "otlp"]);
    }
}
