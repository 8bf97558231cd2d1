//! What an export says of events that are missing, and of a database that somebody wrote to.

use plimsoll_proof::{
    Link,
    export::{Broken, Cause, Fault, Report, Verifier},
};
use plimsoll_proto::v1;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::harness::{Harness, batch, event, node, within};

/// A batch that goes on from `link`, and the link after it.
fn chained(link: Link, events: Vec<v1::Event>) -> (v1::EventBatch, Link) {
    let mut batch = batch("a", events);
    let after = batch.events.iter().fold(link, |link, event| link.next(event));
    batch.chain_before = link.as_bytes().to_vec();
    batch.chain_after = after.as_bytes().to_vec();
    (batch, after)
}

fn start() -> Link {
    let v1::Node { name, boot_id, spool_id } = node("a");
    Link::start(&name, &boot_id, &spool_id)
}

async fn export(harness: &Harness) -> Result<Report, Broken> {
    let mut answer = Vec::new();
    within(async {
        let mut connection = TcpStream::connect(harness.server().http_address()).await.unwrap();
        // HTTP/1.0 has no chunks.
        connection.write_all(b"GET /audit/export HTTP/1.0\r\n\r\n").await.unwrap();
        connection.read_to_end(&mut answer).await.unwrap();
    })
    .await;
    let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let mut verifier = Verifier::new(Vec::new());
    for line in answer[head + 4..].split_inclusive(|byte| *byte == b'\n') {
        verifier.line(line)?;
    }
    verifier.finish()
}

#[tokio::test]
async fn what_retention_removed_is_said_and_nothing_else_is_missing() {
    let harness = Harness::start_with(|config| config.retention.max_events = 10).await;
    let (all, _) = chained(start(), (1..=30).map(|n| event(n, n)).collect());
    harness.stream().await.send(all).await.unwrap();
    within(async {
        while harness.metric("events_pruned_total").await < 20 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let report = export(&harness).await.unwrap();
    let [coverage] = &report.numberings[..] else { panic!("{report:?}") };
    assert_eq!((coverage.events, coverage.removed, coverage.signed), (10, 20, 0));
    assert_eq!(report.unexplained().count(), 0);
    harness.stop().await;
}

#[tokio::test]
async fn every_gap_has_its_cause_and_numberings_without_a_chain_are_called_so() {
    let harness = Harness::start().await;
    let mut stream = harness.stream().await;
    let refused = v1::Event { verdict: 0, ..event(3, 3) };
    let (one, link) = chained(start(), vec![event(1, 1), event(2, 2), refused, event(4, 4)]);
    let (_, link) = chained(link, vec![event(5, 5), event(6, 6)]);
    let (two, _) = chained(link, (7..=1500).map(|n| event(n, n)).take(1000).collect());
    let mut plain = batch("b", [event(2, 2), event(3, 3)]);
    plain.agent_version = "old".to_owned();
    for sent in [one, two, plain] {
        assert!(!stream.send(sent).await.unwrap().contradicted);
    }
    let report = export(&harness).await.unwrap();
    let [chain, none] = &report.numberings[..] else { panic!("{report:?}") };
    let gaps = |coverage: &plimsoll_proof::export::Coverage| {
        coverage.gaps.iter().map(|gap| (gap.first, gap.last, gap.cause)).collect::<Vec<_>>()
    };
    assert_eq!(gaps(chain), [(3, 3, Cause::Refused), (5, 6, Cause::Missing)]);
    assert_eq!(gaps(none), [(1, 1, Cause::Missing)]);
    assert_eq!((chain.events, chain.numbering.chained), (1003, true));
    assert_eq!((none.events, none.numbering.chained), (2, false));
    assert_eq!(report.unexplained().count(), 3);
    harness.stop().await;
}

#[tokio::test]
async fn a_database_that_was_written_to_is_found_at_the_event() {
    let harness = Harness::start().await;
    let (all, _) = chained(start(), (1..=9).map(|n| event(n, n)).collect());
    harness.stream().await.send(all).await.unwrap();
    let database = rusqlite::Connection::open(harness.database()).unwrap();
    for sequence in [9, 5, 1] {
        let other =
            "UPDATE events SET body = CAST(substr(body, 1, length(body) - 1) || x'7f' AS BLOB) WHERE sequence = ?1";
        assert_eq!(database.execute(other, [sequence]).unwrap(), 1);
        let broken = export(&harness).await.unwrap_err();
        assert!(matches!(broken.fault, Fault::Chain), "{broken}");
        assert_eq!(broken.place.unwrap().sequence, sequence);
    }
    database.execute("DELETE FROM events WHERE sequence IN (1, 5, 9)", []).unwrap();
    let report = export(&harness).await.unwrap();
    let missing: Vec<_> = report.unexplained().map(|(_, gap)| gap.first).collect();
    assert_eq!((missing, report.numberings[0].removed), (vec![5, 9], 1));
    harness.stop().await;
}
