//! What can be asked about stored events and the nodes that sent them.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Api,
    parameters::{self, Counting, Paging},
    refusal::{Problem, Refusal},
};
use crate::{
    event::Event,
    store::{self, Bucket, Filter, Group, Node, Width},
};

/// Events, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventPage {
    events: Vec<Event>,
    /// The `cursor` of the next page; null on the last one.
    #[schema(required)]
    next: Option<String>,
}

/// Counts of events, the newest first. Stretches of time without events are left out.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BucketPage {
    by: Width,
    group: Group,
    buckets: Vec<Bucket>,
    /// There are older ones: ask again with `until` at the start of the last.
    more: bool,
}

/// Every node, the one heard of last first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Nodes {
    nodes: Vec<Node>,
}

/// Events that match every parameter given, the newest first.
#[utoipa::path(get, path = "/v1/events", params(Filter, Paging), responses(
    (status = 200, description = "A page of events", body = EventPage),
    (status = 400, description = "A parameter is wrong", body = Problem),
    (status = 500, description = "The database could not be read", body = Problem),
    (status = 503, description = "The search took too long", body = Problem),
))]
pub(super) async fn events(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Response {
    let (filter, Paging { limit, cursor }) = match parameters::parse(query.as_deref()) {
        Ok(parsed) => parsed,
        Err(fault) => return api.refuse(Refusal::from(fault)),
    };
    api.answer(move |connection| {
        let page = store::events(connection, &filter, cursor, limit)?;
        Ok(EventPage { events: page.events, next: page.next.map(|cursor| cursor.to_string()) })
    })
    .await
}

/// How many events match every parameter given, by time and by one of their properties.
#[utoipa::path(get, path = "/v1/events/buckets", params(Filter, Counting), responses(
    (status = 200, description = "Counts", body = BucketPage),
    (status = 400, description = "A parameter is wrong", body = Problem),
    (status = 500, description = "The database could not be read", body = Problem),
    (status = 503, description = "The search took too long", body = Problem),
))]
pub(super) async fn buckets(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Response {
    let (filter, Counting { by, group, limit }) = match parameters::parse(query.as_deref()) {
        Ok(parsed) => parsed,
        Err(fault) => return api.refuse(Refusal::from(fault)),
    };
    api.answer(move |connection| {
        let found = store::buckets(connection, &filter, (by, group), limit)?;
        Ok(BucketPage { by, group, buckets: found.buckets, more: found.more })
    })
    .await
}

/// What is known of each node: when it was last heard of, how far it came, and what never arrived.
#[utoipa::path(get, path = "/v1/nodes", responses(
    (status = 200, description = "The nodes", body = Nodes),
    (status = 500, description = "The database could not be read", body = Problem),
    (status = 503, description = "The search took too long", body = Problem),
))]
pub(super) async fn nodes(State(api): State<Arc<Api>>) -> Response {
    api.answer(|connection| Ok(Nodes { nodes: store::nodes(connection)? })).await
}
