//! Outputs deliver everything, in order, at least once, whatever their receivers do; what is refused for good is kept.

use std::time::Duration;

use aws_lc_rs::hmac;
use axum::{
    http::{StatusCode, header::RETRY_AFTER},
    response::IntoResponse as _,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::{
    harness::{Harness, batch, deny, event, within},
    receiver::{Delivery, Receiver, SECRET, webhook},
};

fn secret() -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), SECRET).unwrap();
    file
}

/// A collector with one output, `siem`, to `address`.
async fn harness(address: std::net::SocketAddr, secret: &NamedTempFile, max_events: u32) -> Harness {
    let secret = secret.path().to_owned();
    Harness::start_with(move |config| {
        config.retention.max_events = max_events;
        config.outputs.insert("siem".to_owned(), webhook(address, &secret));
    })
    .await
}

/// How the output fares, once `is_so`.
async fn status(harness: &Harness, is_so: impl Fn(&Value) -> bool) -> Value {
    within(async {
        loop {
            let (_, answer) = harness.get("/v1/outputs").await;
            let status = &answer["outputs"][0];
            if is_so(status) {
                return status.clone();
            }
        }
    })
    .await
}

fn header<'a>(delivery: &'a Delivery, name: &str) -> &'a str {
    delivery.headers[name].to_str().unwrap()
}

/// As docs/outputs.md tells receivers to verify.
fn is_genuine(delivery: &Delivery, secret: &str) -> bool {
    let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let (id, timestamp) = (header(delivery, "webhook-id"), header(delivery, "webhook-timestamp"));
    let signed = [format!("{id}.{timestamp}.").as_bytes(), &delivery.body].concat();
    header(delivery, "webhook-signature").split(' ').any(|signature| {
        let signature = BASE64_STANDARD.decode(signature.strip_prefix("v1,").unwrap()).unwrap();
        hmac::verify(&key, &signed, &signature).is_ok()
    })
}

#[tokio::test]
async fn deliveries_are_signed_and_secrets_may_change() {
    let (receiver, secret) = (Receiver::start().await, secret());
    let harness = harness(receiver.address, &secret, 1000).await;
    let mut stream = harness.stream().await;
    stream.send(batch("a", (1..=25).map(|n| event(n, n)))).await.unwrap();
    receiver.until(|all| all.len() == 3).await;
    assert_eq!(receiver.sequences(), (1..=25).collect::<Vec<_>>());
    let deliveries = receiver.deliveries();
    assert!(deliveries.iter().all(|delivery| is_genuine(delivery, SECRET)));
    assert_eq!(header(&deliveries[0], "webhook-id"), "siem-1-10");
    let mut changed = deliveries[0].clone();
    changed.body = deliveries[1].body.clone();
    assert!(!is_genuine(&changed, SECRET), "another body has another signature");
    let body: Value = serde_json::from_slice(&deliveries[0].body).unwrap();
    assert_eq!((&body["type"], &body["data"]["events"][0]["node"]), (&json!("plimsoll.events"), &json!("a")));

    let new = SECRET.replace("BwcH", "CAcH");
    std::fs::write(secret.path(), &new).unwrap();
    stream.send(batch("a", [event(26, 26)])).await.unwrap();
    receiver.until(|all| all.len() == 4).await;
    let last = receiver.deliveries().pop().unwrap();
    assert!(is_genuine(&last, &new) && !is_genuine(&last, SECRET));
    harness.stop().await;
}

#[tokio::test]
async fn what_came_while_the_receiver_was_down_is_delivered_in_order() {
    let (receiver, secret) = (Receiver::start().await, secret());
    let address = receiver.address;
    drop(receiver);
    let mut harness = harness(address, &secret, 1000).await;
    for first in [1, 11, 21] {
        harness.stream().await.send(batch("a", (first..first + 10).map(|n| event(n, n)))).await.unwrap();
    }
    let failing = status(&harness, |status| status["retries"].as_u64() > Some(2)).await;
    assert_eq!((&failing["lag_events"], &failing["delivered"]), (&json!(30), &json!(0)));
    assert!(failing["failure"].as_str().unwrap().contains("error sending request"), "{failing}");
    assert_eq!(harness.metric("output_lag_events{output=\"siem\"}").await, 30);
    harness.restart().await;
    let receiver = Receiver::at(address, |_count, _body| StatusCode::NO_CONTENT.into_response()).await;
    let well = status(&harness, |status| status["lag_events"] == 0).await;
    assert_eq!((&well["delivered"], &well["failure"], &well["kind"]), (&json!(30), &Value::Null, &json!("webhook")));
    assert_eq!(receiver.sequences(), (1..=30).collect::<Vec<_>>());
    assert_eq!(harness.metric("output_events_delivered_total{output=\"siem\"}").await, 30);
    // Where it was is on disk: nothing is delivered again after a start.
    harness.restart().await;
    harness.stream().await.send(batch("a", [event(31, 31)])).await.unwrap();
    status(&harness, |status| status["delivered"] == 31).await;
    assert_eq!(receiver.sequences(), (1..=31).collect::<Vec<_>>());
    harness.stop().await;
}

