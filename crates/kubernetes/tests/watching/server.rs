//! An API server that says what a test has written down for it, request by request, and remembers what it was asked.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use futures_util::{StreamExt as _, stream};
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::Notify;

/// What one request is answered with.
pub(crate) enum Answer {
    /// A document.
    Json(Value),
    /// An error, as the API server words it.
    Status(u16, &'static str),
    /// Lines of a watch, which then ends in peace.
    Ends(Vec<Value>),
    /// Lines of a watch; when the test says so, the connection breaks in the middle of the next one.
    Breaks(Vec<Value>, Arc<Notify>),
    /// Lines of a watch that goes on in silence.
    Stays(Vec<Value>),
}

/// One request: method, path with query, body.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) body: Value,
}

#[derive(Clone, Default)]
pub(crate) struct Server {
    answers: Arc<Mutex<HashMap<String, VecDeque<Answer>>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Starts to serve, and makes a client by a kubeconfig.
    pub(crate) async fn start(&self) -> Client {
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let kubeconfig = tempfile::NamedTempFile::new().unwrap();
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{ "name": "test", "cluster": { "server": format!("http://{address}") } }],
            "users": [{ "name": "agent", "user": { "token": "t" } }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "agent" } }],
        });
        std::fs::write(kubeconfig.path(), text.to_string()).unwrap();
        plimsoll_kubernetes::connect(Some(kubeconfig.path())).await.unwrap()
    }

    /// What the next requests for this path are answered with. When nothing is left, they are answered with 503.
    pub(crate) fn will_say(&self, path: &str, answers: impl IntoIterator<Item = Answer>) {
        self.answers.lock().unwrap().entry(path.to_owned()).or_default().extend(answers);
    }

    /// Requests for a path so far.
    pub(crate) fn asked(&self, path: &str) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.uri.split('?').next() == Some(path)).cloned().collect()
    }
}

async fn answer(State(server): State<Server>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    server.asked.lock().unwrap().push(Asked {
        method: parts.method.to_string(),
        uri: parts.uri.to_string(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    });
    let answer = server.answers.lock().unwrap().get_mut(parts.uri.path()).and_then(VecDeque::pop_front);
    match answer.unwrap_or(Answer::Status(503, "ServiceUnavailable")) {
        Answer::Json(document) => document.to_string().into_response(),
        Answer::Status(code, reason) => {
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": reason,
                "reason": reason, "code": code,
            });
            (StatusCode::from_u16(code).unwrap(), status.to_string()).into_response()
        }
        Answer::Ends(lines) => Body::from_stream(stream::iter(bytes(lines)).map(Ok::<_, Infallible>)).into_response(),
        Answer::Breaks(lines, now) => {
            let half = Bytes::from_static(b"{\"type\":\"MODIFIED\",\"obj");
            let lines = bytes(lines).into_iter().chain([half]).map(Ok);
            let broken = stream::once(async move {
                now.notified().await;
                Err(std::io::Error::other("the cable"))
            });
            Body::from_stream(stream::iter(lines).chain(broken)).into_response()
        }
        Answer::Stays(lines) => {
            let silence = stream::pending::<Bytes>();
            Body::from_stream(stream::iter(bytes(lines)).chain(silence).map(Ok::<_, Infallible>)).into_response()
        }
    }
}

fn bytes(lines: Vec<Value>) -> Vec<Bytes> {
    lines.into_iter().map(|line| Bytes::from(format!("{line}\n"))).collect()
}

/// Waits until it is so; a minute at most.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    while !is_so() {
        assert!(tokio::time::Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A line of a watch.
#[expect(clippy::needless_pass_by_value, reason = "every caller makes one for it")]
pub(crate) fn event(kind: &str, object: Value) -> Value {
    json!({ "type": kind, "object": object })
}

pub(crate) fn bookmark(kind: &str, version: &str) -> Value {
    event("BOOKMARK", json!({ "kind": kind, "apiVersion": "v1", "metadata": { "resourceVersion": version } }))
}

/// What a watch says when its version was compacted away.
pub(crate) fn gone() -> Value {
    event(
        "ERROR",
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Expired", "code": 410,
            "message": "too old resource version: 12 (300)",
        }),
    )
}
