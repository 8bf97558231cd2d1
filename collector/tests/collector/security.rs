//! Attacks on the real program over real TLS: refused, counted, and with bounded memory.

mod process;

use std::{net::IpAddr, time::Duration};

use plimsoll_proof::Link;
use plimsoll_proto::v1;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

use self::process::Process;
use crate::harness::{batch, deny, within};

/// Growth of resident memory, in MiB, that no attack may pass.
const MEMORY: u64 = 192;
/// Files of this process that are left for other tests.
const RESERVE: u64 = 2000;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

struct Row {
    attack: &'static str,
    attempts: u64,
    refused: u64,
    mib: u64,
}

fn table(rows: &[Row]) {
    println!("| Attack | Attempts | Refused and counted | Resident memory, MiB |\n|---|---:|---:|---:|");
    for Row { attack, attempts, refused, mib } in rows {
        println!("| {attack} | {attempts} | {refused} | {mib} |");
    }
}

async fn connect(collector: &Process, from: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((IpAddr::from(from), 0).into()).unwrap();
    within(socket.connect(collector.grpc)).await.unwrap()
}

/// Ten thousand, or what the limit of open files leaves room for.
fn crowd() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
    let room = limit.maximum.map_or(u64::MAX, |maximum| maximum.saturating_sub(RESERVE));
    let crowd = room.min(10_000);
    if crowd < 10_000 {
        println!("the limit of open files leaves room for {crowd} connections of 10000");
    }
    crowd
}

/// A batch of a node is taken, while whatever else goes on.
async fn honest(collector: &Process, name: &str, sequence: u64, from: [u8; 4]) {
    let mut stream = collector.node(name, from).await.unwrap();
    let (mut events, start) = (batch(name, [deny(sequence, 1, "/x")]), Link::start(name, "boot", "spool"));
    if sequence == 1 {
        events.chain_before = start.as_bytes().to_vec();
        events.chain_after = start.next(&events.events[0]).as_bytes().to_vec();
    }
    assert_eq!(stream.send(events).await.unwrap().sequence, sequence);
}

#[tokio::test(flavor = "multi_thread")]
async fn crowds_and_slow_clients_are_turned_away_and_others_are_served() {
    let collector = Process::start(&[]);
    honest(&collector, "first", 1, [127, 0, 0, 2]).await;
    let before = collector.resident();
    let mut rows = vec![Row { attack: "none", attempts: 1, refused: 0, mib: before }];
    let refused = ["too-many-of-address", "timeout", "connection", "protocol"];

    let crowd = crowd();
    let mut held = Vec::new();
    for _ in 0..crowd {
        held.push(connect(&collector, [127, 0, 0, 1]).await);
    }
    honest(&collector, "second", 1, [127, 0, 0, 2]).await;
    let mib = collector.resident();
    let counted = collector.until_refused(&refused, crowd).await;
    rows.push(Row { attack: "connections of one address that say nothing", attempts: crowd, refused: counted, mib });
    drop(held);

    // A byte now and then, and never a whole handshake.
    let slow = 200;
    let mut slowly = JoinSet::new();
    for _ in 0..slow {
        let mut stream = connect(&collector, [127, 0, 0, 3]).await;
        slowly.spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(500));
            // The header of a handshake record; its content comes for ever.
            let mut bytes = [0x16, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb].into_iter().chain(std::iter::repeat(3));
            while stream.write_all(&[bytes.next().unwrap()]).await.is_ok() {
                ticks.tick().await;
            }
        });
    }
    let counted = collector.until_refused(&refused, crowd + slow).await - crowd;
    rows.push(Row {
        attack: "handshakes a byte at a time",
        attempts: slow,
        refused: counted,
        mib: collector.resident(),
    });
    within(slowly.join_all()).await;

    // A whole handshake with a good certificate, and nothing behind it, or half of HTTP/2's first words.
    let mut held = Vec::new();
    for number in 0..100 {
        let mut stream = collector.tls("mute", [127, 0, 0, 4]).await;
        stream.write_all(&PREFACE[..number % 24]).await.unwrap();
        held.push(stream);
    }
    let counted = collector.until_refused(&refused, crowd + slow + 100).await - crowd - slow;
    rows.push(Row { attack: "TLS, and never a request", attempts: 100, refused: counted, mib: collector.resident() });
    drop(held);
    honest(&collector, "third", 1, [127, 0, 0, 2]).await;
    table(&rows);
    let most = rows.iter().map(|row| row.mib).max().unwrap();
    assert!(most < before + MEMORY, "{most} MiB, {before} before");
    assert!(rows.iter().all(|row| row.attack == "none" || row.refused >= row.attempts));
    collector.stop();
}

