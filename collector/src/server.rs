//! Starts and stops the whole.

use std::{io, net::SocketAddr, thread, time::Duration};

use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Server as Grpc, server::TcpIncoming};

use crate::{
    config::{Config, ConfigError},
    http::{self, Api},
    ingest::Ingest,
    metrics::Metrics,
    out::{self, OutputError},
    store::{self, StoreError, Writer},
    tls::{self, TlsError},
};

/// How long connections may take to end once they were asked to.
const DRAIN: Duration = Duration::from_secs(10);
/// A connection that says nothing is asked whether it lives, so that a node that vanished is noticed.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);
/// Streams on one connection; an agent needs one.
const STREAMS: u32 = 4;
/// Bytes of a request's headers; an agent's have some hundred.
const HEADER_BYTES: u32 = 16 << 10;

/// Why the collector did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot listen on `{address}` (`{setting}`)")]
    Bind {
        setting: &'static str,
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("the files of `tls` cannot be used")]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// Why a collector that ran ended badly.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("the gRPC listener failed")]
    Grpc(#[source] tonic::transport::Error),
    #[error("the HTTP listener failed")]
    Http(#[source] io::Error),
    #[error("a part of the collector panicked; the log has the place")]
    Panicked,
}

/// A collector that runs.
#[derive(Debug)]
pub struct Server {
    grpc_address: SocketAddr,
    http_address: SocketAddr,
    stop: CancellationToken,
    /// Cancelled after the listeners have ended.
    finish: CancellationToken,
    grpc: JoinHandle<Result<(), tonic::transport::Error>>,
    http: JoinHandle<io::Result<()>>,
    outputs: Vec<JoinHandle<()>>,
    store: thread::JoinHandle<()>,
}

impl Server {
    /// Checks the configuration, opens the database, and listens. Must be called inside a tokio runtime.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        config.validate()?;
        let mut grpc = Grpc::builder()
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER))
            .http2_max_header_list_size(HEADER_BYTES)
            .max_concurrent_streams(STREAMS);
        let metrics = Metrics::new();
        let tls = config.tls.map(|tls| tls::watch(tls, metrics.clone())).transpose()?;
        let grpc_listener = bind("grpc", config.grpc).await?;
        let http_listener = bind("http", config.http).await?;
        let address = |setting, address, listener: &TcpListener| {
            listener.local_addr().map_err(|source| StartError::Bind { setting, address, source })
        };
        let grpc_address = address("grpc", config.grpc, &grpc_listener)?;
        let http_address = address("http", config.http, &http_listener)?;

        let finish = CancellationToken::new();
        let opened = store::open(&config.database)?;
        let (writer, store) = Writer::start(
            opened,
            &config.database,
            config.retention,
            config.silent_after,
            metrics.clone(),
            finish.clone(),
        )?;
        let stop = CancellationToken::new();
        let outputs = out::start(config.outputs, &config.database, &writer, &metrics, &stop)?;
        let encrypted = tls.is_some();
        let ingest = Ingest::service(writer.clone(), metrics.clone(), tls.clone(), stop.clone());
        let router = grpc.add_service(ingest);
        let stopped = stop.clone().cancelled_owned();
        let served = if let Some(tls) = tls {
            let incoming = tls::accept(grpc_listener, tls, &config.connections, metrics.clone(), stop.clone());
            tokio::spawn(router.serve_with_incoming_shutdown(incoming, stopped))
        } else {
            let incoming = TcpIncoming::from(grpc_listener).with_nodelay(Some(true));
            tokio::spawn(router.serve_with_incoming_shutdown(incoming, stopped))
        };
        let api = Api::new(config.database, metrics, writer, outputs.statuses);
        tracing::info!(grpc = %grpc_address, http = %http_address, tls = encrypted, "the collector runs");
        Ok(Self {
            grpc_address,
            http_address,
            grpc: served,
            http: tokio::spawn(http::serve(http_listener, api, stop.clone().cancelled_owned())),
            outputs: outputs.tasks,
            stop,
            finish,
            store,
        })
    }

    /// Where agents connect.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc_address
    }

    /// Where queries, metrics and health are served.
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// Waits until a listener ended, which it only does by failing.
    pub async fn failed(&mut self) {
        tokio::select! {
            _ = &mut self.grpc => {}
            _ = &mut self.http => {}
        }
    }

    /// Stops taking events, stores and acknowledges what was taken, and folds the log into the database.
    pub async fn stop(self) -> Result<(), ServerError> {
        self.stop.cancel();
        let grpc = drain(self.grpc).await?.map(|served| served.map_err(ServerError::Grpc));
        let http = drain(self.http).await?.map(|served| served.map_err(ServerError::Http));
        for output in self.outputs {
            drain(output).await?;
        }
        self.finish.cancel();
        let joined = tokio::task::spawn_blocking(move || self.store.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            return Err(ServerError::Panicked);
        }
        grpc.unwrap_or(Ok(())).and(http.unwrap_or(Ok(())))
    }
}

/// The task's outcome; `None` if it had to be cut off.
async fn drain<T>(mut task: JoinHandle<T>) -> Result<Option<T>, ServerError> {
    match timeout(DRAIN, &mut task).await {
        Ok(Ok(outcome)) => Ok(Some(outcome)),
        Ok(Err(_panic)) => Err(ServerError::Panicked),
        Err(_elapsed) => {
            tracing::warn!("connections did not end in time and were cut off");
            task.abort();
            Ok(None)
        }
    }
}

async fn bind(setting: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Bind { setting, address, source })
}
