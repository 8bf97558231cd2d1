//! Metrics, and whether the collector lives and stores.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};

use super::Api;
use crate::store::Health;

/// Metrics for Prometheus.
#[utoipa::path(get, path = "/metrics", responses(
    (status = 200, description = "OpenMetrics", body = String, content_type = "application/openmetrics-text"),
    (status = 500, description = "The metrics could not be written", body = String, content_type = "text/plain"),
))]
pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Response {
    api.outputs.iter().for_each(|output| output.measure());
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &api.registry) {
        Ok(()) => {
            ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// Whether the collector runs.
#[utoipa::path(get, path = "/livez", responses(
    (status = 200, description = "It runs", body = String, content_type = "text/plain"),
))]
pub(super) async fn live() -> &'static str {
    "alive\n"
}

/// Whether events are stored.
#[utoipa::path(get, path = "/readyz", responses(
    (status = 200, description = "Events are stored", body = String, content_type = "text/plain"),
    (status = 503, description = "The last write failed", body = String, content_type = "text/plain"),
))]
pub(super) async fn ready(State(api): State<Arc<Api>>) -> Response {
    match api.writer.health() {
        Health::Ready => (StatusCode::OK, "ready: events are stored\n"),
        Health::Failing => {
            (StatusCode::SERVICE_UNAVAILABLE, "not ready: the last write to the database failed; see the log\n")
        }
        Health::Gone => (StatusCode::SERVICE_UNAVAILABLE, "not ready: the store stopped; restart the collector\n"),
    }
    .into_response()
}
