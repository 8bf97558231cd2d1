//! Passes stored events on to other systems.
//!
//! ```text
//! SQLite ─> reader, from the output's cursor on ─> format ─> sink ─> cursor moves on (written with the next batches)
//!                                                     └─ refused for good ─> dead letter
//! ```
//! Each output has a task of its own that reads from the database, so that one that lags holds up neither the agents nor
//! another output. Events are delivered in the order of arrival, at least once.

mod cef;
mod http;
mod ocsf;
mod otlp;
mod runner;
mod sink;
mod status;
mod syslog;
mod webhook;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) use self::status::{Shown, Status};
use self::{
    runner::Runner,
    sink::{Sink, SinkError},
};
use crate::{
    config::outputs::Output,
    metrics::Metrics,
    store::{self, Writer},
};

/// Why an output cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    #[error("the output `{name}` cannot be used")]
    Sink {
        name: String,
        #[source]
        source: SinkError,
    },
    #[error("cannot read how far the output `{name}` came")]
    Store {
        name: String,
        #[source]
        source: rusqlite::Error,
    },
}

/// The outputs that run.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    pub(crate) tasks: Vec<JoinHandle<()>>,
    pub(crate) statuses: Vec<Arc<Status>>,
}

/// Starts every output. They end once `stop` is cancelled.
pub(crate) fn start(
    outputs: BTreeMap<String, Output>,
    database: &Path,
    writer: &Writer,
    metrics: &Arc<Metrics>,
    stop: &CancellationToken,
) -> Result<Outputs, OutputError> {
    let mut started = Outputs::default();
    for (name, output) in outputs {
        let sink = Sink::new(&name, &output).map_err(|source| OutputError::Sink { name: name.clone(), source })?;
        let standing = store::reader(database).and_then(|connection| store::standing(&connection, &name));
        let standing = standing.map_err(|source| OutputError::Store { name: name.clone(), source })?;
        let status = Arc::new(Status::new(name, output.kind(), standing, writer.newest(), metrics));
        let runner = Runner::new(output, sink, database, writer.clone(), Arc::clone(&status));
        started.tasks.push(tokio::spawn(runner.run(stop.clone())));
        started.statuses.push(status);
    }
    Ok(started)
}
