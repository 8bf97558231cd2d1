//! JSON over HTTP, signed as Standard Webhooks says: the receiver can tell that it is from this collector, and not old.

use std::{
    io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::hmac;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;

use super::{
    http::Http,
    sink::{Failure, SinkError},
};
use crate::{config, event::Event, store::Stored};

/// Bytes of a secret, as Standard Webhooks bounds them.
const SECRET: std::ops::RangeInclusive<usize> = 24..=64;
/// Secrets at once: the new one and those it replaces.
const MAX_SECRETS: usize = 8;

/// One receiver.
pub(super) struct Webhook {
    name: String,
    http: Http,
    secret: PathBuf,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    timestamp: String,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    events: Vec<&'a Event>,
}

impl Webhook {
    pub(super) fn new(name: &str, webhook: &config::outputs::Webhook) -> Result<Self, SinkError> {
        let http = Http::new(&webhook.url, None, webhook.ca.as_deref())?;
        let text = std::fs::read_to_string(&webhook.secret);
        keys(&webhook.secret, text)?;
        Ok(Self { name: name.to_owned(), http, secret: webhook.secret.clone() })
    }

    pub(super) async fn send(&self, events: &[Stored]) -> Result<(), Failure> {
        let keys = keys(&self.secret, tokio::fs::read_to_string(&self.secret).await);
        let keys = keys.map_err(|error| Failure::retry(&error))?;
        let now = jiff::Timestamp::now();
        let events_of = events.iter().map(|stored| &stored.event).collect();
        let body = Body { r#type: "plimsoll.events", timestamp: now.to_string(), data: Data { events: events_of } };
        let body = serde_json::to_vec(&body).map_err(|error| Failure::Refused { error: error.to_string() })?;
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().to_string();
        // The same for each try, so that the receiver knows what it has already.
        let ends = (events.first().map_or(0, |event| event.id), events.last().map_or(0, |event| event.id));
        let id = format!("{}-{}-{}", self.name, ends.0, ends.1);
        let signature = sign(&keys, &id, &seconds, &body);
        let headers = [
            ("content-type", "application/json"),
            ("webhook-id", &id),
            ("webhook-timestamp", &seconds),
            ("webhook-signature", &signature),
        ];
        self.http.post(body, &headers).await.map(drop)
    }
}

/// `v1,` and Base64 for each key, with spaces between.
fn sign(keys: &[hmac::Key], id: &str, seconds: &str, body: &[u8]) -> String {
    let signed = [format!("{id}.{seconds}.").as_bytes(), body].concat();
    let signature = |key| format!("v1,{}", BASE64_STANDARD.encode(hmac::sign(key, &signed)));
    keys.iter().map(signature).collect::<Vec<_>>().join(" ")
}

fn keys(path: &Path, text: io::Result<String>) -> Result<Vec<hmac::Key>, SinkError> {
    let text = text.map_err(|source| SinkError::Secret { path: path.to_owned(), source })?;
    let keys: Option<Vec<_>> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(key).collect();
    let fits = keys.filter(|keys| (1..=MAX_SECRETS).contains(&keys.len()));
    fits.ok_or_else(|| SinkError::SecretForm { path: path.to_owned() })
}

fn key(line: &str) -> Option<hmac::Key> {
    let bytes = BASE64_STANDARD.decode(line.strip_prefix("whsec_")?).ok()?;
    SECRET.contains(&bytes.len()).then(|| hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that Standard Webhooks gives.
    #[test]
    fn signatures_are_those_of_standard_webhooks() {
        let keys = keys(Path::new("s"), Ok("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n".to_owned())).unwrap();
        let signature = sign(&keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_long_and_each_line_signs() {
        let read = |text: &str| keys(Path::new("s"), Ok(text.to_owned()));
        let line = format!("whsec_{}", BASE64_STANDARD.encode([7; 32]));
        assert_eq!(sign(&read(&format!("{line}\n\n{line}")).unwrap(), "a", "1", b"").matches("v1,").count(), 2);
        for wrong in ["", "secret", "whsec_c2hvcnQ=", &line.replace("whsec_", ""), &format!("{line}\n").repeat(9)] {
            assert!(matches!(read(wrong), Err(SinkError::SecretForm { .. })), "{wrong}");
        }
    }
}
