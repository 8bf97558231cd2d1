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
    admissions::Admissions,
    hook::{Answer, MAX_LINE, Request, Stage},
};

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
    pub async fn serve(self, admissions: Arc<Admissions>) -> io::Result<()> {
        tracing::info!(socket = %self.path.display(), "waiting for containers");
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let (stream, _) = self.listener.accept().await?;
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
            let admissions = Arc::clone(&admissions);
            tokio::spawn(async move {
                if let Err(error) = answer(stream, admissions).await {
                    // The hook then fails, and the container does not start.
                    tracing::warn!(%error, "a hook's connection failed");
                }
                drop(place);
            });
        }
    }
}

async fn answer(mut stream: UnixStream, admissions: Arc<Admissions>) -> io::Result<()> {
    let peer = stream.peer_cred()?;
    let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok());
    let answer = match (peer.uid(), pid) {
        (0, Some(pid)) => {
            let request = timeout(PATIENCE, read_line(&mut stream)).await.map_err(io::Error::other)??;
            tokio::task::spawn_blocking(move || decide(&request, pid, &admissions)).await.map_err(io::Error::other)?
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
fn decide(request: &[u8], pid: u32, admissions: &Admissions) -> Answer {
    let request: Request = match serde_json::from_slice(request) {
        Ok(request) => request,
        Err(error) => return Answer::Refuse(format!("the request cannot be understood: {error}")),
    };
    match request.stage {
        Stage::CreateRuntime => admissions.create(&request.state, pid),
        Stage::Poststop => admissions.dismiss(&request.state.id),
    }
}
