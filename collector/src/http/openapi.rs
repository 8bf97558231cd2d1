//! The description of this interface, made from the types that it is made of.

use axum::Json;
use utoipa::OpenApi;

use super::{health, outputs, queries};

/// Queries about what Plimsoll's agents saw, and the state of the collector. Only reading; nothing here needs a body.
#[derive(OpenApi)]
#[openapi(
    info(title = "Plimsoll collector"),
    paths(
        queries::events,
        queries::buckets,
        queries::nodes,
        outputs::outputs,
        outputs::dead_letters,
        health::metrics,
        health::live,
        health::ready,
        document,
    )
)]
struct Interface;

/// This document.
#[utoipa::path(get, path = "/openapi.json", responses(
    (status = 200, description = "OpenAPI 3.1", body = Object, content_type = "application/json"),
))]
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Interface::openapi())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_current() {
        let mut text = Interface::openapi().to_pretty_json().unwrap();
        text.push('\n');
        assert!(text.contains("\"openapi\": \"3.1.0\""), "{text}");
        expect_test::expect_file!["../../../docs/openapi.json"].assert_eq(&text);
    }
}
