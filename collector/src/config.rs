//! The collector's configuration: one YAML file, every field with a default, and the rules about who may listen where.

pub mod outputs;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use plimsoll_identity::TrustDomain;
use serde::{Deserialize, Deserializer, de::Error as _};

use self::outputs::{Output, OutputFault};

/// Bytes of a configuration file.
const MAX_BYTES: usize = 1 << 20;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read `{path}`")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{path}` has more than {MAX_BYTES} bytes; is it the right file?")]
    TooLarge { path: PathBuf },
    #[error("`{path}`: {message}")]
    Parse { path: PathBuf, message: String },
    #[error(
        "`grpc: {address}` accepts agents from other machines, which needs `tls`; set `tls.certificate`, `tls.key` and \
         `tls.trustDomains`, or listen on loopback"
    )]
    PlainIngest { address: SocketAddr },
    #[error(
        "`http: {address}` would answer queries from other machines without authentication; listen on loopback behind \
         a proxy that authenticates, or set `allowRemoteQueries: true` if the network already keeps strangers out"
    )]
    OpenQueries { address: SocketAddr },
    #[error(
        "`tls.trustDomains` names no trust domain; write `trustDomains: {{ nodes.example: /path/to/authorities.pem }}`, \
         the domain as in the agents' SPIFFE IDs"
    )]
    NoTrustDomain,
    #[error("`tls.trustDomains`: `{domain}` is no trust domain such as `nodes.example`")]
    TrustDomain { domain: String },
    #[error(
        "`connections.total` or `connections.perAddress` is 0, which would let no agent in; set them to at least 1"
    )]
    NobodyLetIn,
    #[error("`retention.maxEvents` is 0, which would keep nothing; set it to at least 1")]
    NothingKept,
    #[error(transparent)]
    Output(#[from] OutputFault),
}

/// As written in the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// Listener for agents. Beyond loopback it needs `tls`.
    pub grpc: SocketAddr,
    /// Listener of everything that `/openapi.json` describes, without authentication.
    pub http: SocketAddr,
    /// The SQLite file. Its directory is made if missing.
    pub database: PathBuf,
    /// How much is kept.
    pub retention: Retention,
    /// After how long without a word a node is a finding. Agents speak every three seconds.
    #[serde(deserialize_with = "duration")]
    pub silent_after: Duration,
    /// How many agents may be connected.
    pub connections: Connections,
    /// Mutual TLS for agents.
    pub tls: Option<Tls>,
    /// Lets `http` be another address than loopback.
    pub allow_remote_queries: bool,
    /// What gets events as they are stored, by name.
    #[serde(deserialize_with = "outputs::none_is_empty")]
    pub outputs: BTreeMap<String, Output>,
}

/// The oldest events are removed once either bound is passed.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Retention {
    /// Events.
    pub max_events: u32,
    /// Time since an event arrived, as in `30d` or `12h`.
    #[serde(deserialize_with = "duration")]
    pub max_age: Duration,
}

/// Files in PEM.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Tls {
    /// The collector's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Trust domains of nodes, each with the file of authorities that may have signed their certificates. A node writes
    /// as the one that `spiffe://<trust domain>/plimsoll/node/<name>` in its certificate names; others are turned away.
    pub trust_domains: BTreeMap<String, PathBuf>,
    /// Revocation lists in PEM. They are read again when they change, and end streams that are open.
    #[serde(default)]
    pub revocation_lists: Vec<PathBuf>,
}

/// Connections of agents, over TLS.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Connections {
    /// Of all addresses together.
    pub total: usize,
    /// Of one address; nodes behind one translated address share it.
    pub per_address: usize,
}

impl Default for Connections {
    fn default() -> Self {
        Self { total: 12_000, per_address: 1000 }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            grpc: SocketAddr::from(([127, 0, 0, 1], 7443)),
            http: SocketAddr::from(([127, 0, 0, 1], 7480)),
            database: "/var/lib/plimsoll-collector/events.db".into(),
            retention: Retention::default(),
            connections: Connections::default(),
            silent_after: Duration::from_mins(5),
            tls: None,
            allow_remote_queries: false,
            outputs: BTreeMap::new(),
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self { max_events: 1_000_000, max_age: Duration::from_hours(30 * 24) }
    }
}

