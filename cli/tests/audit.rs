//! `plimsoll audit`, the program itself: what it says of files, and what of collectors.
#![expect(clippy::unwrap_used, reason = "a test's own helpers fail by panicking")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
};

use plimsoll_identity::Signer;
use plimsoll_proof::{
    Link, Statement,
    export::{Binary, Cause, Certificates, Checkpoint, End, Event, From, Gap, Head, Line, Numbering, VERSION},
    fingerprint,
};
use plimsoll_proto::v1;
use rcgen::{CertificateParams, KeyPair, SanType};

const EVENTS: u64 = 3;

fn plimsoll(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_plimsoll")).arg("audit").args(arguments).output().unwrap()
}

fn said(output: &Output) -> (i32, String) {
    let text = [&*output.stdout, &*output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

/// An encoded event that has nothing but its number.
fn record(sequence: u64) -> Vec<u8> {
    vec![8, u8::try_from(sequence).unwrap()]
}

/// Three events, with a checkpoint behind the second if there is a signer.
fn sent(signer: Option<&Signer>) -> Vec<Line> {
    let node = v1::Node { name: "n".to_owned(), boot_id: "b".to_owned(), spool_id: "s".to_owned() };
    let mut link = Link::start(&node.name, &node.boot_id, &node.spool_id);
    let v1::Node { name, boot_id, spool_id } = node.clone();
    let mut lines = vec![
        Line::Export(Head { version: VERSION, exported_unix_ns: 0 }),
        Line::Numbering(Numbering { node: name, boot_id, spool_id, last_sequence: EVENTS, chained: true }),
        Line::From(From { sequence: 1, chain: Some(link) }),
    ];
    for sequence in 1..=EVENTS {
        link = link.next(&record(sequence));
        lines.push(Line::Event(Event { sequence, record: Binary(record(sequence)), chain: Some(link) }));
        if let Some(signer) = signer.filter(|_| sequence == 2) {
            let own = signer.certificate();
            lines.push(Line::Certificates(Certificates { chain: vec![Binary(own.to_vec())] }));
            let time_unix_ns = 1_800_000_000_000_000_000;
            let statement = Statement { node: node.clone(), sequence, link, time_unix_ns, lost_stretches: 0 };
            let v1::Checkpoint { statement, scheme, signature } = statement.sign(signer).unwrap();
            let certificate = hex(&fingerprint(own));
            let (statement, signature) = (Binary(statement), Binary(signature));
            lines.push(Line::Checkpoint(Checkpoint { statement, scheme, signature, certificate }));
        }
    }
    lines.push(Line::End(End { lines: lines.len() as u64 + 1 }));
    lines
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn bytes(lines: &[Line]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        line.write(&mut bytes).unwrap();
    }
    bytes
}

fn written(directory: &Path, lines: &[Line]) -> String {
    let path = directory.join("audit.jsonl");
    fs::write(&path, bytes(lines)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A signer that vouches for itself, and its certificate in PEM.
fn signer() -> (Signer, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI("spiffe://d/plimsoll/node/n".try_into().unwrap())];
    let pem = params.self_signed(&key).unwrap().pem();
    (Signer::from_pem(pem.as_bytes(), key.serialize_pem().as_bytes()).unwrap(), pem)
}

#[test]
fn what_is_proven_is_said_and_by_what() {
    let directory = tempfile::tempdir().unwrap();
    let (signer, pem) = signer();
    let file = written(directory.path(), &sent(Some(&signer)));
    let (code, text) = said(&plimsoll(&["verify", &file]));
    assert_eq!(code, 0, "{text}");
    for part in [
        "3 events, 2 of them signed",
        "up to 2 at 2027-01-15T08:00:00Z by spiffe://d/plimsoll/node/n",
        "1 by the chain alone",
        "--trust-bundle",
        "nothing is wrong",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let bundle = directory.path().join("bundle.pem");
    fs::write(&bundle, &pem).unwrap();
    let (code, text) = said(&plimsoll(&["verify", &file, "--trust-bundle", bundle.to_str().unwrap()]));
    assert!(code == 0 && !text.contains("--trust-bundle"), "{text}");
    fs::write(&bundle, self::signer().1).unwrap();
    let (code, text) = said(&plimsoll(&["verify", &file, "--trust-bundle", bundle.to_str().unwrap()]));
    assert!(code == 1 && text.contains("line 7") && text.contains("by these authorities"), "{text}");
    let file = written(directory.path(), &sent(None));
    let (code, text) = said(&plimsoll(&["verify", &file]));
    assert!(code == 0 && text.contains("the node signed nothing, as without TLS"), "{text}");
}

#[test]
fn the_first_broken_link_is_named_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let mut lines = sent(None);
    let Line::Event(event) = &mut lines[4] else { panic!("the line is another one") };
    event.record.0[1] ^= 4;
    let (code, text) = said(&plimsoll(&["verify", &written(directory.path(), &lines)]));
    let place = "line 5, node \"n\", boot \"b\", spool \"s\", event 2: the chain is broken";
    assert!(code == 1 && text.contains(place), "{text}");
}

#[test]
fn an_unexplained_gap_is_no_success() {
    let directory = tempfile::tempdir().unwrap();
    let mut lines = sent(None);
    let Line::Event(Event { chain, .. }) = lines[4].clone() else { panic!("the line is another one") };
    lines[4] = Line::Gap(Gap { first: 2, last: 2, cause: Cause::Missing });
    lines.insert(5, Line::From(From { sequence: 3, chain }));
    *lines.last_mut().unwrap() = Line::End(End { lines: lines.len() as u64 });
    let (code, text) = said(&plimsoll(&["verify", &written(directory.path(), &lines)]));
    assert!(code == 1 && text.contains("2 to 2 are missing") && text.contains("1 gaps are unexplained"), "{text}");
}

#[test]
fn what_cannot_be_read_and_what_is_typed_wrong_have_codes_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("none");
    assert_eq!(said(&plimsoll(&["verify", file.to_str().unwrap()])).0, 3);
    fs::write(&file, "{\"events\":[]}\n").unwrap();
    let (code, text) = said(&plimsoll(&["verify", file.to_str().unwrap()]));
    assert!(code == 3 && text.contains("plimsoll audit export"), "{text}");
    assert_eq!(said(&plimsoll(&["verify"])).0, 2);
    let mut child = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .args(["audit", "verify", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&bytes(&sent(None))).unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
}

/// Answers one request with these bytes, and closes.
fn collector(answer: Vec<u8>) -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.extend(byte);
        }
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\nconnection: close\r\n\r\n";
        stream.write_all(&[head.as_bytes(), &answer].concat()).unwrap();
        String::from_utf8(request).unwrap()
    });
    (url, serving)
}

#[test]
fn an_export_is_written_whole_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let (whole, file) = (bytes(&sent(None)), directory.path().join("out.jsonl"));
    let export = |answer: &[u8]| {
        let (url, serving) = collector(answer.to_vec());
        let output = plimsoll(&["export", "--collector", &url, "--node", "a b", "--output", file.to_str().unwrap()]);
        (said(&output), serving.join().unwrap())
    };
    let ((code, text), _) = export(&whole[..whole.len() - 20]);
    assert!(code == 3 && text.contains("broke off"), "{text}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    let ((code, text), request) = export(&whole);
    assert!(code == 0 && request.starts_with("GET /audit/export?node=a%20b "), "{text} {request}");
    assert_eq!(fs::read(&file).unwrap(), whole);
}
