//! Lists objects once, then follows their changes; after a failure from where it was, after `410 Gone` anew.

use std::{
    fmt::Debug,
    pin::pin,
    sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use futures_util::StreamExt as _;
use jiff::Timestamp;
use kube::{
    Api, Resource,
    api::{ListParams, WatchEvent, WatchParams},
};
use serde::de::DeserializeOwned;

/// Objects of one page of a list.
const PAGE: u32 = 500;
/// After this long the API server ends a watch, and a new one goes on from there.
const WATCH_SECONDS: u32 = 240;
/// Longer than that, nothing is waited for: the network may have lost the connection without a word.
const SILENCE: Duration = Duration::from_secs(270);
/// A list, or the beginning of a watch, takes no longer.
const ANSWER: Duration = Duration::from_mins(1);
/// The wait after the first failure; it doubles up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A watch that ends sooner than this was a failure, whatever the API server calls it.
const SHORT: Duration = Duration::from_secs(1);
const GONE: u16 = 410;

/// Takes what is heard of one kind of object.
pub trait Sink<K> {
    /// These are all there are.
    fn replaced(&mut self, all: Vec<K>);
    /// This one is new, or has changed.
    fn applied(&mut self, object: K);
    /// This one is gone.
    fn deleted(&mut self, object: K);
}

/// How a watch fares. Shared with whoever shows it.
#[derive(Debug, Default)]
pub struct Freshness {
    synced: AtomicBool,
    /// Seconds since 1970; 0 while the watch is live.
    stale_since: AtomicI64,
    heard: AtomicI64,
    lists: AtomicU64,
    failures: AtomicU64,
}

impl Freshness {
    /// Whether everything was listed once.
    pub fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }

    /// When the API server was heard of last, seconds since 1970, if the watch is broken; 0 if it is live.
    pub fn stale_since(&self) -> i64 {
        self.stale_since.load(Ordering::Relaxed)
    }

    /// How often everything was listed: once, and once more after each `410 Gone`.
    pub fn lists(&self) -> u64 {
        self.lists.load(Ordering::Relaxed)
    }

    /// How often the API server could not be reached, said no, or said nothing.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn live(&self) {
        self.heard.store(Timestamp::now().as_second(), Ordering::Relaxed);
        self.stale_since.store(0, Ordering::Relaxed);
    }

    fn listed(&self) {
        self.lists.fetch_add(1, Ordering::Relaxed);
        self.live();
        self.synced.store(true, Ordering::Release);
    }

    /// Called by the one task that follows.
    fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let heard = match self.heard.load(Ordering::Relaxed) {
            0 => Timestamp::now().as_second(),
            heard => heard,
        };
        // Only the first failure says since when.
        if self.stale_since() == 0 {
            self.stale_since.store(heard, Ordering::Relaxed);
        }
    }
}

/// Why one round ended.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the API server no longer knows this version; everything is listed anew")]
    Gone,
    #[error("the API server refuses")]
    Api(#[source] Box<kube::Error>),
    #[error("the API server broke the watch off")]
    Status(#[source] Box<kube::core::Status>),
    #[error("the API server says nothing")]
    Silent,
    #[error("the API server ends watches as soon as they begin")]
    Short,
}

impl From<kube::Error> for Broken {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.code == GONE => Self::Gone,
            _ => Self::Api(Box::new(error)),
        }
    }
}

/// Follows the objects that `fields` selects, for ever.
pub async fn follow<K>(api: Api<K>, fields: Option<String>, freshness: &Freshness, mut sink: impl Sink<K>)
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let mut version = None;
    let mut wait = FIRST_WAIT;
    loop {
        let Err(broken) = round(&api, fields.as_deref(), &mut version, freshness, &mut sink, &mut wait).await;
        if matches!(broken, Broken::Gone) {
            tracing::info!(resource = api.resource_url(), "{broken}");
            // Only a list that is gone too is waited after.
            if version.take().is_some() {
                continue;
            }
        }
        freshness.failed();
        tracing::warn!(resource = api.resource_url(), error = %chain(&broken), "what was heard stays; trying again");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// An error with all that caused it.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| error.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Never returns but with what broke it.
async fn round<K>(
    api: &Api<K>,
    fields: Option<&str>,
    version: &mut Option<String>,
    freshness: &Freshness,
    sink: &mut impl Sink<K>,
    wait: &mut Duration,
) -> Result<std::convert::Infallible, Broken>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    loop {
        let from = if let Some(version) = version {
            version
        } else {
            let (all, listed) = list(api, fields).await?;
            sink.replaced(all);
            freshness.listed();
            version.insert(listed)
        };
        watch(api, fields, from, freshness, sink).await?;
        *wait = FIRST_WAIT;
    }
}

/// Everything, and the version to go on from.
async fn list<K>(api: &Api<K>, fields: Option<&str>) -> Result<(Vec<K>, String), Broken>
where
    K: Clone + Debug + DeserializeOwned,
{
    let mut parameters = ListParams { field_selector: fields.map(str::to_owned), ..ListParams::default() }.limit(PAGE);
    let mut all = Vec::new();
    loop {
        let page = tokio::time::timeout(ANSWER, api.list(&parameters)).await.map_err(|_elapsed| Broken::Silent)??;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters.continue_token = Some(token),
            None => return Ok((all, page.metadata.resource_version.unwrap_or_default())),
        }
    }
}

/// Follows changes until the API server ends the watch in peace. `version` is always the last one that was taken.
async fn watch<K>(
    api: &Api<K>,
    fields: Option<&str>,
    version: &mut String,
    freshness: &Freshness,
    sink: &mut impl Sink<K>,
) -> Result<(), Broken>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let parameters = WatchParams { field_selector: fields.map(str::to_owned), ..WatchParams::default() };
    let parameters = parameters.timeout(WATCH_SECONDS);
    let began = tokio::time::Instant::now();
    let answer = tokio::time::timeout(ANSWER, api.watch(&parameters, version)).await;
    let mut events = pin!(answer.map_err(|_elapsed| Broken::Silent)??);
    freshness.live();
    let mut heard = false;
    while let Some(event) = tokio::time::timeout(SILENCE, events.next()).await.map_err(|_elapsed| Broken::Silent)? {
        heard = true;
        let taken = take(event?, sink)?;
        freshness.live();
        if let Some(taken) = taken {
            *version = taken;
        }
    }
    if heard || began.elapsed() >= SHORT { Ok(()) } else { Err(Broken::Short) }
}

/// Hands one event on; returns the version it brings.
fn take<K: Resource>(event: WatchEvent<K>, sink: &mut impl Sink<K>) -> Result<Option<String>, Broken> {
    Ok(match event {
        WatchEvent::Added(object) | WatchEvent::Modified(object) => {
            let version = object.meta().resource_version.clone();
            sink.applied(object);
            version
        }
        WatchEvent::Deleted(object) => {
            let version = object.meta().resource_version.clone();
            sink.deleted(object);
            version
        }
        WatchEvent::Bookmark(bookmark) => Some(bookmark.metadata.resource_version),
        WatchEvent::Error(status) if status.code == GONE => return Err(Broken::Gone),
        WatchEvent::Error(status) => return Err(Broken::Status(status)),
    })
}
