//! Asking a collector over HTTP. Answers are bounded in time and size, and every error says what may be done.

use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::events::printable;

/// How long one answer may take; a collector itself gives up a search after 10 seconds.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of one answer; more is not an answer of a collector.
const ANSWER_BYTES: u64 = 64 << 20;
/// Events asked for at once.
const PAGE_EVENTS: u64 = 500;
/// Characters shown of an answer that is not understood.
const EXCERPT: usize = 300;

/// Which collector is asked.
#[derive(clap::Args)]
pub(crate) struct Place {
    /// Where the collector answers queries.
    #[arg(long, env = "PLIMSOLL_COLLECTOR", default_value = "http://127.0.0.1:7480", value_name = "URL")]
    pub(crate) collector: String,
}

/// Names and values of a query's parameters.
pub(crate) type Parameters = Vec<(&'static str, String)>;

/// Asks one collector.
pub(crate) struct Client {
    agent: ureq::Agent,
    url: String,
}

#[derive(Deserialize)]
struct Page {
    events: Vec<Value>,
    /// Where the next page begins; absent or null on the last one.
    next: Option<Value>,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    help: Option<String>,
}

impl Client {
    pub(crate) fn new(place: &Place) -> Self {
        Self { agent: agent(), url: place.collector.trim_end_matches('/').to_owned() }
    }

    /// The answer to `GET path`.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str, parameters: Parameters) -> anyhow::Result<T> {
        let collector = &self.url;
        let mut response =
            self.agent.get(format!("{collector}{path}")).query_pairs(parameters).call().with_context(|| {
                format!(
                    "cannot reach the collector at `{collector}`; is it running, and is --collector its `http` address?"
                )
            })?;
        let status = response.status();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES).read_to_vec();
        let body = body.with_context(|| format!("the answer of the collector at `{collector}` broke off"))?;
        if !status.is_success() {
            anyhow::bail!("the collector at `{collector}` refused the query ({status}): {}", explanation(&body));
        }
        serde_json::from_slice(&body)
            .with_context(|| format!("`{collector}` did not answer like a collector: {}", explanation(&body)))
    }

    /// Gives `take` the events that match, the newest first, a page at a time, and `limit` of them at most. Says whether
    /// there are more.
    pub(crate) fn events(
        &self,
        parameters: &Parameters,
        limit: u64,
        mut take: impl FnMut(&[Value]) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        let mut left = limit;
        let mut cursor: Option<String> = None;
        while left > 0 {
            let mut all = parameters.clone();
            all.push(("limit", left.min(PAGE_EVENTS).to_string()));
            all.extend(cursor.clone().map(|cursor| ("cursor", cursor)));
            let mut page: Page = self.get("/events", all)?;
            page.events.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            left -= page.events.len() as u64;
            take(&page.events)?;
            let next = page.next.map(|next| next.as_str().map_or_else(|| next.to_string(), str::to_owned));
            match next {
                // A collector that points to the same place for ever must not be followed for ever.
                Some(_) if next == cursor => anyhow::bail!("the collector's pages lead in a circle"),
                Some(_) => cursor = next,
                None => return Ok(false),
            }
        }
        Ok(true)
    }
}

/// What asks over HTTP: refusals are answers, and nothing is waited for without end.
pub(crate) fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build().into()
}

/// What an answer that is not a page says, fit for a terminal.
fn explanation(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Refusal>(body) {
        Ok(Refusal { error, help: Some(help) }) => format!("{error}; {help}"),
        Ok(Refusal { error, help: None }) => error,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    printable(&text.chars().take(EXCERPT).collect::<String>())
}
