//! Queries, metrics and health.

mod health;
mod openapi;
mod outputs;
mod parameters;
mod queries;
mod refusal;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::registry::Registry;
use rusqlite::{Connection, ErrorCode};
use serde::Serialize;
use tokio::{net::TcpListener, sync::Semaphore, task, time::timeout};

pub(crate) use self::refusal::Refusal;
use crate::{
    audit,
    metrics::{Metrics, Reason},
    out::Status,
    store::{self, Writer},
};

/// Queries at once; further ones wait.
const CONCURRENT: usize = 4;
/// How long a query may search.
const DEADLINE: Duration = Duration::from_secs(10);

/// What the routes share.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) database: PathBuf,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) registry: Registry,
    pub(crate) writer: Writer,
    pub(crate) outputs: Vec<Arc<Status>>,
    queries: Semaphore,
}

impl Api {
    pub(crate) fn new(database: PathBuf, metrics: Arc<Metrics>, writer: Writer, outputs: Vec<Arc<Status>>) -> Self {
        let registry = metrics.registry();
        Self { database, metrics, registry, writer, outputs, queries: Semaphore::new(CONCURRENT) }
    }
}

/// Serves until `shutdown` resolves.
pub(crate) async fn serve(
    listener: TcpListener,
    api: Api,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = Router::new()
        .route("/v1/events", get(queries::events))
        .route("/v1/events/buckets", get(queries::buckets))
        .route("/v1/nodes", get(queries::nodes))
        .route("/v1/outputs", get(outputs::outputs))
        .route("/v1/outputs/{name}/dead-letters", get(outputs::dead_letters))
        // As they were called before they had a version.
        .route("/events", get(queries::events))
        .route("/nodes", get(queries::nodes))
        .route("/metrics", get(health::metrics))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .merge(audit::routes())
        .route("/openapi.json", get(openapi::document))
        .fallback(|| async {
            Refusal {
                status: StatusCode::NOT_FOUND,
                reason: "path",
                error: "there is nothing at this path".to_owned(),
                help:
                    "/openapi.json lists what there is, such as /v1/events, /v1/nodes, /findings, /metrics and /readyz"
                        .to_owned(),
            }
        })
        .with_state(Arc::new(api));
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}

impl Api {
    pub(crate) fn refuse(&self, refusal: Refusal) -> Response {
        self.metrics.refused_queries.get_or_create(&Reason { reason: refusal.reason }).inc();
        refusal.into_response()
    }

    pub(crate) async fn answer<T: Serialize + Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Response {
        match self.run(query).await {
            Ok(value) => {
                self.metrics.queries.inc();
                Json(value).into_response()
            }
            Err(refusal) => self.refuse(refusal),
        }
    }

    /// Runs a query on a thread of its own, and interrupts it at the deadline.
    async fn run<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let _permit = self.queries.acquire().await.map_err(|closed| Refusal::store(&closed))?;
        let connection = store::reader(&self.database).map_err(|error| Refusal::store(&error))?;
        let interrupt = connection.get_interrupt_handle();
        let mut running = task::spawn_blocking(move || query(&connection));
        let outcome = match timeout(DEADLINE, &mut running).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => {
                interrupt.interrupt();
                running.await
            }
        };
        match outcome {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => Err(Refusal {
                status: StatusCode::SERVICE_UNAVAILABLE,
                reason: "deadline",
                error: format!("the query took more than {} seconds", DEADLINE.as_secs()),
                help: "narrow it with `since` and `until`, or with `node`, `workload`, `image` or `package`".to_owned(),
            }),
            Ok(Err(error)) => Err(Refusal::store(&error)),
            Err(panicked) => Err(Refusal::store(&panicked)),
        }
    }
}
