//! Histories that do not go together, numbers that are missing, nodes that say nothing.

use std::time::Duration;

use plimsoll_proof::Link;
use plimsoll_proto::v1;
use prost::Message as _;
use serde_json::{Value, json};

use crate::harness::{Harness, batch, event, node, within};

/// A batch that goes on from `link`, and the link after it.
fn chained(name: &str, link: Link, events: impl IntoIterator<Item = v1::Event>) -> (v1::EventBatch, Link) {
    let mut batch = batch(name, events);
    let after = batch.events.iter().fold(link, |link, event| link.next(event));
    batch.chain_before = link.as_bytes().to_vec();
    batch.chain_after = after.as_bytes().to_vec();
    (batch, after)
}

fn start(name: &str) -> Link {
    let node = node(name);
    Link::start(&node.name, &node.boot_id, &node.spool_id)
}

fn events(numbers: std::ops::RangeInclusive<u64>, path: &str) -> Vec<v1::Event> {
    numbers.map(|number| crate::harness::deny(number, number, path)).collect()
}

/// Kind, numbers, and whether it still holds.
async fn findings(harness: &Harness, query: &str) -> Vec<(String, i64, i64, bool)> {
    let (status, answer) = harness.get(&format!("/findings{query}")).await;
    assert_eq!(status, 200, "{answer}");
    let found = answer["findings"].as_array().unwrap().iter();
    found
        .map(|finding| {
            let number = |name: &str| finding[name].as_i64().unwrap();
            let kind = finding["kind"].as_str().unwrap().to_owned();
            (kind, number("first"), number("last"), finding["ended_unix_ns"] == Value::Null)
        })
        .collect()
}

fn found(kind: &str, first: i64, last: i64, open: bool) -> (String, i64, i64, bool) {
    (kind.to_owned(), first, last, open)
}

#[tokio::test]
async fn an_honest_chain_goes_on_over_repetitions_and_restarts() {
    let mut harness = Harness::start().await;
    let (one, link) = chained("a", start("a"), events(1..=4, "/x"));
    let (two, end) = chained("a", link, events(5..=6, "/x"));
    let mut stream = harness.stream().await;
    for sent in [&one, &two, &one] {
        let answer = stream.send(sent.clone()).await.unwrap();
        assert!(!answer.contradicted);
    }
    harness.restart().await;
    let middle = one.events.iter().take(2).fold(start("a"), |link, event| link.next(event));
    let (over, _) = chained("a", middle, events(3..=8, "/x"));
    assert_eq!(over.events[..2], one.events[2..]);
    assert!(!harness.stream().await.send(over).await.unwrap().contradicted);
    assert_eq!(harness.metric("events_stored_total").await, 2);
    assert_eq!(harness.metric("events_duplicate_total").await, 4);
    assert_eq!(findings(&harness, "").await, []);
    let stored = rusqlite::Connection::open(harness.database()).unwrap();
    let row = |column: &str| {
        let sql = format!("SELECT {column} FROM events WHERE sequence = 7");
        stored.query_row(&sql, [], |row| row.get::<_, Vec<u8>>(0)).unwrap()
    };
    assert_eq!((row("chain"), row("body")), (end.as_bytes().to_vec(), events(7..=7, "/x")[0].encode_to_vec()));
    harness.stop().await;
}

