//! An export of a real collector, of what a real exporter sent over TLS: broken at every byte, and every break is found where
//! it is.

mod forged;

use plimsoll_agent::exporter::ExporterHandle;
use plimsoll_proof::export::{Broken, Cause, Event, Fault, Line, Report, Verifier};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    harness::{deny, within},
    identity::{LONG, OWN, Site},
};

/// Events of each of two streams.
const EVENTS: u32 = 120;

/// Events of 4 KB that take more than a segment of the spool.
const MANY: u64 = 400;

/// The lines of an export, their ends included.
async fn export(site: &Site) -> Vec<Vec<u8>> {
    let mut answer = Vec::new();
    within(async {
        let mut connection = TcpStream::connect(site.server.http_address()).await.unwrap();
        // HTTP/1.0 has no chunks.
        connection.write_all(b"GET /audit/export?node=node-1 HTTP/1.0\r\n\r\n").await.unwrap();
        connection.read_to_end(&mut answer).await.unwrap();
    })
    .await;
    let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    assert!(answer.starts_with(b"HTTP/1.0 200"), "{}", String::from_utf8_lossy(&answer));
    answer[head + 4..].split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

async fn send(agent: ExporterHandle, events: std::ops::Range<u32>) {
    for n in events {
        agent.submit(deny(0, u64::from(n), &format!("/tmp/{}/{n}", "x".repeat(n as usize % 40)))).unwrap();
    }
    let sent = agent.finish().await;
    assert!(sent.acked >= sent.spooled && sent.queued == 0, "{sent:?}");
}

/// Two streams of one numbering, with a certificate each.
async fn sent() -> (Site, Vec<Vec<u8>>) {
    let site = Site::start().await;
    for stream in 0..2 {
        let own = site.files("own");
        site.authority.node(&own, OWN, LONG);
        let (agent, _stop) = site.agent(own, "own");
        send(agent, stream * EVENTS..(stream + 1) * EVENTS).await;
    }
    let lines = export(&site).await;
    (site, lines)
}

fn authorities(site: &Site) -> Vec<CertificateDer<'static>> {
    vec![CertificateDer::from_pem_slice(site.authority.pem.as_bytes()).unwrap()]
}

fn verify<L: AsRef<[u8]>>(mut verifier: Verifier, lines: impl IntoIterator<Item = L>) -> Result<Report, Broken> {
    for line in lines {
        verifier.line(line.as_ref())?;
    }
    verifier.finish()
}

fn read(line: &[u8]) -> Line {
    Line::read(line.strip_suffix(b"\n").unwrap()).unwrap()
}

fn written(line: &Line) -> Vec<u8> {
    let mut bytes = Vec::new();
    line.write(&mut bytes).unwrap();
    bytes
}

