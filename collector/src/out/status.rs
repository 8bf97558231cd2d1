//! How an output fares, for `/v1/outputs` and metrics.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use crate::{
    metrics::{Metrics, OutputLabel},
    store::Standing,
};

/// How an output fares.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) name: String,
    kind: &'static str,
    newest: watch::Receiver<i64>,
    metrics: Arc<Metrics>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    standing: Standing,
    retries: u64,
    failure: Option<String>,
}

/// How an output fares. Totals are those since it was first configured, unless said otherwise.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Shown {
    name: String,
    /// `webhook`, `ocsf`, `cef` or `otlp`.
    kind: String,
    /// Stored events that it has not dealt with.
    lag_events: i64,
    delivered: i64,
    /// Events that the receiver refused for good; the newest 10,000 are kept.
    dead_letters: i64,
    /// Events that retention removed before they could be delivered.
    skipped: i64,
    /// Deliveries that failed and were, or will be, tried again, since the collector started.
    retries: u64,
    /// Why the last delivery failed; null once one succeeded.
    #[schema(required)]
    failure: Option<String>,
}

impl Status {
    pub(super) fn new(
        name: String,
        kind: &'static str,
        standing: Standing,
        newest: watch::Receiver<i64>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let inner = Mutex::new(Inner { standing, retries: 0, failure: None });
        Self { name, kind, newest, metrics: Arc::clone(metrics), inner }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn label(&self) -> OutputLabel {
        OutputLabel { output: self.name.clone() }
    }

    pub(super) fn cursor(&self) -> i64 {
        self.with(|inner| inner.standing.cursor)
    }

    /// A delivery failed and will be tried again.
    pub(super) fn failed(&self, error: &str) {
        self.metrics.output_retries.get_or_create(&self.label()).inc();
        self.with(|inner| {
            inner.retries = inner.retries.saturating_add(1);
            inner.failure = Some(error.to_owned());
        });
    }

    /// The receiver answered.
    pub(super) fn answered(&self) {
        self.with(|inner| inner.failure = None);
    }

    /// What is on disk of it.
    pub(super) fn advanced(&self, cursor: i64, delivered: u64, skipped: u64, dead: usize) {
        let label = self.label();
        let dead = u64::try_from(dead).unwrap_or(u64::MAX);
        self.metrics.output_delivered.get_or_create(&label).inc_by(delivered);
        self.metrics.output_skipped.get_or_create(&label).inc_by(skipped);
        self.metrics.output_dead.get_or_create(&label).inc_by(dead);
        let add = |total: &mut i64, more: u64| *total = total.saturating_add_unsigned(more);
        self.with(|Inner { standing, .. }| {
            standing.cursor = cursor;
            add(&mut standing.delivered, delivered);
            add(&mut standing.skipped, skipped);
            add(&mut standing.dead, dead);
        });
    }

    pub(crate) fn shown(&self) -> Shown {
        let newest = *self.newest.borrow();
        self.with(|Inner { standing, retries, failure }| Shown {
            name: self.name.clone(),
            kind: self.kind.to_owned(),
            lag_events: newest.saturating_sub(standing.cursor).max(0),
            delivered: standing.delivered,
            dead_letters: standing.dead,
            skipped: standing.skipped,
            retries: *retries,
            failure: failure.clone(),
        })
    }

    /// Brings the gauge of its lag up to date.
    pub(crate) fn measure(&self) {
        self.metrics.output_lag.get_or_create(&self.label()).set(self.shown().lag_events);
    }
}
