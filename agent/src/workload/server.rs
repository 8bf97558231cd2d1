//! The agent's end of the hook socket.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    time::timeout,
};

use super::{
    Admitted, Registry,
    hook::{Answer, MAX_LINE, Request, Stage},
};
use crate::metrics::{Admission, AdmissionLabels, Metrics};

/// Connections served at once; further ones wait in the socket's backlog.
const CONNECTIONS: usize = 64;
/// How long a peer may take to send its line, and to take its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The hook socket, open to root alone.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
}

impl Server {
    /// Takes over the socket's path from an earlier agent.
    pub fn bind(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
            fs::set_permissions(parent, fs::Permissions::from_mode(0o700))?;
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Serves for ever.
    pub async fn serve(self, registry: Arc<Registry>, metrics: Metrics) -> io::Result<()> {
        tracing::info!(socket = %self.path.display(), "waiting for containers");
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let (stream, _) = self.listener.accept().await?;
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
            let (registry, metrics) = (Arc::clone(&registry), metrics.clone());
            tokio::spawn(async move {
                if let Err(error) = answer(stream, registry, metrics).await {
                    // The hook then fails, and the container does not start.
                    tracing::warn!(%error, "a hook's connection failed");
                }
                drop(place);
            });
        }
    }
}

async fn answer(mut stream: UnixStream, registry: Arc<Registry>, metrics: Metrics) -> io::Result<()> {
    let peer = stream.peer_cred()?;
    let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok());
    let answer = match (peer.uid(), pid) {
        (0, Some(pid)) => {
            let request = timeout(PATIENCE, read_line(&mut stream)).await.map_err(io::Error::other)??;
            let counted = metrics.clone();
            tokio::task::spawn_blocking(move || decide(&request, pid, &registry, &counted))
                .await
                .map_err(io::Error::other)?
        }
        _ => Answer::Refuse("only root may introduce containers".to_owned()),
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    timeout(PATIENCE, stream.write_all(&line)).await.map_err(io::Error::other)?
}

async fn read_line(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    BufReader::new(stream.take(MAX_LINE)).read_until(b'\n', &mut line).await?;
    Ok(line)
}

/// Blocks while an image is read for the first time.
fn decide(request: &[u8], pid: u32, registry: &Registry, metrics: &Metrics) -> Answer {
    let request: Request = match serde_json::from_slice(request) {
        Ok(request) => request,
        Err(error) => return Answer::Refuse(format!("the request cannot be understood: {error}")),
    };
    let answer = match request.stage {
        Stage::CreateRuntime => admit(&request, pid, registry, metrics),
        Stage::Poststop => dismiss(&request, registry),
    };
    metrics.workloads.set(i64::try_from(registry.all().len()).unwrap_or(i64::MAX));
    metrics.entries.set(i64::try_from(registry.enforcer().entries()).unwrap_or(i64::MAX));
    answer
}

fn admit(request: &Request, pid: u32, registry: &Registry, metrics: &Metrics) -> Answer {
    let id = &request.state.id;
    let count = |outcome| metrics.admissions.get_or_create(&AdmissionLabels { outcome }).inc();
    match registry.admit(&request.state, pid) {
        Ok(Admitted::Selected(workload)) => {
            count(Admission::Admitted);
            let policy = &workload.policy;
            let (allowed, refused) = (policy.entries.len(), policy.refused.len());
            let jit = policy.anonymous_exec_for.as_deref();
            tracing::info!(workload = %id, policy = %policy.name, mode = %policy.mode, allowed, refused, jit, "admitted");
            for warning in &policy.warnings {
                tracing::warn!(workload = %id, policy = %policy.name, %warning, "worth a look");
            }
            Answer::Proceed(format!("policy `{}` ({}), {allowed} files allowed", policy.name, policy.mode))
        }
        Ok(Admitted::Unselected) => {
            count(Admission::Unselected);
            tracing::info!(workload = %id, "no policy selects this container; it runs without enforcement");
            Answer::Proceed("no policy selects this container".to_owned())
        }
        Err(error) => {
            count(Admission::Refused);
            let error = format!("{:#}", anyhow::Error::from(error));
            tracing::error!(workload = %id, %error, "refused");
            Answer::Refuse(error)
        }
    }
}

fn dismiss(request: &Request, registry: &Registry) -> Answer {
    match registry.dismiss(&request.state.id) {
        Ok(known) => Answer::Proceed(if known { "forgotten" } else { "was not known" }.to_owned()),
        Err(error) => {
            let error = format!("{:#}", anyhow::Error::from(error));
            tracing::error!(workload = %request.state.id, %error, "cannot forget a container");
            Answer::Refuse(error)
        }
    }
}
