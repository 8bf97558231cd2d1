//! The socket over which an OCI runtime's hooks introduce containers, and both of its ends.
//!
//! One request and one answer per connection, each a line of JSON. The runtime waits for its hook, and the hook for
//! the answer, so that a container's first instruction runs under its policy or not at all.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::spec::OciState;

/// The longest line that is accepted, in bytes.
pub const MAX_LINE: u64 = 1 << 20;

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
    #[error("the agent's answer cannot be understood")]
    Unintelligible(#[source] serde_json::Error),
}

/// The hook's end: passes the state on `input` to the agent and waits.
pub fn ask(socket: &Path, stage: Stage, timeout: Duration, input: impl io::Read) -> Result<Answer, HookError> {
    let name = || socket.display().to_string();
    let container = serde_json::from_reader(input.take(MAX_LINE)).map_err(HookError::State)?;
    let request = serde_json::to_vec(&Request { stage, state: container }).map_err(HookError::State)?;
    let stream = UnixStream::connect(socket).map_err(|source| HookError::Connect { socket: name(), source })?;
    let answer = exchange(stream, &request, timeout).map_err(|source| HookError::Answer {
        socket: name(),
        seconds: timeout.as_secs(),
        source,
    })?;
    serde_json::from_str(&answer).map_err(HookError::Unintelligible)
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
            ask(Path::new("/nonexistent"), Stage::CreateRuntime, Duration::from_secs(1), &state[..]).unwrap_err();
        assert_eq!(error.to_string(), "cannot reach the agent at `/nonexistent`; is it running?");
    }
}
