//! The SBOM parser as a process: it gives the same evidence, and can do nothing else.
#![cfg(test)]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use plimsoll_agent::workload::parser::{ARGUMENT, Limits, Parser, ParserError};
use plimsoll_rootfs::{Options, Tree, databases};
use plimsoll_sbom::{EvidenceClass, inventory, parse};
use plimsoll_trust::Allowlist;

const AGENT: &str = env!("CARGO_BIN_EXE_plimsoll-agent");
const LIMITS: Limits = Limits { memory: 512 << 20, seconds: 20 };
const SBOM: &[u8] = br#"{"spdxVersion":"SPDX-2.3","name":"app","packages":[{"SPDXID":"SPDXRef-1","name":"tool","versionInfo":"1.0","externalRefs":[{"referenceType":"purl","referenceLocator":"pkg:deb/debian/tool@1.0?arch=amd64"}]}]}"#;

/// A root filesystem with a program that dpkg owns, one that nobody owns, and one that says what it was built from.
fn rootfs() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    fs::create_dir_all(root.join("usr/bin")).unwrap();
    fs::create_dir_all(root.join("var/lib/dpkg/info")).unwrap();
    for name in ["tool", "other"] {
        fs::write(root.join("usr/bin").join(name), format!("#!/bin/sh\necho {name}\n")).unwrap();
        fs::set_permissions(root.join("usr/bin").join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::copy("/usr/bin/true", root.join("usr/bin/true")).unwrap();
    let status = "Package: tool\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0\n";
    fs::write(root.join("var/lib/dpkg/status"), status).unwrap();
    fs::write(root.join("var/lib/dpkg/info/tool.list"), "/usr\n/usr/bin\n/usr/bin/tool\n").unwrap();
    directory
}

fn tree(root: &Path) -> Tree {
    Tree::read(&[root.to_path_buf()], &Options::default()).unwrap()
}

fn parser(program: impl Into<PathBuf>, limits: Limits) -> Parser {
    Parser::new(program.into(), limits)
}

#[test]
fn a_parser_can_do_nothing_that_other_processes_can() {
    let output = Command::new(AGENT).args([ARGUMENT, "--prove"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<Vec<&str>> =
        text.lines().map(|line| line.split("  ").map(str::trim).filter(|part| !part.is_empty()).collect()).collect();
    let names: Vec<&str> = lines.iter().map(|line| line[0]).collect();
    for attempt in ["open a file", "make a TCP socket", "make a local socket", "start a program", "start a thread"] {
        assert!(names.contains(&attempt), "{text}");
    }
    for line in &lines {
        assert_eq!(line[1..], ["done", "EPERM"], "{}", line[0]);
    }
}

#[test]
fn the_process_gives_the_evidence_that_a_function_would() {
    let (root, options) = (rootfs(), Options::default());
    let tree = tree(root.path());
    let parsed = parser(AGENT, LIMITS).parse(&[SBOM.to_vec()], &tree).unwrap();
    let mut problems = Vec::new();
    let databases = databases(&mut tree.files(), &tree.listing, &options, &mut problems).unwrap();
    let sbom = parse(SBOM, &plimsoll_sbom::Limits::default()).unwrap();
    let expected = inventory(&tree.listing, &sbom, &databases);
    assert_eq!(parsed.evidence, Allowlist::of(&expected, 0, None));
    let (bound, binding) = parsed.evidence.bind(&tree.listing);
    assert_eq!(bound.files, expected.files, "inodes, sizes and modes come from this process");
    assert_eq!((binding.bound, binding.unknown, binding.changed), (3, 0, 0));
    let tool = bound.files.iter().find(|file| file.path == "/usr/bin/tool").unwrap();
    assert_eq!(tool.evidence, Some(EvidenceClass::PackagePath));
}

#[test]
fn several_documents_are_one_and_a_bad_one_among_them_is_told() {
    let root = rootfs();
    let tree = tree(root.path());
    let digest = plimsoll_sbom::Sha256::of(&fs::read(root.path().join("usr/bin/other")).unwrap()).hex();
    let other = format!(
        r#"{{"spdxVersion":"SPDX-2.3","files":[{{"SPDXID":"SPDXRef-2","fileName":"usr/bin/other","checksums":[{{"algorithm":"SHA256","checksumValue":"{digest}"}}]}}]}}"#
    );
    let documents = [SBOM.to_vec(), b"{}".to_vec(), other.into_bytes()];
    let parsed = parser(AGENT, LIMITS).parse(&documents, &tree).unwrap();
    let evidence = |path: &str| parsed.evidence.files.iter().find(|file| file.path == path).unwrap().evidence;
    assert_eq!(evidence("/usr/bin/tool"), Some(EvidenceClass::PackagePath));
    assert_eq!(evidence("/usr/bin/other"), Some(EvidenceClass::SbomDigest));
    assert_eq!(parsed.problems.len(), 1, "{:?}", parsed.problems);
    assert!(parsed.problems[0].starts_with("SBOM 2 of 3: "), "{}", parsed.problems[0]);
    let alone = parser(AGENT, LIMITS).parse(&[b"{}".to_vec()], &tree).unwrap_err();
    assert!(matches!(&alone, ParserError::Refused(why) if why.contains("no SBOM that can be read")), "{alone}");
}

#[test]
fn memory_and_time_have_an_end() {
    let root = rootfs();
    let tree = tree(root.path());
    let parse = |memory: u64, document: &[u8]| {
        parser(AGENT, Limits { memory, seconds: 300 }).parse(&[document.to_vec()], &tree)
    };
    // The program itself takes memory; the least with which it parses a small document is where a large one fails.
    let least = (1..64).map(|step| step * (16 << 20)).find(|memory| parse(*memory, SBOM).is_ok());
    let least = least.expect("a small document is parsed with less than 1 GiB");
    let large = [SBOM, &vec![b' '; 40 << 20]].concat();
    let error = parse(least, &large).unwrap_err();
    assert!(matches!(error, ParserError::Ended(_)), "{error}");
    let large = [SBOM, &vec![b' '; 2 << 20]].concat();
    parse(least + (256 << 20), &large).expect("with more memory larger ones are parsed");
    let silent = program(root.path(), "import time\ntime.sleep(600)\n");
    let error = parser(silent, Limits { memory: 512 << 20, seconds: 1 }).parse(&[SBOM.to_vec()], &tree).unwrap_err();
    assert!(matches!(error, ParserError::Slow(1)), "{error}");
}

/// A program in the parser's place, which says what it likes.
fn program(directory: &Path, body: &str) -> PathBuf {
    let path = directory.join("program");
    fs::write(&path, format!("#!/usr/bin/python3\nimport os, socket, array\ns = socket.socket(fileno=0)\n{body}"))
        .unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Reads all that the parent sends, asks for a path, and tells what came back.
const ASK: &str = "\
import json
def exactly(n):
    data = b''
    while len(data) < n:
        data += s.recv(n - len(data))
    return data
request = json.loads(exactly(int.from_bytes(exactly(8), 'little')))
exactly(sum(request['documents']) + request['tree'])
def ask(path):
    s.sendall(b'O' + len(path).to_bytes(8, 'little') + path)
    kind, ancillary, _, _ = s.recvmsg(1, socket.CMSG_SPACE(4))
    return kind, [array.array('i', data)[0] for _, _, data in ancillary]
";

#[test]
fn a_parser_that_was_taken_over_is_given_files_of_the_image_and_no_others() {
    let root = rootfs();
    let tree = tree(root.path());
    let report = "why = repr(answers).encode()\ns.sendall(b'R' + len(why).to_bytes(8, 'little') + why)\n";
    let outside = "answers = [ask(p)[0] for p in [b'../../etc/passwd', b'/etc/passwd', b'usr/bin', b'', b'usr/bin/../bin/tool']]\n";
    let error = parser(program(root.path(), &[ASK, outside, report].concat()), LIMITS).parse(&[], &tree).unwrap_err();
    assert_eq!(error.to_string(), "the SBOM was refused: [b'n', b'n', b'n', b'n', b'n']");
    let inside = "kind, fds = ask(b'usr/bin/tool')\nanswers = [kind, os.read(fds[0], 9)]\ntry:\n    os.write(fds[0], b'x')\nexcept OSError as e:\n    answers.append(e.errno)\n";
    let error = parser(program(root.path(), &[ASK, inside, report].concat()), LIMITS).parse(&[], &tree).unwrap_err();
    assert_eq!(error.to_string(), "the SBOM was refused: [b'f', b'#!/bin/sh', 9]", "it can be read and not written");
}

#[test]
fn answers_that_make_no_sense_are_refused() {
    let root = rootfs();
    let tree = tree(root.path());
    let evidence = r#"{"version":0,"sbom":"sha256:00","sbomSigner":null,"files":[]}"#;
    let cases = [
        ("s.sendall(b'X')", "an unknown message"),
        ("s.sendall(b'O' + (1 << 40).to_bytes(8, 'little'))", "bytes where at most 4096 may be"),
        ("s.sendall(b'D' + (1 << 40).to_bytes(8, 'little'))", "bytes where at most"),
        (
            &format!(
                "e = b'{evidence}'\ns.sendall(b'D' + len(e).to_bytes(8, 'little') + e + (2).to_bytes(8, 'little') + b'[]')"
            ),
            "is not a sha256 digest",
        ),
        ("", "ended without an answer"),
    ];
    for (body, words) in cases {
        // A program that ends before it has read all makes the parent's writing fail; it reads first.
        let error = parser(program(root.path(), &[ASK, body, "\n"].concat()), LIMITS).parse(&[], &tree).unwrap_err();
        let chain = format!("{:#}", anyhow::Error::from(error));
        assert!(chain.contains(words), "{body}: {chain}");
    }
    let error = parser("/nonexistent", LIMITS).parse(&[], &tree).unwrap_err();
    assert!(matches!(error, ParserError::Start(_)), "{error}");
}
