//! How outputs fare, and what their receivers refused.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{
    Api,
    refusal::{Problem, Refusal},
};
use crate::{event::Event, out::Shown, store};

/// Dead letters in one answer.
const MAX_LETTERS: usize = 100;

/// Every output of the configuration, by name.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Outputs {
    outputs: Vec<Shown>,
}

/// What a receiver refused for good, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeadLetters {
    dead_letters: Vec<DeadLetter>,
}

#[derive(Debug, Serialize, ToSchema)]
struct DeadLetter {
    refused_unix_ns: i64,
    /// What the receiver said.
    reason: String,
    #[schema(value_type = Event)]
    event: Box<RawValue>,
}

/// How every output fares: how far it lags, what it delivered, and why it does not.
#[utoipa::path(get, path = "/v1/outputs", responses((status = 200, description = "The outputs", body = Outputs)))]
pub(super) async fn outputs(State(api): State<Arc<Api>>) -> Response {
    let outputs = api.outputs.iter().map(|output| output.shown()).collect();
    Json(Outputs { outputs }).into_response()
}

/// The newest events, up to 100, that the receiver of an output refused for good, and why.
#[utoipa::path(get, path = "/v1/outputs/{name}/dead-letters", params(("name" = String, Path, description = "Its name")),
responses(
    (status = 200, description = "Dead letters", body = DeadLetters),
    (status = 404, description = "No output has this name", body = Problem),
    (status = 500, description = "The database could not be read", body = Problem),
    (status = 503, description = "The search took too long", body = Problem),
))]
pub(super) async fn dead_letters(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Response {
    if !api.outputs.iter().any(|output| output.name == name) {
        let names: Vec<_> = api.outputs.iter().map(|output| output.name.as_str()).collect();
        return api.refuse(Refusal {
            status: StatusCode::NOT_FOUND,
            reason: "output",
            error: "no output has this name".to_owned(),
            help: format!("outputs are: {}", names.join(", ")),
        });
    }
    api.answer(move |connection| {
        let found = store::dead_letters(connection, &name, MAX_LETTERS)?;
        let letters = found.into_iter().map(|letter| DeadLetter {
            refused_unix_ns: letter.refused_unix_ns,
            reason: letter.reason,
            event: RawValue::from_string(letter.event).unwrap_or_else(|_damaged| RawValue::NULL.to_owned()),
        });
        Ok(DeadLetters { dead_letters: letters.collect() })
    })
    .await
}
