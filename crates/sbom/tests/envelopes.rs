//! A document gives the same whatever it is wrapped in.
#![cfg(test)]

use std::path::{Path, PathBuf};

use plimsoll_sbom::{Limits, Sbom, Sha256, Wrapping, parse};

const MANIFEST: &str = "sha256:4c17f85f1e6bd0b4b4c9d0c3b0a2a1f5c8e4b9d1a7c6f3e2d1b0a9f8e7d6c5b4";

fn fixture(name: &str) -> Vec<u8> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read(name: &str) -> Sbom {
    parse(&fixture(name), &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Checks that the document in `name` is that of `bare`, and answers the rest.
fn unwrapped(name: &str, bare: &str) -> Sbom {
    let (outer, inner) = (read(&format!("wrapped/{name}")), read(&format!("valid/{bare}")));
    assert_eq!(outer.digest, Sha256::of(&fixture(&format!("wrapped/{name}"))), "{name}");
    let expected =
        Sbom { digest: outer.digest, wrappings: outer.wrappings.clone(), statement: outer.statement.clone(), ..inner };
    assert_eq!(outer, expected, "{name}");
    outer
}

#[test]
fn every_wrapping_gives_the_document_the_statement_and_its_subject() {
    use Wrapping::{CosignPredicate, Dsse, SigstoreBundle, Statement};
    let (spdx, cdx) = ("spdx-2.3.json", "cyclonedx-1.7.json");
    let cases: [(&str, &str, &[Wrapping], &str); 8] = [
        ("buildkit-statement-v0.1.json", spdx, &[Statement], "https://spdx.dev/Document"),
        ("statement-v1-two-subjects.json", cdx, &[Statement], "https://cyclonedx.org/bom/v1.6"),
        ("dsse-cosign-data.json", cdx, &[Dsse, Statement, CosignPredicate], "https://cyclonedx.org/bom"),
        ("dsse-cosign-data-string.json", spdx, &[Dsse, Statement, CosignPredicate], "https://spdx.dev/Document"),
        ("dsse-string-predicate.json", spdx, &[Dsse, Statement], "https://spdx.dev/Document"),
        ("bundle-0.1.json", spdx, &[SigstoreBundle, Dsse, Statement], "https://spdx.dev/Document"),
        ("bundle-0.2.json", spdx, &[SigstoreBundle, Dsse, Statement], "https://spdx.dev/Document"),
        ("bundle-0.3-urlsafe.json", cdx, &[SigstoreBundle, Dsse, Statement], "https://cyclonedx.org/bom"),
    ];
    for (name, bare, wrappings, predicate_type) in cases {
        let sbom = unwrapped(name, bare);
        assert_eq!(sbom.wrappings, wrappings, "{name}");
        let statement = sbom.statement.expect(name);
        assert_eq!(statement.predicate_type, predicate_type, "{name}");
        assert!(statement.names(&MANIFEST.parse().unwrap()), "{name}: {statement:?}");
        assert!(!statement.names(&Sha256::of(b"another image")), "{name}");
    }
    let fixtures = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wrapped")).unwrap();
    assert_eq!(fixtures.count(), cases.len() + 1, "a fixture is not in this test");
}

#[test]
fn an_envelope_without_a_statement_names_no_subject() {
    let sbom = unwrapped("dsse-bare-document.json", "cyclonedx-1.7.json");
    assert_eq!((sbom.wrappings.as_slice(), sbom.statement), ([Wrapping::Dsse].as_slice(), None));
    let bare = read("valid/spdx-2.3.json");
    assert_eq!((bare.wrappings.len(), bare.statement), (0, None));
}

#[test]
fn subjects_keep_their_names_and_digests() {
    let statement = read("wrapped/statement-v1-two-subjects.json").statement.unwrap();
    let [first, second] = statement.subjects.as_slice() else { panic!("{statement:?}") };
    assert_eq!((first.name.as_str(), first.sha256()), ("a", Some(MANIFEST.parse().unwrap())));
    assert_eq!(first.digests["sha512"], "00");
    assert_eq!((second.name.as_str(), second.sha256()), ("b", None));
}

#[test]
fn a_payload_as_large_as_documents_get_is_decoded_within_the_limit() {
    let padding = " ".repeat(1 << 20);
    let document = format!(r#"{{"bomFormat": "CycloneDX", "specVersion": "1.6"{padding}}}"#);
    let statement = format!(r#"{{"predicateType": "https://cyclonedx.org/bom", "predicate": {document}}}"#);
    let limits = Limits { max_bytes: statement.len() - 1, ..Limits::default() };
    let error = parse(statement.as_bytes(), &limits).unwrap_err();
    assert!(error.to_string().contains("larger than the limit"), "{error}");
    assert!(parse(statement.as_bytes(), &Limits::default()).is_ok());
}
