//! POST with what every receiver over HTTP has in common: bounds, tokens, and what its status means.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use reqwest::{
    Certificate, Client, Response, StatusCode,
    header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
    redirect::Policy,
};

use super::sink::{Failure, SinkError, excerpt};

/// How long a delivery may take.
const DEADLINE: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are looked at.
const MAX_ANSWER: usize = 64 << 10;
/// Bytes of a file with a token.
const MAX_TOKEN: usize = 16 << 10;

/// One receiver.
pub(super) struct Http {
    client: Client,
    url: String,
    token: Option<PathBuf>,
}

impl Http {
    pub(super) fn new(url: &str, token: Option<PathBuf>, ca: Option<&Path>) -> Result<Self, SinkError> {
        let tls = |error: reqwest::Error| SinkError::Tls(Box::new(error));
        // A redirect would take events to where the configuration does not say.
        let mut client =
            Client::builder().redirect(Policy::none()).no_proxy().timeout(DEADLINE).connect_timeout(CONNECT);
        if let Some(ca) = ca {
            let authorities = plimsoll_identity::certificates(ca)?;
            let authorities: Result<Vec<_>, _> = authorities.iter().map(|found| Certificate::from_der(found)).collect();
            client = client.tls_certs_only(authorities.map_err(tls)?);
        }
        Ok(Self { client: client.build().map_err(tls)?, url: url.to_owned(), token })
    }

    /// Posts `body`, and returns the answer's if the receiver took it.
    pub(super) async fn post(&self, body: Vec<u8>, headers: &[(&'static str, &str)]) -> Result<Vec<u8>, Failure> {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).map_err(|error| Failure::retry(&error))?;
            all.insert(HeaderName::from_static(name), value);
        }
        if let Some(path) = &self.token {
            all.insert(AUTHORIZATION, bearer(path).await?);
        }
        let request = self.client.post(&self.url).headers(all).body(body);
        let response = request.send().await.map_err(unreachable)?;
        let (status, after) = (response.status(), retry_after(response.headers()));
        let answer = bounded(response).await.map_err(unreachable);
        if status.is_success() {
            return answer;
        }
        let said = answer.map_or_else(|_cut_off| String::new(), |answer| excerpt(&String::from_utf8_lossy(&answer)));
        let error = format!("the receiver answered {status}: {said}");
        // Anything else is for the receiver's or the configuration's keeper to mend; the events wait for it.
        let is_final = [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNPROCESSABLE_ENTITY];
        Err(if is_final.contains(&status) { Failure::Refused { error } } else { Failure::Retry { after, error } })
    }
}

/// Without the URL, which may have a secret in it: what failed is shown to whoever asks.
fn unreachable(error: reqwest::Error) -> Failure {
    Failure::retry(&error.without_url())
}

/// The token in a file, as a header that is not logged.
pub(super) async fn bearer(path: &Path) -> Result<HeaderValue, Failure> {
    let unusable =
        |error: &str| Failure::Retry { after: None, error: format!("the token `{}` {error}", path.display()) };
    let text = tokio::fs::read_to_string(path).await.map_err(|error| unusable(&format!("cannot be read: {error}")))?;
    if text.len() > MAX_TOKEN {
        return Err(unusable("is too long; is it the right file?"));
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {}", text.trim()))
        .map_err(|_invalid| unusable("has characters that a header cannot have"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// At most the first [`MAX_ANSWER`] bytes.
async fn bounded(mut response: Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut answer = Vec::new();
    while answer.len() < MAX_ANSWER
        && let Some(chunk) = response.chunk().await?
    {
        answer.extend_from_slice(&chunk);
    }
    answer.truncate(MAX_ANSWER);
    Ok(answer)
}

/// Seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    SystemTime::from(date.timestamp()).duration_since(SystemTime::now()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_say_when_in_seconds_or_by_a_date() {
        let after = |text| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]));
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert!(after("Wed, 01 Jan 2200 00:00:00 GMT").unwrap() > Duration::from_hours(24));
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), None);
        assert_eq!(after("soon"), None);
    }
}
