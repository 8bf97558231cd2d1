//! A real client, a real SQLite file: what agents send is stored once, and found again.

use crate::harness::{Harness, batch, deny, event, node};
use plimsoll_proto::{limits, v1};
use serde_json::Value;

fn sequences(answer: &Value) -> Vec<u64> {
    answer["events"].as_array().unwrap().iter().map(|event| event["sequence"].as_u64().unwrap()).collect()
}

/// Three events that differ in everything that can be asked for, at 100, 200 and 300 seconds; and one of another node.
async fn varied() -> Harness {
    let harness = Harness::start().await;
    let mut listed = event(1, 100);
    listed.verdict = v1::Verdict::Allow.into();
    listed.reason = v1::Reason::Listed.into();
    let mut mapped = deny(2, 200, "/tmp/100%_evil.so");
    mapped.hook = v1::Hook::Map.into();
    mapped.reason = v1::Reason::Foreign.into();
    "w2".clone_into(&mut mapped.workload.as_mut().unwrap().id);
    mapped.image = Some(v1::Image { digest: "sha256:bb".to_owned(), reference: "shop/web:2".to_owned() });
    let mut bare = deny(3, 300, "/usr/bin/curl");
    bare.package = None;
    let mut stream = harness.stream().await;
    assert_eq!(stream.send(batch("a", [listed, mapped, bare])).await.unwrap().sequence, 3);
    assert_eq!(harness.stream().await.send(batch("b", [event(1, 150)])).await.unwrap().sequence, 1);
    harness
}

#[tokio::test]
async fn every_filter_finds_what_it_names_and_nothing_else() {
    let harness = varied().await;
    for (query, expected) in [
        ("", vec![3, 2, 1, 1]),
        ("node=a", vec![3, 2, 1]),
        ("node=b", vec![1]),
        ("workload=w2", vec![2]),
        ("image=sha256:bb", vec![2]),
        ("image=shop/web:2", vec![2]),
        ("node=a&package=coreutils", vec![2, 1]),
        ("node=a&package=pkg:deb/debian/coreutils@9.1", vec![2, 1]),
        ("verdict=allow", vec![1]),
        ("reason=foreign", vec![2]),
        ("hook=map", vec![2]),
        ("path=bin/cu", vec![3]),
        ("path=100%25_", vec![2]),
        ("path=BIN/CU", vec![]),
        ("since=200", vec![3, 2]),
        ("until=200", vec![1, 1]),
        ("since=1970-01-01T00:03:20Z&until=300", vec![2]),
        ("node=a&verdict=deny&hook=exec", vec![3]),
        ("node=%27%20OR%201=1--", vec![]),
    ] {
        assert_eq!(sequences(&harness.get(&format!("/events?{query}")).await.1), expected, "{query}");
    }
    harness.stop().await;
}

#[tokio::test]
async fn pages_cover_everything_once() {
    let harness = Harness::start().await;
    // All at the same moment, so that only the id orders them.
    let events = (1..=25).map(|sequence| event(sequence, 7));
    harness.stream().await.send(batch("a", events)).await.unwrap();
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let (status, page) = harness.get(&format!("/events?limit=10{cursor}")).await;
        assert_eq!(status, 200);
        found.extend(sequences(&page));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(found, (1..=25).rev().collect::<Vec<_>>());
    harness.stop().await;
}