/// The verifier as it is before each line.
fn before_each(site: &Site, lines: &[Vec<u8>]) -> Vec<Verifier> {
    let mut verifier = Verifier::new(authorities(site));
    let before = lines.iter().map(|line| {
        let before = verifier.clone();
        verifier.line(line).unwrap();
        before
    });
    before.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_over_tls_is_signed_up_to_its_last_event() {
    let (site, lines) = sent().await;
    let report = verify(Verifier::new(authorities(&site)), lines.iter().map(Vec::as_slice)).unwrap();
    let [coverage] = &report.numberings[..] else { panic!("{report:?}") };
    let all = u64::from(2 * EVENTS);
    assert_eq!((coverage.events, coverage.signed, coverage.removed), (all, all, 0));
    assert!(coverage.checkpoints >= 2, "{coverage:?}");
    let newest = coverage.newest.as_ref().unwrap();
    assert_eq!((newest.sequence, newest.id.as_str(), newest.trusted), (all, OWN, true));
    assert_eq!(report.unexplained().count(), 0);
    assert_eq!(site.metric("findings_total{kind=\"gap\"}").await, 0);
    within(site.server.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_break_at_any_byte_is_found_in_its_line() {
    let (site, lines) = sent().await;
    let (mut flipped, mut chained) = (0, 0);
    for (index, (line, before)) in lines.iter().zip(before_each(&site, &lines)).enumerate() {
        for at in 0..line.len() {
            let mut bytes = line.clone();
            bytes[at] ^= 1 << (at % 8);
            // A byte may have become the end of a line.
            let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1);
            let broken = before.clone().line(&bytes[..end]).unwrap_err();
            assert_eq!(broken.line, index as u64 + 1, "byte {at}: {broken}");
            flipped += 1;
        }
        // The same where whoever changed the event has mended the checksum.
        let Line::Event(event) = read(line) else { continue };
        for at in 0..event.record.0.len() {
            let mut changed = event.clone();
            changed.record.0[at] ^= 1 << (at % 8);
            let broken = before.clone().line(&written(&Line::Event(changed))).unwrap_err();
            assert!(matches!(broken.fault, Fault::Chain), "{broken}");
            assert_eq!((broken.line, broken.place.unwrap().sequence), (index as u64 + 1, event.sequence));
            chained += 1;
        }
    }
    println!("| Broken on purpose | Times | Found in its line |\n|---|---:|---:|");
    println!(
        "| a byte of the file | {flipped} | {flipped} |\n| a byte of an event, checksum mended | {chained} | {chained} |"
    );
    assert!(flipped > 50_000 && chained > 20_000, "{flipped} {chained}");
    within(site.server.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_dropped_swapped_repeated_or_cut_off_are_found() {
    let (site, lines) = sent().await;
    let before = before_each(&site, &lines);
    let (mut broken_lines, last) = (0, lines.len() - 1);
    for (index, before) in before.iter().enumerate() {
        let sequence = if let Line::Event(event) = read(&lines[index]) { Some(event.sequence) } else { None };
        let rest = || lines[index + 1..].iter().map(Vec::as_slice);
        verify(before.clone(), lines[index..].iter().map(Vec::as_slice)).unwrap();
        let found = |what: &str, outcome: Result<Report, Broken>| {
            let broken = outcome.expect_err(what);
            // What is no event may be found later: at the line that needs it, or at the last one, which counts.
            let Some(sequence) = sequence else { return };
            let behind = u64::from(what == "repeated");
            assert_eq!(broken.place.as_ref().unwrap().sequence, sequence + behind, "{what}: {broken}");
        };
        found("dropped", verify(before.clone(), rest()));
        // Certificates may stand anywhere before they are needed.
        if index < last && !matches!(read(&lines[index + 1]), Line::Certificates(_)) {
            let swapped = [&lines[index + 1], &lines[index]].into_iter().map(Vec::as_slice);
            found("swapped", verify(before.clone(), swapped.chain(rest().skip(1))));
        }
        found("repeated", verify(before.clone(), [&*lines[index], &*lines[index]].into_iter().chain(rest())));
        found("cut off", verify(before.clone(), [[]; 0]));
        found("cut in two", verify(before.clone(), [&lines[index][..lines[index].len() / 2]]));
        broken_lines += 1;
    }
    println!("dropped, swapped, repeated, cut off, cut in two: {broken_lines} lines each, all found");
    within(site.server.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stretch_that_the_node_lost_is_a_gap_with_its_cause() {
    let site = Site::start().await;
    let own = site.files("own");
    site.authority.node(&own, OWN, LONG);
    let (agent, stop) = site.agent(own.clone(), "own");
    send(agent, 0..10).await;
    drop(stop);
    // More than a segment, written while nobody takes it; a byte of its first segment changes.
    let (agent, stop) = site.agent_without_collector("own");
    for n in 0..MANY {
        agent.submit(deny(0, n, &format!("/{}", "x".repeat(4000)))).unwrap();
        within(async {
            while agent.snapshot().queued > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    let kept = agent.finish().await;
    assert_eq!((kept.spooled, kept.acked), (MANY, 0));
    drop(stop);
    let mut segments: Vec<_> = std::fs::read_dir(site.directory.path().join("own"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "seg"))
        .collect();
    segments.sort();
    let mut bytes = std::fs::read(&segments[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segments[0], bytes).unwrap();
    let (agent, _stop) = site.agent(own, "own");
    send(agent, 0..1).await;

    let lines = export(&site).await;
    let report = verify(Verifier::new(authorities(&site)), lines.iter().map(Vec::as_slice)).unwrap();
    let [coverage] = &report.numberings[..] else { panic!("{report:?}") };
    let [gap] = &coverage.gaps[..] else { panic!("{:?}", coverage.gaps) };
    assert_eq!((gap.cause, coverage.events + gap.last - gap.first + 1), (Cause::SpoolCorrupt, 11 + MANY));
    assert_eq!(
        report.losses.iter().map(|loss| (loss.cause.as_str(), loss.count)).collect::<Vec<_>>(),
        [("spool-corrupt", 1)]
    );
    // What stands before the gap is signed up to the tenth, what stands behind it to its end.
    assert_eq!(coverage.signed, 10 + 11 + MANY - gap.last);
    assert_eq!(site.metric("findings_total{kind=\"gap\"}").await, 0, "the node has counted it");
    within(site.server.stop()).await.unwrap();
}
