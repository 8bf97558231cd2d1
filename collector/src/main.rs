//! `plimsoll-collector`: receives and keeps the events of every node.
#![forbid(unsafe_code)]

use std::{io, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use plimsoll_collector::{
    config::{Config, Tls},
    server::Server,
};
use tokio::signal::unix::{SignalKind, signal};

/// Receives the events of every node over gRPC, keeps them in SQLite, and answers queries over HTTP.
///
/// Flags win over the configuration file. SIGTERM or SIGINT stores and acknowledges what was taken, then stops.
#[derive(Parser)]
#[command(name = "plimsoll-collector", version, about, long_about)]
struct Arguments {
    /// Configuration in YAML; without it every setting has its default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listener for agents [default: 127.0.0.1:7443]. Beyond loopback it needs the --tls flags.
    #[arg(long, value_name = "ADDRESS:PORT")]
    grpc: Option<SocketAddr>,
    /// Listener for queries, metrics and health [default: 127.0.0.1:7480].
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<SocketAddr>,
    /// Let --http be another address than loopback, without authentication.
    #[arg(long)]
    allow_remote_queries: bool,
    /// The SQLite file [default: /var/lib/plimsoll-collector/events.db].
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
    /// Events to keep [default: 1000000].
    #[arg(long)]
    max_events: Option<u32>,
    /// How long to keep an event [default: 30d].
    #[arg(long, value_parser = humantime::parse_duration)]
    max_age: Option<Duration>,
    /// The collector's certificate, in PEM.
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "tls_trust_domain"])]
    tls_certificate: Option<PathBuf>,
    /// Its key, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// A trust domain of nodes and the authorities, in PEM, that may have signed their certificates; may be repeated.
    #[arg(long, value_name = "DOMAIN=FILE", requires = "tls_certificate", value_parser = trust_domain)]
    tls_trust_domain: Vec<(String, PathBuf)>,
    /// A file of revocation lists in PEM; may be repeated.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_revocation_list: Vec<PathBuf>,
    /// How the log on standard error is written. RUST_LOG sets its level.
    #[arg(long, value_enum, default_value = "json")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl Arguments {
    fn config(self) -> anyhow::Result<Config> {
        let mut config = match &self.config {
            Some(path) => Config::read(path)?,
            None => Config::default(),
        };
        config.grpc = self.grpc.unwrap_or(config.grpc);
        config.http = self.http.unwrap_or(config.http);
        config.allow_remote_queries |= self.allow_remote_queries;
        config.database = self.database.unwrap_or(config.database);
        config.retention.max_events = self.max_events.unwrap_or(config.retention.max_events);
        config.retention.max_age = self.max_age.unwrap_or(config.retention.max_age);
        if let (Some(certificate), Some(key)) = (self.tls_certificate, self.tls_key) {
            config.tls = Some(Tls {
                certificate,
                key,
                trust_domains: self.tls_trust_domain.into_iter().collect(),
                revocation_lists: self.tls_revocation_list,
            });
        }
        Ok(config)
    }
}

fn trust_domain(text: &str) -> Result<(String, PathBuf), String> {
    let Some((domain, file)) = text.split_once('=') else {
        return Err("expected DOMAIN=FILE, such as nodes.example=/etc/plimsoll/nodes.pem".to_owned());
    };
    Ok((domain.to_owned(), PathBuf::from(file)))
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("plimsoll-collector: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_unset| tracing_subscriber::EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match arguments.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    let config = arguments.config()?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let mut server = Server::start(config).await?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("stopping on SIGTERM"),
        _ = interrupt.recv() => tracing::info!("stopping on SIGINT"),
        () = server.failed() => anyhow::bail!("a listener ended by itself; see the log"),
    }
    server.stop().await?;
    tracing::info!("stopped; every acknowledged event is on disk");
    Ok(())
}