#[tokio::test]
async fn an_event_comes_back_as_it_was_sent() {
    let harness = Harness::start().await;
    let mut sent = deny(1, 100, "/tmp/x");
    // No one event has all of it; what is sent is what comes back.
    sent.network = Some(v1::Network { address: "10.2.0.1".to_owned(), port: 443, protocol: "udp".to_owned() });
    sent.operation = "mount".to_owned();
    harness.stream().await.send(batch("a", [sent])).await.unwrap();
    let (_, answer) = harness.get("/events").await;
    let mut found = answer["events"][0].clone();
    assert!(found["received_unix_ns"].take().as_u64().unwrap() > 1_700_000_000_000_000_000);
    let expected = serde_json::json!({
        "node": "a", "boot_id": "boot", "spool_id": "spool", "received_unix_ns": null,
        "sequence": 1, "kernel_sequence": 9, "time_unix_ns": 100_000_000_000_u64,
        "verdict": "deny", "reason": "not-listed", "hook": "exec", "mode": "enforce",
        "process": { "tgid": 10, "tid": 11, "uid": 12, "comm": "sh", "ancestors": [{ "tgid": 1, "comm": "init" }] },
        "file": { "path": "/tmp/x", "path_raw": "ff00", "path_is_name_only": false, "dev": 8, "ino": u64::MAX,
                  "size": 3, "sha256": "", "origin": "dropped" },
        "package": { "name": "coreutils", "version": "9.1", "purl": "pkg:deb/debian/coreutils@9.1" },
        "evidence": "package-digest", "sbom_digest": "sha256:cc",
        "image": { "digest": "sha256:aa", "reference": "shop/web:1" },
        "workload": { "id": "w1", "namespace": "shop", "labels": { "app": "web" }, "cgroup": 77,
                      "pod": "web-0", "pod_uid": "u1", "container": "web", "service_account": "web",
                      "owner": { "kind": "StatefulSet", "name": "web" } },
        "policy": { "name": "shop", "generation": "g1", "rule": "", "authority": "cluster" },
        "network": { "address": "10.2.0.1", "port": 443, "protocol": "udp" }, "operation": "mount",
        "cloud": { "provider": "gcp", "region": "europe-west3", "zone": "", "account": "", "instance": "" },
    });
    assert_eq!(found, expected);
    harness.stop().await;
}

#[tokio::test]
async fn what_was_sent_twice_is_stored_once_also_after_a_restart() {
    let mut harness = Harness::start().await;
    harness.stream().await.send(batch("a", [event(1, 1), event(2, 2)])).await.unwrap();
    let again = harness.stream().await.send(batch("a", [event(2, 2), event(3, 3)])).await.unwrap();
    assert_eq!(again.sequence, 3);
    assert_eq!(harness.metric("events_duplicate_total").await, 1);
    harness.restart().await;
    let again = harness.stream().await.send(batch("a", [event(1, 1), event(2, 2), event(3, 3), event(4, 4)])).await;
    assert_eq!(again.unwrap().sequence, 4);
    assert_eq!(harness.metric("events_duplicate_total").await, 3);
    assert_eq!(sequences(&harness.get("/events").await.1), [4, 3, 2, 1]);
    // Another numbering of the same node is no duplicate.
    let mut other = batch("a", [event(1, 5)]);
    "wiped".clone_into(&mut other.node.as_mut().unwrap().spool_id);
    harness.stream().await.send(other).await.unwrap();
    assert_eq!(sequences(&harness.get("/events").await.1), [1, 4, 3, 2, 1]);
    harness.stop().await;
}

#[tokio::test]
async fn gaps_and_losses_are_known_per_node() {
    let harness = Harness::start().await;
    let mut stream = harness.stream().await;
    stream.send(batch("a", [event(1, 1), event(5, 5)])).await.unwrap();
    let gaps = |answer: &Value| {
        let gaps = answer["nodes"][0]["gaps"].as_array().unwrap().clone();
        gaps.iter().map(|gap| (gap["first"].as_i64().unwrap(), gap["last"].as_i64().unwrap())).collect::<Vec<_>>()
    };
    let (_, nodes) = harness.get("/nodes").await;
    assert_eq!((gaps(&nodes), nodes["nodes"][0]["missing"].as_i64()), (vec![(2, 4)], Some(3)));
    // One that was thought lost comes late; it is no duplicate.
    stream.send(batch("a", [event(3, 3)])).await.unwrap();
    let mut heartbeat = batch("a", []);
    let loss = |count| v1::LossCount { cause: v1::LossCause::SpoolFull.into(), count, since_unix_ns: 70 };
    heartbeat.losses = vec![loss(4)];
    assert_eq!(stream.send(heartbeat.clone()).await.unwrap().sequence, 5);
    // A total that is sent again, or out of order, changes nothing.
    heartbeat.losses = vec![loss(3), loss(6)];
    stream.send(heartbeat).await.unwrap();
    let (_, nodes) = harness.get("/nodes").await;
    assert_eq!((gaps(&nodes), nodes["nodes"][0]["missing"].as_i64()), (vec![(4, 4), (2, 2)], Some(2)));
    let losses = &nodes["nodes"][0]["losses"];
    assert_eq!(*losses, serde_json::json!([{ "cause": "spool-full", "count": 6, "since_unix_ns": 70 }]));
    assert_eq!(nodes["nodes"][0]["last_sequence"], 5);
    assert_eq!(harness.metric("events_missing_total").await, 3);
    assert_eq!(harness.metric("losses_reported_total{cause=\"spool-full\"}").await, 6);
    harness.stop().await;
}

