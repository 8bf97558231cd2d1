//! Each format as it occurs, and each way in which a document can be wrong.
#![cfg(test)]
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes snapshots so")]

use std::{fmt::Write as _, path::Path};

use expect_test::{Expect, expect};
use plimsoll_sbom::{Limits, Sbom, SbomError, Sha256, parse};

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn summary(sbom: &Sbom) -> String {
    let mut text = format!("{} {} name={:?} by={:?}\n", sbom.format, sbom.spec_version, sbom.name, sbom.generator);
    for package in &sbom.packages {
        writeln!(text, "package {} {:?} {:?}", package.name, package.version, package.purl).unwrap();
    }
    for file in &sbom.files {
        let digests = &file.digests;
        let known = [digests.sha256.is_some(), digests.sha1.is_some(), digests.md5.is_some()];
        let known: Vec<_> =
            ["sha256", "sha1", "md5"].into_iter().zip(known).filter_map(|(n, k)| k.then_some(n)).collect();
        writeln!(text, "file {} {known:?} in {:?}", file.path, file.package).unwrap();
    }
    if sbom.rejected.count > 0 {
        writeln!(text, "rejected {} {:?}", sbom.rejected.count, sbom.rejected.examples).unwrap();
    }
    text
}

fn check(name: &str, expected: &Expect) {
    let bytes = fixture(&format!("valid/{name}"));
    let sbom = parse(&bytes, &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(sbom.digest, Sha256::of(&bytes));
    expected.assert_eq(&summary(&sbom));
}

fn refused(name: &str) -> String {
    parse(&fixture(&format!("invalid/{name}")), &Limits::default()).expect_err(name).to_string()
}

#[test]
fn spdx_ties_files_to_packages_in_three_ways_and_survives_cycles() {
    check(
        "spdx-2.3.json",
        &expect![[r#"
        SPDX 2.3 name="registry.example/app:1" by=Some("scanner-1.0, buildkit-0.1")
        package coreutils Some("9.1-1") Some("pkg:deb/debian/coreutils@9.1-1?arch=amd64")
        package dash None None
        package tar Some("1.34") None
        file usr/bin/ls ["sha256", "sha1"] in Some(0)
        file usr/bin/dash ["md5"] in Some(1)
        file usr/bin/tar [] in Some(2)
        file usr/bin/ls ["sha256"] in None
        rejected 1 ["/../../etc/shadow"]
    "#]],
    );
}

#[test]
fn spdx_of_early_generators_has_no_checksums() {
    check(
        "spdx-2.2-without-checksums.json",
        &expect![[r#"
        SPDX 2.2 name="old" by=None
        package bash Some("5.0") None
        file bin/bash [] in Some(0)
    "#]],
    );
}

#[test]
fn cyclonedx_1_2() {
    check(
        "cyclonedx-1.2.json",
        &expect![[r#"
        CycloneDX 1.2 name="" by=Some("old-tool 0.1")
        package zlib Some("1.2.13") Some("pkg:deb/debian/zlib1g@1.2.13?arch=amd64")
        file usr/bin/cksum ["sha256"] in None
    "#]],
    );
}

#[test]
fn cyclonedx_1_7_nests_components() {
    check(
        "cyclonedx-1.7.json",
        &expect![[r#"
            CycloneDX 1.7 name="app" by=Some("new-tool 2, helper")
            package busybox Some("1.36.1-r2") Some("pkg:apk/alpine/busybox@1.36.1-r2?arch=x86_64")
            package nested None None
            file bin/inner [] in Some(0)
            file bin/busybox ["sha256"] in Some(0)
            file lib/nested.so [] in Some(1)
            file usr/bin/less ["sha1", "md5"] in None
            file bin/less ["sha1", "md5"] in None
            rejected 1 ["/a/../../b"]
        "#]],
    );
}

#[test]
fn spdx_2_says_the_same_as_yaml() {
    check(
        "spdx-2.2.yaml",
        &expect![[r#"
        SPDX 2.2 name="busybox" by=None
        package busybox Some("1.36") None
        file bin/busybox ["sha256"] in Some(0)
    "#]],
    );
    let (json, yaml) = (fixture("valid/spdx-2.3.json"), fixture("valid/spdx-2.3.yaml"));
    let read = |bytes: &[u8]| parse(bytes, &Limits::default()).unwrap();
    assert_eq!(summary(&read(&yaml)), summary(&read(&json)));
}

#[test]
fn spdx_2_tag_value_puts_files_below_their_package() {
    check(
        "spdx-2.3.spdx",
        &expect![[r#"
        SPDX 2.3 name="registry.example/app:1" by=Some("scanner-1.0, buildkit-0.1")
        package coreutils Some("9.1-1") Some("pkg:deb/debian/coreutils@9.1-1?arch=amd64")
        package tar Some("1.34") None
        package dash None None
        file usr/bin/ls ["sha256", "sha1"] in Some(0)
        file usr/bin/tar [] in Some(1)
        file usr/bin/dash ["md5"] in Some(2)
        rejected 1 ["/../../etc/shadow"]
    "#]],
    );
}

#[test]
fn spdx_3_names_and_inlines() {
    check(
        "spdx-3.0.json",
        &expect![[r#"
        SPDX 3.0.1 name="registry.example/app:3" by=Some("generator-3")
        package coreutils Some("9.1-1") Some("pkg:deb/debian/coreutils@9.1-1?arch=amd64")
        package dash Some("0.5") Some("pkg:deb/debian/dash@0.5")
        file usr/bin/ls ["sha256"] in Some(0)
        file usr/bin/by-reference ["sha1"] in Some(0)
        file usr/bin/inlined [] in Some(1)
        rejected 1 ["/../x"]
    "#]],
    );
    check(
        "spdx-3.0-capitals.json",
        &expect![[r#"
        SPDX 3.0 name="" by=None
        package tool Some("1") None
        file tool.so ["sha256"] in Some(0)
    "#]],
    );
}

#[test]
fn cyclonedx_says_the_same_as_xml() {
    check(
        "cyclonedx-1.2.xml",
        &expect![[r#"
        CycloneDX 1.2 name="" by=Some("old-tool 0.1")
        package zlib Some("1.2.13") Some("pkg:deb/debian/zlib1g@1.2.13?arch=amd64&distro=debian-12")
    "#]],
    );
    let (json, xml) = (fixture("valid/cyclonedx-1.7.json"), fixture("valid/cyclonedx-1.7.xml"));
    let read = |bytes: &[u8]| parse(bytes, &Limits::default()).unwrap();
    assert_eq!(summary(&read(&xml)), summary(&read(&json)));
}

#[test]
fn early_syft_had_files_elsewhere() {
    check(
        "syft-1.0.5.json",
        &expect![[r#"
        Syft 1.0.5 name="registry.example/old:1" by=Some("syft 0.19.1")
        package bash Some("5.0") Some("pkg:deb/debian/bash@5.0?arch=amd64")
        package no-id Some("1") None
        file bin/bash ["sha256"] in None
    "#]],
    );
}

#[test]
fn syft_lists_what_it_saw_and_not_what_the_database_claims() {
    check(
        "syft.json",
        &expect![[r#"
        Syft 16.1.10 name="app" by=Some("syft 1.51.0")
        package bash Some("5.2") Some("pkg:deb/debian/bash@5.2?arch=amd64")
        package python Some("3.11") Some("")
        file usr/bin/bash ["sha256", "sha1"] in Some(0)
        file usr/bin/python3.11 [] in None
    "#]],
    );
}

#[test]
fn versions_in_between_are_read_and_others_are_not() {
    let with = |name: &str, from: &str, to: &str| {
        let text = String::from_utf8(fixture(name)).unwrap();
        assert!(text.contains(from), "{name}");
        parse(text.replace(from, to).as_bytes(), &Limits::default()).map(|sbom| (sbom.spec_version, sbom.files))
    };
    let json = |version: &str| with("valid/cyclonedx-1.7.json", "1.7", version);
    let xml = |version: &str| with("valid/cyclonedx-1.7.xml", "bom/1.7", &format!("bom/{version}"));
    for version in ["1.2", "1.3", "1.4", "1.5", "1.6", "1.7"] {
        for (read, newest) in [(json(version), json("1.7")), (xml(version), xml("1.7"))] {
            assert_eq!(read.unwrap(), (version.to_owned(), newest.unwrap().1));
        }
    }
    for name in ["valid/spdx-2.3.json", "valid/spdx-2.3.yaml", "valid/spdx-2.3.spdx"] {
        let older = with(name, "SPDX-2.3", "SPDX-2.2").unwrap();
        assert_eq!(older.1, with(name, "SPDX-2.3", "SPDX-2.3").unwrap().1, "{name}");
        assert!(with(name, "SPDX-2.3", "SPDX-2.4").is_err(), "{name}");
    }
    for version in ["1.1", "1.8", "2.0"] {
        assert!(json(version).is_err() && xml(version).is_err(), "{version}");
    }
}

#[test]
fn a_byte_order_mark_is_no_obstacle() {
    let plain = fixture("valid/syft.json");
    let marked = [b"\xef\xbb\xbf".as_slice(), &plain].concat();
    let (plain, marked) = (parse(&plain, &Limits::default()).unwrap(), parse(&marked, &Limits::default()).unwrap());
    assert_eq!(summary(&plain), summary(&marked));
    assert_ne!(plain.digest, marked.digest);
}

/// Every document in `fixtures/invalid`.
const INVALID: [&str; 39] = [
    "truncated.json",
    "empty.json",
    "non-utf8.json",
    "wrong-type.json",
    "bad-digest.json",
    "field-twice.json",
    "trailing.json",
    "list.json",
    "two-formats.json",
    "future-cyclonedx.json",
    "old-spdx.json",
    "dsse.json",
    "statement.json",
    "rdf.xml",
    "cut.xml",
    "doctype.xml",
    "entity.xml",
    "two-roots.xml",
    "mismatched.xml",
    "future.xml",
    "bad-digest.xml",
    "json-ld.json",
    "future-spdx-3.json",
    "field-twice.yaml",
    "bad-digest.yaml",
    "wrong-type.yaml",
    "no-tag.spdx",
    "open-text.spdx",
    "bad-digest.spdx",
    "text.txt",
    "bundle-of-a-digest.json",
    "dsse-in-dsse.json",
    "statement-in-statement.json",
    "dsse-beside-document.json",
    "dsse-not-base64.json",
    "dsse-cut.json",
    "data-without-statement.json",
    "statement-of-something-else.json",
    "statement-without-predicate.json",
];

#[test]
fn every_invalid_document_is_refused_with_its_place() {
    let messages: Vec<String> = INVALID.iter().map(|name| format!("{name}: {}\n", refused(name))).collect();
    expect![[r#"
        truncated.json: line 11, column 41, at `packages[1].name`: the document ends too early; it may have been cut off
        empty.json: line 1, column 0: the document ends too early; it may have been cut off
        non-utf8.json: document is not UTF-8: byte 99 (line 2) starts no character
        wrong-type.json: line 4, column 39, at `files[1].fileName`: invalid type: integer `7`, expected a string
        bad-digest.json: `components[0].components[0].hashes`: `c0ffee` is not a sha256 digest
        field-twice.json: line 1, column 79: duplicate field `components`
        trailing.json: line 1, column 48: trailing characters
        list.json: no SBOM that can be read: looks like a list; an SBOM is a JSON object
        two-formats.json: no SBOM that can be read: looks like two formats at once
        future-cyclonedx.json: CycloneDX version `2.0` is not supported; supported: 1.2 to 1.7
        old-spdx.json: SPDX version `SPDX-2.1` is not supported; supported: SPDX-2.2, SPDX-2.3, 3.0 as JSON-LD
        dsse.json: inside the DSSE envelope: line 1, column 0: the document ends too early; it may have been cut off
        statement.json: inside the in-toto statement: no SBOM that can be read: looks like some other JSON
        rdf.xml: no SBOM that can be read: looks like XML that is not CycloneDX; of SPDX ask for JSON, YAML or tag-value
        cut.xml: line 1, column 106: syntax error: tag not closed: `>` not found before end of input
        doctype.xml: line 1, column 57: a document type is not read
        entity.xml: line 2, column 33: a reference to an entity that XML does not define
        two-roots.xml: line 1, column 101: a second root element
        mismatched.xml: line 2, column 13: ill-formed document: expected `</components>`, but `</bom>` was found
        future.xml: CycloneDX version `2.0` is not supported; supported: 1.2 to 1.7
        bad-digest.xml: `components[0].components[0].hashes`: `c0ffee` is not a sha256 digest
        json-ld.json: no SBOM that can be read: looks like JSON-LD, but not SPDX 3 with its `@graph`
        future-spdx-3.json: SPDX version `3.1.0` is not supported; supported: 2.2, 2.3, 3.0
        field-twice.yaml: line 3, column 1: duplicate mapping key: name
        bad-digest.yaml: `files[0].checksums`: `c0ffee` is not a sha256 digest
        wrong-type.yaml: line 4, column 13: expected string scalar
        no-tag.spdx: line 3, column 1: expected `Tag: value`
        open-text.spdx: line 2, column 1: a `<text>` that starts here does not end
        bad-digest.spdx: `line 3`: `c0ffee` is not a sha256 digest
        text.txt: no SBOM that can be read: looks like text that is neither JSON, XML nor SPDX tag-value or YAML
        bundle-of-a-digest.json: no SBOM that can be read: looks like a sigstore bundle that holds no document, only a signature
        dsse-in-dsse.json: inside the DSSE envelope: no SBOM that can be read: looks like an envelope in an envelope of the same or an inner kind
        statement-in-statement.json: inside the in-toto statement: no SBOM that can be read: looks like an envelope in an envelope of the same or an inner kind
        dsse-beside-document.json: no SBOM that can be read: looks like two formats at once
        dsse-not-base64.json: `payload` is not base64: Invalid symbol 123, offset 0.
        dsse-cut.json: inside the DSSE envelope: line 1, column 900, at `predicate`: the document ends too early; it may have been cut off
        data-without-statement.json: no SBOM that can be read: looks like an envelope in an envelope of the same or an inner kind
        statement-of-something-else.json: inside the in-toto statement: no SBOM that can be read: looks like some other JSON
        statement-without-predicate.json: no SBOM that can be read: looks like an in-toto statement without a predicate
    "#]].assert_eq(&messages.concat());
    let fixtures = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/invalid")).unwrap();
    assert_eq!(fixtures.count(), INVALID.len(), "a fixture is not in this test");
}

#[test]
fn a_document_cut_anywhere_is_refused() {
    for name in ["spdx-2.3.json", "spdx-3.0.json", "cyclonedx-1.7.json", "syft.json", "syft-1.0.5.json"] {
        let whole = fixture(&format!("valid/{name}"));
        let end = whole.trim_ascii_end().len();
        for length in 0..end {
            let error = parse(&whole[..length], &Limits::default()).expect_err("a cut document was taken in");
            assert!(matches!(error, SbomError::Truncated { .. }), "{name} cut at {length}: {error}");
        }
    }
    let xml = fixture("valid/cyclonedx-1.7.xml");
    for length in 0..xml.trim_ascii_end().len() {
        parse(&xml[..length], &Limits::default()).expect_err("a cut document was taken in");
    }
}

#[test]
fn limits_count_packages_and_files() {
    let spdx = fixture("valid/spdx-2.3.json");
    let message = |limits| parse(&spdx, &limits).unwrap_err().to_string();
    assert_eq!(message(Limits { max_packages: 2, ..Limits::default() }), "more than 2 packages");
    assert_eq!(message(Limits { max_files: 4, ..Limits::default() }), "more than 4 files");
    assert_eq!(
        message(Limits { max_bytes: 100, ..Limits::default() }),
        format!("document of {} bytes is larger than the limit of 100", spdx.len())
    );
}