#[tokio::test]
async fn an_event_that_is_refused_for_good_is_kept_and_the_others_go_on() {
    let secret = secret();
    let receiver = Receiver::answering(|_count, body| {
        if body.contains("/poison") {
            (StatusCode::BAD_REQUEST, "bad\npath").into_response()
        } else {
            "".into_response()
        }
    })
    .await;
    let harness = harness(receiver.address, &secret, 1000).await;
    let events = (1..=20).map(|n| if n == 7 { deny(n, n, "/poison") } else { event(n, n) });
    harness.stream().await.send(batch("a", events)).await.unwrap();
    let status = status(&harness, |status| status["lag_events"] == 0).await;
    assert_eq!((&status["delivered"], &status["dead_letters"]), (&json!(19), &json!(1)));
    assert_eq!(receiver.sequences(), (1..=20).filter(|n| *n != 7).collect::<Vec<_>>());
    let (_, letters) = harness.get("/v1/outputs/siem/dead-letters").await;
    let letter = &letters["dead_letters"][0];
    assert_eq!(letter["reason"], "the receiver answered 400 Bad Request: bad path");
    assert_eq!((&letter["event"]["sequence"], &letter["event"]["file"]["path"]), (&json!(7), &json!("/poison")));
    assert_eq!(harness.metric("output_dead_letters_total{output=\"siem\"}").await, 1);
    assert_eq!(harness.get("/v1/outputs/other/dead-letters").await.0, 404);
    harness.stop().await;
}

#[tokio::test]
async fn a_busy_receiver_is_given_the_time_it_asks_for() {
    let secret = secret();
    let receiver = Receiver::answering(|count, _body| match count {
        0 => (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, "1")]).into_response(),
        1 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        // A receiver that lost its configuration loses no events.
        2 => StatusCode::UNAUTHORIZED.into_response(),
        _ => StatusCode::OK.into_response(),
    })
    .await;
    let harness = harness(receiver.address, &secret, 1000).await;
    harness.stream().await.send(batch("a", (1..=5).map(|n| event(n, n)))).await.unwrap();
    status(&harness, |status| status["delivered"] == 5).await;
    let deliveries = receiver.deliveries();
    assert!(deliveries[1].at - deliveries[0].at >= Duration::from_secs(1));
    assert!(deliveries.iter().all(|delivery| header(delivery, "webhook-id") == "siem-1-5"));
    assert_eq!(harness.metric("output_retries_total{output=\"siem\"}").await, 3);
    harness.stop().await;
}

#[tokio::test]
async fn events_that_retention_removed_undelivered_are_counted() {
    let (receiver, secret) = (Receiver::start().await, secret());
    let address = receiver.address;
    drop(receiver);
    let mut harness = harness(address, &secret, 10).await;
    harness.stream().await.send(batch("a", (1..=30).map(|n| event(n, n)))).await.unwrap();
    status(&harness, |status| status["retries"].as_u64() > Some(0)).await;
    harness.restart().await;
    let stored = async || harness.get("/v1/events").await.1["events"].as_array().unwrap().len();
    within(async { while stored().await > 10 {} }).await;
    // What was read before it was removed is still delivered.
    harness.restart().await;
    let receiver = Receiver::at(address, |_count, _body| StatusCode::OK.into_response()).await;
    let status = status(&harness, |status| status["lag_events"] == 0).await;
    assert_eq!((&status["delivered"], &status["skipped"]), (&json!(10), &json!(20)));
    assert_eq!(receiver.sequences(), (21..=30).collect::<Vec<_>>());
    assert_eq!(harness.metric("output_events_skipped_total{output=\"siem\"}").await, 20);
    harness.stop().await;
}