#[tokio::test]
async fn malformed_events_are_acknowledged_counted_and_not_stored() {
    let harness = Harness::start().await;
    let mut verdictless = event(2, 2);
    verdictless.verdict = 0;
    let mut long = event(3, 3);
    long.file.as_mut().unwrap().path = "x".repeat(limits::PATH + 1);
    let mut crowded = event(4, 4);
    crowded.process.as_mut().unwrap().ancestors = vec![v1::Ancestor::default(); limits::ANCESTORS + 1];
    let mut large = event(5, 5);
    large.workload.as_mut().unwrap().labels =
        (0..limits::LABELS).map(|n| (n.to_string(), "x".repeat(limits::LABEL))).collect();
    let mut timeless = event(6, 6);
    timeless.time_unix_ns = u64::MAX;
    let events = [event(1, 1), verdictless, long, crowded, large, timeless, event(7, 7), event(7, 7)];
    let acknowledged = harness.stream().await.send(batch("a", events)).await.unwrap();
    assert_eq!(acknowledged.sequence, 7);
    assert_eq!(sequences(&harness.get("/events").await.1), [7, 1]);
    for reason in ["incomplete", "too-long", "too-many", "oversized", "time", "sequence"] {
        assert_eq!(harness.metric(&format!("events_refused_total{{reason=\"{reason}\"}}")).await, 1, "{reason}");
    }
    assert_eq!(harness.get("/nodes").await.1["nodes"][0]["missing"], 0, "a refused event is not a missing one");
    harness.stop().await;
}

#[tokio::test]
async fn batches_out_of_bounds_end_their_stream_and_are_counted() {
    let harness = Harness::start().await;
    let mut huge = batch("a", []);
    huge.agent_version = "x".repeat(limits::BATCH_BYTES + 1);
    let mut nameless = batch("a", []);
    nameless.node = Some(v1::Node { name: String::new(), ..node("a") });
    let crowded =
        batch("a", (1..).take(limits::BATCH_EVENTS + 1).map(|n| v1::Event { sequence: n, ..Default::default() }));
    let mut losing = batch("a", []);
    losing.losses = vec![v1::LossCount::default(); limits::LOSSES + 1];
    for (bad, code, reason) in [
        (huge, tonic::Code::OutOfRange, "too-large"),
        (nameless, tonic::Code::InvalidArgument, "node"),
        (crowded, tonic::Code::InvalidArgument, "too-many-events"),
        (losing, tonic::Code::InvalidArgument, "too-many-losses"),
    ] {
        assert_eq!(harness.stream().await.send(bad).await.unwrap_err().code(), code);
        assert_eq!(harness.metric(&format!("batches_refused_total{{reason=\"{reason}\"}}")).await, 1);
    }
    harness.stream().await.send(batch("a", [event(1, 1)])).await.unwrap();
    harness.stop().await;
}

#[tokio::test]
async fn wrong_queries_are_told_what_is_right() {
    let harness = Harness::start().await;
    let (status, answer) = harness.get("/events?verdict=no").await;
    assert_eq!(status, 400);
    let expected =
        serde_json::json!({ "error": "`no` is not a value of `verdict`", "help": "one of: allow, audit, deny" });
    assert_eq!(answer, expected);
    assert_eq!(harness.get("/events?node=%ff").await.0, 200, "invalid UTF-8 matches no node");
    assert_eq!(harness.get("/nowhere").await.0, 404);
    assert_eq!(harness.text("/readyz").await.0, 200);
    assert_eq!(harness.text("/livez").await.0, 200);
    harness.stop().await;
}
