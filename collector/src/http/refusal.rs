//! Why there is no answer, in words for the caller.

use std::error::Error;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::parameters::ParameterFault;

/// What the caller gets.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// What is wrong.
    error: String,
    /// The way out.
    help: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// The word in metrics.
    pub(crate) reason: &'static str,
    pub(crate) error: String,
    pub(crate) help: String,
}

impl Refusal {
    /// The database could not be read.
    pub(crate) fn store(error: &dyn Error) -> Self {
        tracing::error!(%error, "a query failed");
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            reason: "store",
            error: "the database could not be read".to_owned(),
            help: "the collector's log has the cause".to_owned(),
        }
    }
}

impl From<ParameterFault> for Refusal {
    fn from(fault: ParameterFault) -> Self {
        let (error, help) = (fault.to_string(), fault.help());
        Self { status: StatusCode::BAD_REQUEST, reason: "parameter", error, help }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(Problem { error: self.error, help: self.help })).into_response()
    }
}
