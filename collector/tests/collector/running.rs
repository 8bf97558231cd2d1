//! How the collector starts, stops, lets agents in, and forgets.

use std::os::unix::fs::PermissionsExt as _;

use crate::harness::{Harness, batch, event, within};
use plimsoll_collector::server::{Server, StartError};

#[tokio::test]
async fn strangers_are_not_listened_to_without_tls() {
    let harness = Harness::start().await;
    let mut config = harness.config();
    config.grpc = "0.0.0.0:0".parse().unwrap();
    let error = Server::start(config).await.unwrap_err();
    assert!(matches!(error, StartError::Config(_)) && error.to_string().contains("tls.trustDomains"), "{error}");
    let mut config = harness.config();
    config.http = "0.0.0.0:0".parse().unwrap();
    assert!(Server::start(config).await.unwrap_err().to_string().contains("allowRemoteQueries: true"));
    harness.stop().await;
}

#[tokio::test]
async fn one_database_has_one_collector_and_is_private() {
    let harness = Harness::start().await;
    let error = Server::start(harness.config()).await.unwrap_err().to_string();
    assert!(error.contains("in use by another collector"), "{error}");
    let mode = std::fs::metadata(harness.database()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    harness.stop().await;
}

#[tokio::test]
async fn a_database_of_another_version_is_left_alone() {
    let mut harness = Harness::start().await;
    harness.stream().await.send(batch("a", [event(1, 1)])).await.unwrap();
    let (database, config) = (harness.database(), harness.config());
    harness.restart().await;
    let other = rusqlite::Connection::open(&database).unwrap();
    other.pragma_update(None, "user_version", 99).unwrap();
    drop(other);
    let keep = harness.stop_and_keep().await;
    let error = Server::start(config).await.unwrap_err().to_string();
    assert!(error.contains("schema version 99"), "{error}");
    drop(keep);
}

#[tokio::test]
async fn stopping_acknowledges_what_was_taken_and_leaves_one_file() {
    let harness = Harness::start().await;
    let mut stream = harness.stream().await;
    stream.send(batch("a", [event(1, 1)])).await.unwrap();
    let database = harness.database();
    // The last connection to close would fold the log by itself; one that stays shows that the collector did.
    let other = rusqlite::Connection::open(&database).unwrap();
    let count = || other.query_row("SELECT count(*) FROM events", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count(), 1);
    let keep = harness.stop_and_keep().await;
    let ended = within(stream.answers.message()).await;
    assert_eq!(ended.unwrap_err().code(), tonic::Code::Unavailable);
    let log = database.with_extension("db-wal");
    assert_eq!(std::fs::metadata(log).unwrap().len(), 0);
    assert_eq!(count(), 1);
    drop(keep);
}

#[tokio::test]
async fn a_failed_write_is_not_acknowledged_and_nothing_after_it_either() {
    let harness = Harness::start().await;
    let mut stream = harness.stream().await;
    stream.send(batch("a", [event(1, 1)])).await.unwrap();
    let breaker = rusqlite::Connection::open(harness.database()).unwrap();
    breaker
        .execute_batch("CREATE TRIGGER full BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'full'); END")
        .unwrap();
    stream.batches.send(batch("a", [event(2, 2)])).await.unwrap();
    stream.batches.send(batch("a", [])).await.unwrap();
    assert_eq!(stream.answer().await.unwrap_err().code(), tonic::Code::Unavailable);
    assert!(harness.metric("commit_failures_total").await >= 1);
    breaker.execute_batch("DROP TRIGGER full").unwrap();
    let again = harness.stream().await.send(batch("a", [event(2, 2), event(3, 3)])).await.unwrap();
    assert_eq!(again.sequence, 3);
    assert_eq!(harness.get("/events").await.1["events"].as_array().unwrap().len(), 3);
    assert_eq!(harness.metric("events_missing_total").await, 0);
    assert_eq!(harness.text("/readyz").await.0, 200);
    harness.stop().await;
}

#[tokio::test]
async fn retention_removes_the_oldest_and_still_knows_them() {
    let mut harness = Harness::start_with(|config| config.retention.max_events = 10).await;
    harness.stream().await.send(batch("a", (1..=30).map(|n| event(n, n)))).await.unwrap();
    within(async {
        while harness.metric("events_pruned_total").await < 20 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    harness.restart().await;
    harness.stream().await.send(batch("a", [event(1, 1)])).await.unwrap();
    let (_, answer) = harness.get("/events").await;
    assert_eq!(answer["events"].as_array().unwrap().len(), 10);
    assert_eq!(answer["events"][9]["sequence"], 21);
    assert_eq!(harness.metric("events_duplicate_total").await, 1, "a removed event is still a duplicate");
    harness.stop().await;
}
