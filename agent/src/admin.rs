//! `/metrics`, `/livez` and `/readyz`.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
    routing::get,
};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

/// Whether a canary was really denied since this agent started. Red until then.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Turns readiness green.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

struct Admin {
    registry: Registry,
    readiness: Readiness,
}

/// Serves until `shutdown` resolves.
pub async fn serve(
    listener: TcpListener,
    registry: Registry,
    readiness: Readiness,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .with_state(Arc::new(Admin { registry, readiness }));
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}

/// Binds the listener; without authentication it is for loopback, and anything else is said aloud.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "metrics and health are served without authentication beyond loopback");
    }
    TcpListener::bind(address).await
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &admin.registry) {
        Ok(()) => {
            ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    if admin.readiness.get() {
        (StatusCode::OK, "ready: a canary was denied by the kernel\n").into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready: no canary was denied yet\n").into_response()
    }
}