/// Frames that no client sends, behind the preface.
fn rubbish() -> Vec<(&'static str, Vec<u8>)> {
    let frame = |kind: u8, flags: u8, stream: u32, body: &[u8]| {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), body].concat()
    };
    let mut endless = frame(1, 0, 1, &[0x82]);
    for _ in 0..2000 {
        endless.extend(frame(9, 0, 1, &[0x40; 1 << 10]));
    }
    let mut resets = Vec::new();
    for stream in (1..40_000_u32).step_by(2) {
        resets.extend(frame(1, 4, stream, &[0x83, 0x86, 0x84]));
        resets.extend(frame(3, 0, stream, &[0, 0, 0, 8]));
    }
    vec![
        ("frames of 16 MiB", [&[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1][..], &[7; 64 << 10]].concat()),
        ("bytes at random", (0..64_u32 << 10).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[1]).collect()),
        ("headers without an end", endless),
        ("requests that are reset at once", resets),
        ("data for no stream", frame(0, 1, 0, &[0; 100])),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_frames_end_their_connection() {
    let collector = Process::start(&[]);
    let before = collector.resident();
    let mut most = before;
    println!("| Frames | Connections | Ended by the collector | Resident memory, MiB |\n|---|---:|---:|---:|");
    for (attack, bytes) in rubbish() {
        let mut ended = 0;
        for _ in 0..20 {
            let mut stream = collector.tls("noise", [127, 0, 0, 1]).await;
            let (mut reader, mut writer) = tokio::io::split(&mut stream);
            // The other end may close in the middle of it.
            let all = [PREFACE, SETTINGS, &bytes].concat();
            let writing = async { writer.write_all(&all).await.is_ok() };
            let mut answer = Vec::new();
            // Comes to its end once the collector closes, with an error or without one.
            let (_, read) = within(async { tokio::join!(writing, reader.read_to_end(&mut answer)) }).await;
            ended += u32::from(read.is_err() || answer.len() < 1 << 20);
        }
        let mib = collector.resident();
        println!("| {attack} | 20 | {ended} | {mib} |");
        assert_eq!(ended, 20, "{attack}");
        most = most.max(mib);
    }
    honest(&collector, "quiet", 1, [127, 0, 0, 1]).await;
    assert!(most < before + MEMORY, "{most} MiB, {before} before");
    collector.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_batches_and_messages_that_are_not_taken_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let list = directory.path().join("revoked.pem");
    let collector = Process::start_in(directory, &[("--tls-revocation-list", list.clone())]);
    let mut rows = Vec::new();
    let mut counted = async |attack, metric: &str, attempts: u64| {
        let refused = collector.until(metric, attempts).await;
        rows.push(Row { attack, attempts, refused, mib: collector.resident() });
    };
    let mut stream = collector.node("node-1", [127, 0, 0, 1]).await.unwrap();
    honest(&collector, "node-1", 1, [127, 0, 0, 1]).await;

    for _ in 0..50 {
        let mut other = collector.node("node-1", [127, 0, 0, 1]).await.unwrap();
        let refused = other.send(batch("node-2", [deny(1, 1, "/x")])).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    }
    counted("events of another node", "batches_refused_total{reason=\"other-node\"}", 50).await;

    let start = Link::start("node-1", "boot", "spool");
    let mut again = batch("node-1", [deny(1, 1, "/x")]);
    again.chain_before = start.as_bytes().to_vec();
    again.chain_after = start.next(&again.events[0]).as_bytes().to_vec();
    for _ in 0..50 {
        assert!(!stream.send(again.clone()).await.unwrap().contradicted);
    }
    counted("batches replayed", "events_duplicate_total", 50).await;

    for _ in 0..20 {
        let mut other = collector.node("node-1", [127, 0, 0, 1]).await.unwrap();
        let huge = v1::EventBatch { agent_version: "x".repeat(8 << 20), ..batch("node-1", []) };
        assert_eq!(other.send(huge).await.unwrap_err().code(), tonic::Code::OutOfRange);
    }
    counted("messages of 8 MiB", "batches_refused_total{reason=\"too-large\"}", 20).await;

    // The certificate of the open stream, and then of new connections.
    collector.revoke(&list, "node-1");
    assert_eq!(within(stream.answers.message()).await.unwrap_err().code(), tonic::Code::Unauthenticated);
    counted("a stream whose certificate is revoked", "batches_refused_total{reason=\"certificate\"}", 1).await;
    for _ in 0..20 {
        assert!(collector.node("node-1", [127, 0, 0, 1]).await.is_err());
    }
    counted("connections with a revoked certificate", "connections_refused_total{reason=\"revoked\"}", 20).await;
    honest(&collector, "node-3", 1, [127, 0, 0, 1]).await;
    assert_eq!(collector.metric("events_stored_total").await, 2);
    table(&rows);
    collector.stop();
}