#[tokio::test]
async fn a_node_that_goes_back_is_found_and_what_it_says_is_put_aside() {
    let harness = Harness::start().await;
    let (all, end) = chained("a", start("a"), events(1..=10, "/x"));
    let middle = all.events.iter().take(5).fold(start("a"), |link, event| link.next(event));
    let mut stream = harness.stream().await;
    stream.send(all).await.unwrap();
    // One event is the same, the next is another one.
    let (back, _) = chained("a", middle, [events(6..=6, "/x"), events(7..=8, "/other")].concat());
    let answer = stream.send(back).await.unwrap();
    assert_eq!((answer.sequence, answer.contradicted), (8, true));
    assert_eq!(findings(&harness, "?node=a").await, [found("rollback", 7, 8, true)]);
    assert_eq!(harness.metric("findings_total{kind=\"rollback\"}").await, 1);
    assert_eq!(harness.metric("events_refused_total{reason=\"contradiction\"}").await, 3);
    let (_, stored) = harness.get("/events?path=other").await;
    assert_eq!(stored["events"], json!([]));
    let database = rusqlite::Connection::open(harness.database()).unwrap();
    let aside = || database.query_row("SELECT count(*) FROM quarantined", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(aside(), 3);
    // The history itself goes on.
    let (on, _) = chained("a", end, events(11..=11, "/x"));
    assert!(!stream.send(on).await.unwrap().contradicted);
    // What is kept aside is bounded.
    for _ in 0..5 {
        let (back, _) = chained("a", middle, events(6..=305, "/flood"));
        stream.send(back).await.unwrap();
    }
    assert_eq!(aside(), 1024);
    assert_eq!(harness.metric("events_refused_total{reason=\"contradiction\"}").await, 1503);
    harness.stop().await;
}

#[tokio::test]
async fn two_histories_under_one_numbering_are_a_fork() {
    let harness = Harness::start().await;
    let mut stream = harness.stream().await;
    let (first, _) = chained("a", start("b"), events(1..=2, "/x"));
    assert!(stream.send(first).await.unwrap().contradicted, "the chain of another node");
    let (first, _) = chained("a", start("a"), events(1..=4, "/x"));
    assert!(!stream.send(first).await.unwrap().contradicted);
    let (foreign, _) = chained("a", start("z"), events(5..=6, "/x"));
    assert!(stream.send(foreign).await.unwrap().contradicted);
    let (foreign, _) = chained("a", start("z"), events(3..=4, "/x"));
    assert!(stream.send(foreign).await.unwrap().contradicted);
    assert!(stream.send(batch("a", events(5..=5, "/x"))).await.unwrap().contradicted, "no chain any more");
    stream.send(batch("b", events(1..=2, "/x"))).await.unwrap();
    let (late, _) = chained("b", start("b"), events(3..=3, "/x"));
    assert!(stream.send(late).await.unwrap().contradicted, "a chain from now on");
    assert_eq!(
        findings(&harness, "?kind=fork&node=a").await,
        [found("fork", 5, 6, true), found("fork", 3, 4, true), found("fork", 1, 2, true)]
    );
    assert_eq!(findings(&harness, "?kind=fork&node=b&open=true").await, [found("fork", 3, 3, true)]);
    assert_eq!(harness.metric("events_stored_total").await, 6);
    harness.stop().await;
}

#[tokio::test]
async fn batches_whose_links_do_not_fit_their_events_end_their_stream() {
    let harness = Harness::start().await;
    let good = || chained("a", start("a"), events(1..=3, "/x")).0;
    let mut wrong: Vec<v1::EventBatch> = std::iter::repeat_with(good).take(5).collect();
    wrong[0].events.swap(0, 1);
    wrong[1].chain_after[0] ^= 1;
    wrong[2].chain_before.pop();
    wrong[3].events.remove(1);
    wrong[4].events.clear();
    for (number, batch) in wrong.into_iter().enumerate() {
        let refused = harness.stream().await.send(batch).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{number}");
    }
    let mut rubbish = good();
    rubbish.events[1] = vec![0xff; 9].into();
    assert!(harness.stream().await.send(rubbish).await.is_err());
    assert_eq!(harness.metric("batches_refused_total{reason=\"chain\"}").await, 5);
    assert_eq!(harness.metric("batches_refused_total{reason=\"undecodable\"}").await, 1);
    assert_eq!(harness.metric("events_stored_total").await, 0);
    harness.stop().await;
}

#[tokio::test]
async fn a_gap_is_a_finding_unless_the_node_has_counted_it_as_lost() {
    let harness = Harness::start().await;
    let corrupt = |count| vec![v1::LossCount { cause: v1::LossCause::SpoolCorrupt.into(), count, since_unix_ns: 70 }];
    let mut stream = harness.stream().await;
    let (one, link) = chained("a", start("a"), events(1..=2, "/x"));
    stream.send(one).await.unwrap();
    let (lost, link) = chained("a", link, events(3..=4, "/x"));
    let (mut two, link) = chained("a", link, events(5..=6, "/x"));
    two.losses = corrupt(1);
    stream.send(two).await.unwrap();
    assert_eq!(findings(&harness, "").await, []);
    let link = events(7..=9, "/x").iter().fold(link, |link, event| link.next(&event.encode_to_vec()));
    let (three, _) = chained("a", link, events(10..=10, "/x"));
    stream.send(three).await.unwrap();
    assert_eq!(findings(&harness, "").await, [found("gap", 7, 9, true)]);
    // It comes late, from where the gap begins; another history of the gap is a fork.
    let (other, _) = chained("a", start("z"), events(3..=4, "/x"));
    assert!(stream.send(other).await.unwrap().contradicted);
    assert!(!stream.send(lost).await.unwrap().contradicted);
    // That stretch needs no explanation any more, so the count explains the other.
    stream.send(v1::EventBatch { losses: corrupt(2), ..batch("a", []) }).await.unwrap();
    assert_eq!(findings(&harness, "?kind=gap").await, [found("gap", 7, 9, false)]);
    assert_eq!(findings(&harness, "?kind=gap&open=true").await, []);
    harness.stop().await;
}

#[tokio::test]
async fn a_silent_node_is_found_and_heard_again() {
    let mut harness = Harness::start_with(|config| config.silent_after = Duration::from_millis(50)).await;
    harness.stream().await.send(batch("a", [event(1, 1)])).await.unwrap();
    silent(&harness).await;
    harness.restart().await;
    assert_eq!(findings(&harness, "").await, [found("silent-node", 0, 0, true)]);
    harness.stream().await.send(batch("a", [])).await.unwrap();
    let ended = found("silent-node", 0, 0, false);
    assert!(
        findings(&harness, "").await == [ended] || harness.metric("findings_total{kind=\"silent-node\"}").await > 0
    );
    silent(&harness).await;
    let (_, answer) = harness.get("/findings").await;
    assert_eq!(answer["findings"][0]["count"], 2);
    harness.stop().await;
}

async fn silent(harness: &Harness) {
    within(async {
        let mut polls = tokio::time::interval(Duration::from_millis(20));
        while harness.metric("findings_total{kind=\"silent-node\"}").await == 0 {
            polls.tick().await;
        }
    })
    .await;
}

#[tokio::test]
async fn wrong_questions_about_findings_are_told_what_is_right() {
    let harness = Harness::start().await;
    for query in ["?kind=gaps", "?colour=red", "?open=maybe"] {
        let (status, answer) = harness.get(&format!("/findings{query}")).await;
        assert_eq!(status, 400, "{query}");
        assert!(answer["help"].as_str().unwrap().contains("rollback"), "{answer}");
    }
    harness.stop().await;
}

#[tokio::test]
async fn a_database_of_version_1_is_brought_up_to_date() {
    let harness = Harness::start().await;
    let database = harness.database();
    let keep = harness.stop_and_keep().await;
    std::fs::remove_file(&database).unwrap();
    let old = rusqlite::Connection::open(&database).unwrap();
    old.execute_batch(include_str!("../../src/store/schema/1.sql")).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    old.execute_batch("INSERT INTO numberings VALUES (1, 'a', 'boot', 'spool', '0', 3, 0, 9000000000000000000)")
        .unwrap();
    drop(old);
    let mut harness = Harness::adopt(keep).await;
    assert!(!harness.stream().await.send(batch("a", [event(4, 4)])).await.unwrap().contradicted);
    assert_eq!(harness.metric("events_missing_total").await, 0);
    harness.restart().await;
    assert_eq!(harness.get("/nodes").await.1["nodes"][0]["last_sequence"], 4);
    harness.stop().await;
}
