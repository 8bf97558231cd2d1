//! The container runtime tells of its containers: the agent as a plugin of NRI, the node resource interface.
//!
//! ```text
//! runtime ─ CreateContainer ─> describe ─ hooks and annotations ─> config.json ─ run-hook ─> workload::server
//! runtime ─ Synchronize, StartContainer ─> what no hook of ours introduces ─> workload::admissions
//! ```
//! A container that is created while the plugin is registered gets the agent's hooks, and so does not start unless the agent has
//! answered. Containers from before are introduced when the runtime lists them, those that it has created but not started when it
//! starts them.

mod describe;
mod multiplex;
mod session;
mod ttrpc;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{net::UnixStream, time::sleep};

use self::session::Session;
pub use self::{describe::DescribeError, session::SessionError, ttrpc::MessageError};
use crate::{
    config::Nri,
    metrics::{Metrics, Registration, RegistrationLabels},
};

/// Between two attempts to connect: at first, and at most. What a runtime that restarts creates meanwhile has no hooks.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// A container that the runtime tells of, and that no hook introduces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its id.
    pub id: String,
    /// Its first process.
    pub pid: u32,
    /// Its annotations, the agent's own among them.
    pub annotations: BTreeMap<String, String>,
    /// A process in the runtime's mount namespace.
    pub runtime: u32,
    /// How far it has come.
    pub progress: Progress,
}

/// How far a container has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Its runtime waits for the agent before it starts it, until this moment.
    Starting(Instant),
    /// Its program runs.
    Running,
}

/// What the plugin needs of the agent. Calls block for as long as it takes to read an image.
pub trait Containers: Send + Sync + 'static {
    /// Puts a container under its policy, if one selects it. An error keeps a container that is [`Progress::Starting`] from it.
    fn introduce(&self, container: &Told) -> Result<(), String>;
    /// A container that cannot be introduced, since the runtime does not say enough of it.
    fn undescribed(&self, id: &str, why: &str);
    /// The container is gone.
    fn ended(&self, id: &str);
    /// Containers may have ended while nobody listened.
    fn forget_ended(&self);
}

/// Stays registered for ever: connects again whenever the runtime goes away. `socket` is the agent's own, for its hooks.
pub async fn run(config: Nri, socket: PathBuf, containers: Arc<dyn Containers>, metrics: Metrics) {
    let (mut pause, mut failures) = (PAUSES.0, 0_u64);
    loop {
        let Err(error) = connect(&config, &socket, &containers, &metrics).await;
        if metrics.nri_registered.set(0) == 1 {
            (pause, failures) = (PAUSES.0, 0);
        }
        failures += 1;
        metrics.nri_registrations.get_or_create(&RegistrationLabels { outcome: Registration::Ended }).inc();
        // Told ever more seldom, as long as it lasts.
        if failures.is_power_of_two() {
            let error = format!("{:#}", anyhow::Error::from(error));
            tracing::warn!(
                socket = %config.socket.display(), %error, failures,
                "not registered with the container runtime: what it creates now has no hooks, and is introduced when it is started \
                 or listed"
            );
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

async fn connect(
    config: &Nri,
    socket: &Path,
    containers: &Arc<dyn Containers>,
    metrics: &Metrics,
) -> Result<Infallible, SessionError> {
    let stream = UnixStream::connect(&config.socket).await.map_err(SessionError::Connect)?;
    let session = Session::new(config.hook.clone(), socket.to_owned(), Arc::clone(containers), metrics.clone());
    session.run(stream).await
}
