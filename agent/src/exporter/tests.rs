use std::path::Path;

use super::*;

/// An address where nobody listens.
fn nowhere(spool: &Path) -> ExporterConfig {
    ExporterConfig {
        node: "node-1".to_owned(),
        boot_id: "boot-1".to_owned(),
        agent_version: "0".to_owned(),
        endpoint: Endpoint::new("http://127.0.0.1:1", None).unwrap(),
        spool: spool.to_owned(),
        spool_bytes: 1 << 20,
        queue: 16,
    }
}

#[tokio::test]
async fn without_a_collector_events_wait_in_the_spool() {
    let directory = tempfile::tempdir().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let exporter = Exporter::start(nowhere(directory.path()), async { drop(stopped.await) }).unwrap();
    let handle = exporter.handle();
    for _ in 0..3 {
        handle.try_submit(Event::default()).unwrap();
    }
    stop.send(()).unwrap();
    exporter.finished().await;
    let counted = handle.snapshot();
    assert_eq!((counted.spooled, counted.sent, counted.queue_full), (3, 0, 0));
    assert_eq!(handle.try_submit(Event::default()), Err(Dropped::Stopped));
    assert_eq!(handle.snapshot().queue_full, 1);

    let (_, mut reader) = spool::open(directory.path(), 1 << 20, "boot-1", &Arc::default()).unwrap();
    assert_eq!(reader.read(10, 1 << 20).unwrap().unwrap().last, 3);
}

#[tokio::test]
async fn every_event_is_either_taken_or_counted() {
    let directory = tempfile::tempdir().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let exporter = Exporter::start(nowhere(directory.path()), async { drop(stopped.await) }).unwrap();
    let handle = exporter.handle();
    let refused = (0..20_000).filter(|_| handle.try_submit(Event::default()).is_err()).count() as u64;
    stop.send(()).unwrap();
    exporter.finished().await;
    let counted = handle.snapshot();
    assert_eq!(counted.queue_full, refused);
    assert_eq!(counted.spooled + counted.spool_full, 20_000 - refused);
}

#[tokio::test]
async fn an_oversized_event_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(nowhere(directory.path()), async {}).unwrap();
    let event = Event { evidence: "x".repeat(limits::EVENT_BYTES), ..Default::default() };
    assert_eq!(exporter.handle().try_submit(event), Err(Dropped::Oversized));
    assert_eq!(exporter.handle().snapshot().oversized, 1);
}

#[test]
fn a_node_without_a_name_cannot_export() {
    let directory = tempfile::tempdir().unwrap();
    let config = ExporterConfig { node: String::new(), ..nowhere(directory.path()) };
    assert!(matches!(Exporter::start(config, async {}), Err(ExporterError::Name)));
}

#[test]
fn losses_are_told_only_if_there_are_any() {
    let losses = Losses::default();
    assert_eq!(losses.all(&Snapshot::default(), 7), []);
    losses.set(LossCause::DenialRing, 3, 5);
    let own = Snapshot { spool_full: 2, ..Snapshot::default() };
    let told: Vec<_> = losses.all(&own, 7).into_iter().map(|loss| (loss.cause(), loss.count, loss.since_unix_ns)).collect();
    assert_eq!(told, [(LossCause::SpoolFull, 2, 7), (LossCause::DenialRing, 3, 5)]);
}
