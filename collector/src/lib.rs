//! The central service: agents stream events to it over gRPC, it keeps them in SQLite, and answers queries over HTTP.
//!
//! ```text
//! agents ─> ingest (checks) ─> bounded queue ─> writer thread ─> SQLite ─> query ─> GET /events, /nodes
//!    ^──────── acknowledgement, after the commit is on disk ──────┤
//!                                                              └─> out ─> webhook, OCSF, CEF, OTLP
//! ```
//! [`server::Server::start`] runs all of it inside the caller's runtime.
#![forbid(unsafe_code)]

mod admission;
mod audit;
pub mod config;
mod event;
mod http;
mod ingest;
mod json;
mod metrics;
mod out;
pub mod server;
mod store;
mod tls;
