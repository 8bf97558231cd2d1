//! What the collector can show of nodes' honesty: findings, and exports that can be checked elsewhere.

mod export;

use std::{future, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Query, State, rejection::QueryRejection},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    sync::{Semaphore, mpsc},
    task,
};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    http::{Api, Refusal},
    store::{self, FindingKind},
};

/// Exports at once; further ones are refused.
const EXPORTS: usize = 2;
/// Chunks that may wait for the other end.
const CHUNKS: usize = 4;

pub(crate) fn routes() -> Router<Arc<Api>> {
    let exports = Arc::new(Semaphore::new(EXPORTS));
    let export = move |api, wanted| future::ready(export(api, wanted, &exports));
    Router::new().route("/findings", get(findings)).route("/audit/export", get(export))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exported {
    node: Option<String>,
}

fn export(
    State(api): State<Arc<Api>>,
    wanted: Result<Query<Exported>, QueryRejection>,
    exports: &Arc<Semaphore>,
) -> Response {
    let refusal = |status, reason, error: String, help: &str| Refusal { status, reason, error, help: help.to_owned() };
    let node = match wanted {
        Ok(Query(Exported { node })) => node,
        Err(rejection) => {
            let help = "the only parameter is `node`, a node's name";
            return api.refuse(refusal(StatusCode::BAD_REQUEST, "parameter", rejection.body_text(), help));
        }
    };
    let Ok(permit) = Arc::clone(exports).try_acquire_owned() else {
        let error = format!("{EXPORTS} exports are being made already");
        return api.refuse(refusal(StatusCode::SERVICE_UNAVAILABLE, "busy", error, "try again when one has ended"));
    };
    let (chunks, body) = mpsc::channel(CHUNKS);
    let database = api.database.clone();
    task::spawn_blocking(move || {
        if let Err(error) = export::write(&database, node.as_deref(), chunks) {
            tracing::warn!(error = ?error, "an export broke off: {error}");
        }
        drop(permit);
    });
    api.metrics.queries.inc();
    ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(ReceiverStream::new(body))).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    node: Option<String>,
    kind: Option<String>,
    #[serde(default)]
    open: bool,
}

async fn findings(State(api): State<Arc<Api>>, wanted: Result<Query<Wanted>, QueryRejection>) -> Response {
    let wrong = |error: String| Refusal {
        status: StatusCode::BAD_REQUEST,
        reason: "parameter",
        error,
        help: "parameters are: node, kind (gap, rollback, fork, silent-node), open (true or false)".to_owned(),
    };
    let Wanted { node, kind, open } = match wanted {
        Ok(Query(wanted)) => wanted,
        Err(rejection) => return api.refuse(wrong(rejection.body_text())),
    };
    let kind = match kind {
        None => None,
        Some(word) => match FindingKind::ALL.into_iter().find(|kind| kind.name() == word) {
            Some(kind) => Some(kind),
            None => return api.refuse(wrong(format!("`{word}` is not a value of `kind`"))),
        },
    };
    api.answer(move |connection| Ok(json!({ "findings": store::findings(connection, node.as_deref(), kind, open)? })))
        .await
}
