//! The socket over which an OCI runtime's hooks introduce containers, and both of its ends.
//!
//! One request and one answer per connection, each a line of JSON. The runtime waits for its hook, and the hook for
//! the answer, so that a container's first instruction runs under its policy or not at all.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::spec::OciState;

/// The longest line that is accepted, in bytes.
pub const MAX_LINE: u64 = 1 << 20;

/// Between two attempts to reach an agent that is away.
const PAUSE: Duration = Duration::from_millis(100);

/// When in a container's life the hook was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Namespaces and mounts are there; nothing of the image has run.
    CreateRuntime,
    /// The container is gone.
    Poststop,
}

/// What a hook asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The moment.
    pub stage: Stage,
    /// The container.
    pub state: OciState,
}

/// What the agent answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The container may go on; the text says under what.
    Proceed(String),
    /// It may not; the text says why.
    Refuse(String),
}

/// Why a container is refused before the agent has answered.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    #[error("the runtime passed no container state on standard input")]
    State(#[source] serde_json::Error),
    #[error("cannot reach the agent at `{socket}`; is it running?")]
    Connect {
        socket: String,
        #[source]
        source: io::Error,
    },
    #[error("the agent at `{socket}` did not answer within {seconds} s")]
    Answer {
        socket: String,
        seconds: u64,
        #[source]
        source: io::Error,
    },
    #[error("the agent at `{socket}` ended before it answered")]
    Gone { socket: String },
    #[error("the agent's answer cannot be understood")]
    Unintelligible(#[source] serde_json::Error),
}

/// The hook's end: passes the state on `input` to the agent and waits. Before a container starts, an agent that is away is waited
/// for, as it is while one follows another, and one that ended before it answered is asked again. Of an end an agent learns by
/// itself, so that nothing waits to tell it.
pub fn ask(socket: &Path, stage: Stage, timeout: Duration, input: impl io::Read) -> Result<Answer, HookError> {
    let container = serde_json::from_reader(input.take(MAX_LINE)).map_err(HookError::State)?;
    let request = serde_json::to_vec(&Request { stage, state: container }).map_err(HookError::State)?;
    let deadline = Instant::now() + timeout;
    loop {
        match ask_once(socket, &request, deadline, timeout) {
            Err(HookError::Connect { .. } | HookError::Gone { .. })
                if stage == Stage::CreateRuntime && Instant::now() + PAUSE < deadline =>
            {
                thread::park_timeout(PAUSE);
            }
            outcome => return outcome,
        }
    }
}

fn ask_once(socket: &Path, request: &[u8], deadline: Instant, timeout: Duration) -> Result<Answer, HookError> {
    let name = || socket.display().to_string();
    let stream = UnixStream::connect(socket).map_err(|source| HookError::Connect { socket: name(), source })?;
    let left = deadline.saturating_duration_since(Instant::now()).max(PAUSE);
    match exchange(stream, request, left) {
        Ok(answer) if answer.is_empty() => Err(HookError::Gone { socket: name() }),
        Ok(answer) => serde_json::from_str(&answer).map_err(HookError::Unintelligible),
        Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
            Err(HookError::Gone { socket: name() })
        }
        Err(source) => Err(HookError::Answer { socket: name(), seconds: timeout.as_secs(), source }),
    }
}

fn exchange(mut stream: UnixStream, request: &[u8], timeout: Duration) -> io::Result<String> {
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    stream.write_all(request)?;
    stream.write_all(b"\n")?;
    let mut answer = String::new();
    BufReader::new(stream.take(MAX_LINE)).read_line(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn garbage_from_the_runtime_is_refused_before_the_agent_is_asked() {
        let error =
            ask(Path::new("/nonexistent"), Stage::CreateRuntime, Duration::from_secs(1), &b"{"[..]).unwrap_err();
        assert!(matches!(error, HookError::State(_)), "{error}");
    }

    #[test]
    fn an_absent_agent_is_an_error_that_names_its_socket() {
        let state = br#"{"id":"a","pid":1,"bundle":"/b"}"#;
        let error =
            ask(Path::new("/nonexistent"), Stage::CreateRuntime, Duration::from_millis(1), &state[..]).unwrap_err();
        assert_eq!(error.to_string(), "cannot reach the agent at `/nonexistent`; is it running?");
    }

    #[test]
    fn an_agent_that_ended_before_it_answered_is_asked_again() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let agent = thread::spawn(move || {
            drop(listener.accept().unwrap());
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = String::new();
            BufReader::new(&stream).read_line(&mut request).unwrap();
            stream.write_all(b"{\"proceed\":\"again\"}\n").unwrap();
            request
        });
        let state = br#"{"id":"a","pid":1,"bundle":"/b"}"#;
        let answer = ask(&socket, Stage::CreateRuntime, Duration::from_mins(1), &state[..]).unwrap();
        assert_eq!(answer, Answer::Proceed("again".to_owned()));
        assert!(agent.join().unwrap().contains(r#""id":"a""#));
    }
}