impl Config {
    /// Reads a file. [`Config::validate`] is the caller's to call, since flags may still change what it says.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        if text.len() > MAX_BYTES {
            return Err(ConfigError::TooLarge { path: path.to_owned() });
        }
        let parsed: Result<Self, _> = serde_yaml::from_str(&text);
        parsed.map_err(|error| ConfigError::Parse { path: path.to_owned(), message: error.to_string() })
    }

    /// Refuses what would listen to strangers by accident.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.tls.is_none() && !self.grpc.ip().is_loopback() {
            return Err(ConfigError::PlainIngest { address: self.grpc });
        }
        if let Some(tls) = &self.tls {
            tls.validate()?;
        }
        if !self.allow_remote_queries && !self.http.ip().is_loopback() {
            return Err(ConfigError::OpenQueries { address: self.http });
        }
        if self.connections.total == 0 || self.connections.per_address == 0 {
            return Err(ConfigError::NobodyLetIn);
        }
        if self.retention.max_events == 0 {
            return Err(ConfigError::NothingKept);
        }
        outputs::validate(self.outputs.iter())?;
        Ok(())
    }
}

impl Tls {
    fn validate(&self) -> Result<(), ConfigError> {
        if self.trust_domains.is_empty() {
            return Err(ConfigError::NoTrustDomain);
        }
        let odd = |domain: &&String| TrustDomain::new(domain).ok().is_none_or(|known| known.as_str() != *domain);
        match self.trust_domains.keys().find(odd) {
            Some(domain) => Err(ConfigError::TrustDomain { domain: domain.clone() }),
            None => Ok(()),
        }
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text)
        .map_err(|error| D::Error::custom(format!("`{text}` is not a duration such as `30d` or `12h`: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Config::read(file.path())
    }

    #[test]
    fn defaults_fill_what_is_left_out() {
        let config = parse("retention:\n  maxAge: 12h\n").unwrap();
        assert_eq!(config.retention.max_age, Duration::from_hours(12));
        assert_eq!(config.retention.max_events, 1_000_000);
        config.validate().unwrap();
    }

    #[test]
    fn the_shipped_configuration_states_the_defaults() {
        let shipped = parse(include_str!("../../deploy/collector.yaml")).unwrap();
        assert_eq!(format!("{shipped:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn a_misspelt_field_is_an_error_with_its_line() {
        let error = parse("grpc: 127.0.0.1:1\nretention:\n  maxEvent: 1\n").unwrap_err().to_string();
        assert!(error.contains("maxEvent") && error.contains('3'), "{error}");
    }

    #[test]
    fn trust_domains_are_named_as_in_certificates() {
        let with = |domains: &str| {
            let text = format!("tls: {{ certificate: c, key: k, trustDomains: {domains} }}");
            parse(&text).unwrap().validate()
        };
        with("{ nodes.example: a.pem }").unwrap();
        assert!(matches!(with("{}"), Err(ConfigError::NoTrustDomain)));
        for domain in ["Nodes.example", "spiffe://nodes.example", "'a b'"] {
            let error = with(&format!("{{ {domain}: a.pem }}")).unwrap_err();
            assert!(matches!(error, ConfigError::TrustDomain { .. }), "{domain}: {error}");
        }
    }

    #[test]
    fn strangers_are_let_in_only_on_request() {
        let grpc = parse("grpc: 0.0.0.0:7443\n").unwrap().validate().unwrap_err().to_string();
        assert!(grpc.contains("tls.trustDomains"), "{grpc}");
        let http = parse("http: '[::]:7480'\n").unwrap().validate().unwrap_err().to_string();
        assert!(http.contains("allowRemoteQueries: true"), "{http}");
        parse("http: '[::]:7480'\nallowRemoteQueries: true\n").unwrap().validate().unwrap();
    }
}
