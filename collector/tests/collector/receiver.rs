//! A receiver over HTTP that can be told how to answer, and outputs that deliver to it.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Instant,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::post,
};
use plimsoll_collector::config::outputs::Output;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::harness::within;

/// 32 bytes of 7.
pub(crate) const SECRET: &str = "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

/// A delivery as it came, whatever it was answered.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) at: Instant,
    pub(crate) taken: bool,
}

type Answer = Box<dyn Fn(usize, &str) -> Response + Send + Sync>;

struct Shared {
    answer: Answer,
    deliveries: Mutex<Vec<Delivery>>,
}

pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let count = shared.deliveries.lock().unwrap().len();
    let answer = (shared.answer)(count, &String::from_utf8_lossy(&body));
    let (at, taken) = (Instant::now(), answer.status().is_success());
    shared.deliveries.lock().unwrap().push(Delivery { headers, body, at, taken });
    answer
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        Self::answering(|_count, _body| StatusCode::OK.into_response()).await
    }

    /// `answer` gets how many deliveries came before, and the body.
    pub(crate) async fn answering(answer: impl Fn(usize, &str) -> Response + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), answer).await
    }

    pub(crate) async fn at(
        address: SocketAddr,
        answer: impl Fn(usize, &str) -> Response + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { answer: Box::new(answer), deliveries: Mutex::default() });
        let router = Router::new().route("/", post(take)).route("/v1/logs", post(take)).with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        Self { address, shared, serving }
    }

    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.shared.deliveries.lock().unwrap().clone()
    }

    /// The sequences of the events that were taken, in the order in which they came.
    pub(crate) fn sequences(&self) -> Vec<u64> {
        let taken = self.deliveries().into_iter().filter(|delivery| delivery.taken);
        taken.flat_map(|delivery| sequences(&delivery.body)).collect()
    }

    pub(crate) async fn until(&self, is_enough: impl Fn(&[Delivery]) -> bool) {
        until(|| is_enough(&self.deliveries())).await;
    }
}

/// Looks again until it is so, up to the deadline.
pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    within(async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

pub(crate) fn sequences(body: &[u8]) -> Vec<u64> {
    let body: Value = serde_json::from_slice(body).unwrap();
    body["data"]["events"].as_array().unwrap().iter().map(|event| event["sequence"].as_u64().unwrap()).collect()
}

/// An output as the configuration would have it, quick to try again.
pub(crate) fn output(kind: &str) -> Output {
    let text = format!("{{ {kind}, batch: 10, retry: {{ initial: 10ms, max: 100ms }} }}");
    serde_yaml::from_str(&text).unwrap()
}

pub(crate) fn webhook(address: SocketAddr, secret: &Path) -> Output {
    output(&format!("webhook: {{ url: 'http://{address}/', secret: '{}' }}", secret.display()))
}
