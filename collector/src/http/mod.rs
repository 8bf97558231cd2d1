//! Queries, metrics and health.

mod parameters;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{RawQuery, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::registry::Registry;
use rusqlite::{Connection, ErrorCode};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Semaphore, task, time::timeout};

use crate::{
    audit,
    metrics::{Metrics, Reason},
    store::{self, Health, Writer},
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
    queries: Semaphore,
}

impl Api {
    pub(crate) fn new(database: PathBuf, metrics: Arc<Metrics>, writer: Writer) -> Self {
        let registry = metrics.registry();
        Self { database, metrics, registry, writer, queries: Semaphore::new(CONCURRENT) }
    }
}

/// Why there is no answer; what the caller sees.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// The word in metrics.
    pub(crate) reason: &'static str,
    pub(crate) error: String,
    pub(crate) help: String,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.error, "help": self.help }))).into_response()
    }
}

/// Serves until `shutdown` resolves.
pub(crate) async fn serve(
    listener: TcpListener,
    api: Api,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = Router::new()
        .route("/events", get(events))
        .route("/nodes", get(nodes))
        .merge(audit::routes())
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .fallback(|| async {
            Refusal {
                status: StatusCode::NOT_FOUND,
                reason: "path",
                error: "there is nothing at this path".to_owned(),
                help: "try /events, /nodes, /findings, /metrics, /livez or /readyz".to_owned(),
            }
        })
        .with_state(Arc::new(api));
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}

async fn events(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Response {
    let filter = match parameters::filter(query.as_deref().unwrap_or_default()) {
        Ok(filter) => filter,
        Err(fault) => {
            let (error, help) = (fault.to_string(), fault.help());
            return api.refuse(Refusal { status: StatusCode::BAD_REQUEST, reason: "parameter", error, help });
        }
    };
    api.answer(move |connection| {
        let page = store::events(connection, &filter)?;
        Ok(json!({ "events": page.events, "next": page.next.map(|cursor| cursor.to_string()) }))
    })
    .await
}

async fn nodes(State(api): State<Arc<Api>>) -> Response {
    api.answer(|connection| Ok(json!({ "nodes": store::nodes(connection)? }))).await
}

impl Api {
    pub(crate) fn refuse(&self, refusal: Refusal) -> Response {
        self.metrics.refused_queries.get_or_create(&Reason { reason: refusal.reason }).inc();
        refusal.into_response()
    }

    pub(crate) async fn answer(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<Value> + Send + 'static,
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
    async fn run(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<Value> + Send + 'static,
    ) -> Result<Value, Refusal> {
        let _permit = self.queries.acquire().await.map_err(|closed| failed(&closed))?;
        let connection = store::reader(&self.database).map_err(|error| failed(&error))?;
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
            Ok(Err(error)) => Err(failed(&error)),
            Err(panicked) => Err(failed(&panicked)),
        }
    }
}

fn failed(error: &dyn std::error::Error) -> Refusal {
    tracing::error!(%error, "a query failed");
    Refusal {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        reason: "store",
        error: "the database could not be read".to_owned(),
        help: "the collector's log has the cause".to_owned(),
    }
}

async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &api.registry) {
        Ok(()) => {
            ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn ready(State(api): State<Arc<Api>>) -> Response {
    match api.writer.health() {
        Health::Ready => (StatusCode::OK, "ready: events are stored\n"),
        Health::Failing => {
            (StatusCode::SERVICE_UNAVAILABLE, "not ready: the last write to the database failed; see the log\n")
        }
        Health::Gone => (StatusCode::SERVICE_UNAVAILABLE, "not ready: the store stopped; restart the collector\n"),
    }
    .into_response()
}
