//! Versioned queries: filters beyond the first ones, pages while events arrive, counts by time, older databases.

use crate::harness::{Harness, batch, deny, event};
use plimsoll_proto::v1;
use serde_json::{Value, json};

const DAY: u64 = 86_400;

fn sequences(answer: &Value) -> Vec<u64> {
    answer["events"].as_array().unwrap().iter().map(|event| event["sequence"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn namespaces_and_policies_can_be_asked_for() {
    let harness = Harness::start().await;
    let mut other = deny(2, 2, "/tmp/x");
    "bank".clone_into(&mut other.workload.as_mut().unwrap().namespace);
    "strict".clone_into(&mut other.policy.as_mut().unwrap().name);
    harness.stream().await.send(batch("a", [event(1, 1), other])).await.unwrap();
    for (query, expected) in [
        ("namespace=shop", vec![1]),
        ("namespace=bank", vec![2]),
        ("policy=strict", vec![2]),
        ("policy=shop&namespace=bank", vec![]),
        ("since=1970-01-01T01:00:02%2B01:00", vec![2]),
    ] {
        assert_eq!(sequences(&harness.get(&format!("/v1/events?{query}")).await.1), expected, "{query}");
    }
    harness.stop().await;
}

#[tokio::test]
async fn events_that_arrive_meanwhile_move_no_page() {
    let harness = Harness::start().await;
    let mut stream = harness.stream().await;
    stream.send(batch("a", (1..=20).map(|n| event(n, 100)))).await.unwrap();
    let (_, first) = harness.get("/v1/events?limit=8").await;
    // Newer ones, and ones of the same moment, which come before the page that was seen.
    stream.send(batch("a", (21..=30).map(|n| event(n, 100 + n % 2)))).await.unwrap();
    let (mut found, mut next) = (sequences(&first), first["next"].clone());
    while let Some(cursor) = next.as_str() {
        let (_, page) = harness.get(&format!("/v1/events?limit=8&cursor={cursor}")).await;
        found.extend(sequences(&page));
        next = page["next"].clone();
    }
    assert_eq!(found, (1..=20).rev().collect::<Vec<_>>());
    harness.stop().await;
}

#[tokio::test]
async fn counts_are_those_of_the_events_and_bounded() {
    let harness = Harness::start().await;
    let mut stream = harness.stream().await;
    let audit = |sequence, seconds| {
        let mut event = event(sequence, seconds);
        event.verdict = v1::Verdict::Audit.into();
        event
    };
    let events = [event(1, 10), audit(2, 20), event(3, 30), event(4, 61), audit(5, DAY + 5)];
    stream.send(batch("a", events)).await.unwrap();
    let counted = |start: u64, groups: &[(&str, u64)]| {
        let counts = groups.iter().map(|(value, events)| json!({ "value": value, "events": events }));
        json!({ "start_unix_ns": start * 1_000_000_000, "events": groups.iter().map(|(_, n)| n).sum::<u64>(),
                "groups": counts.collect::<Vec<_>>(), "others": 0 })
    };
    let (_, minutes) = harness.get("/v1/events/buckets?by=minute").await;
    let expected =
        [counted(DAY, &[("audit", 1)]), counted(60, &[("deny", 1)]), counted(0, &[("deny", 2), ("audit", 1)])];
    assert_eq!(minutes, json!({ "by": "minute", "group": "verdict", "buckets": expected, "more": false }));
    let (_, newest) = harness.get("/v1/events/buckets?by=day&group=node&limit=1&verdict=audit").await;
    assert_eq!(newest["buckets"], json!([counted(DAY, &[("a", 1)])]));
    assert_eq!(newest["more"], true);
    let many = (6..=65).map(|n| {
        let mut event = event(n, 2 * DAY);
        event.package.as_mut().unwrap().name = n.to_string();
        event
    });
    stream.send(batch("a", many)).await.unwrap();
    let (_, packages) = harness.get(&format!("/v1/events/buckets?group=package&since={}", 2 * DAY)).await;
    assert_eq!(packages["buckets"][0]["groups"].as_array().unwrap().len(), 50);
    assert_eq!(packages["buckets"][0]["others"], 10);
    harness.stop().await;
}

#[tokio::test]
async fn a_database_without_namespaces_is_brought_on() {
    let mut harness = Harness::start().await;
    harness.stream().await.send(batch("a", [event(1, 1)])).await.unwrap();
    let older = rusqlite::Connection::open(harness.database()).unwrap();
    let back = "ALTER TABLE events DROP COLUMN namespace; ALTER TABLE events DROP COLUMN policy;
                DROP TABLE IF EXISTS outputs; DROP TABLE IF EXISTS dead_letters; PRAGMA user_version = 2";
    older.execute_batch(back).unwrap();
    drop(older);
    harness.restart().await;
    assert_eq!(sequences(&harness.get("/v1/events?namespace=shop&policy=shop").await.1), [1]);
    harness.stop().await;
}

#[tokio::test]
async fn the_interface_describes_itself() {
    let harness = Harness::start().await;
    let (status, document) = harness.get("/openapi.json").await;
    assert_eq!((status, &document["openapi"]), (200, &json!("3.1.0")));
    for path in document["paths"].as_object().unwrap().keys() {
        assert!(!harness.text(path).await.1.contains("nothing at this path"), "{path}");
    }
    harness.stop().await;
}
