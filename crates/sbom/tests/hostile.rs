//! Documents made to exhaust or to confuse the reader.
#![cfg(test)]

use std::time::{Duration, Instant};

use plimsoll_sbom::{DpkgSources, Limits, NamedSource, SbomError, parse, parse_apk, parse_dpkg};
use proptest::prelude::*;

const DOCUMENTS: [&[u8]; 13] = [
    include_bytes!("fixtures/valid/spdx-2.3.json"),
    include_bytes!("fixtures/valid/spdx-2.2-without-checksums.json"),
    include_bytes!("fixtures/valid/cyclonedx-1.2.json"),
    include_bytes!("fixtures/valid/cyclonedx-1.7.json"),
    include_bytes!("fixtures/valid/syft.json"),
    include_bytes!("fixtures/valid/syft-1.0.5.json"),
    include_bytes!("fixtures/valid/spdx-3.0.json"),
    include_bytes!("fixtures/valid/spdx-2.3.yaml"),
    include_bytes!("fixtures/valid/spdx-2.3.spdx"),
    include_bytes!("fixtures/valid/cyclonedx-1.7.xml"),
    include_bytes!("fixtures/wrapped/bundle-0.1.json"),
    include_bytes!("fixtures/wrapped/dsse-cosign-data.json"),
    include_bytes!("fixtures/wrapped/dsse-string-predicate.json"),
];

/// Far more than the refusals need; a reader that did the work first would take longer.
const SOON: Duration = Duration::from_millis(500);

#[test]
fn a_hundred_megabytes_are_refused_before_they_are_read() {
    let mut document = br#"{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [0"#.to_vec();
    document.resize(100 << 20, b' ');
    let start = Instant::now();
    let error = parse(&document, &Limits::default()).unwrap_err();
    assert!(matches!(error, SbomError::TooLarge { size: 104_857_600, limit: 67_108_864 }), "{error}");
    assert!(start.elapsed() < SOON, "took {:?}", start.elapsed());
}

#[test]
fn nesting_is_bounded_whatever_the_caller_allows() {
    let open = r#"{"type": "library", "name": "x", "components": ["#;
    for levels in [40, 1_000, 200_000] {
        let components = format!("{}{}", open.repeat(levels), "]}".repeat(levels));
        let document = format!(r#"{{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{components}]}}"#);
        for max_depth in [20, usize::MAX] {
            let limits = Limits { max_depth, ..Limits::default() };
            match parse(document.as_bytes(), &limits) {
                Ok(sbom) => assert_eq!((sbom.packages.len(), levels, max_depth), (40, 40, usize::MAX)),
                Err(SbomError::TooDeep { limit, place }) => {
                    assert_eq!(limit, max_depth.min(Limits::DEEPEST));
                    assert_eq!(place.line, 1);
                }
                Err(other) => panic!("{levels} levels: {other}"),
            }
        }
    }
}

#[test]
fn nesting_is_bounded_in_xml_too() {
    let open = r#"<component type="library"><name>x</name><components>"#;
    for (levels, taken_in) in [(25, true), (40, false), (200_000, false)] {
        let components = format!("{}{}", open.repeat(levels), "</components></component>".repeat(levels));
        let document =
            format!(r#"<bom xmlns="http://cyclonedx.org/schema/bom/1.6"><components>{components}</components></bom>"#);
        match parse(document.as_bytes(), &Limits::default()) {
            Ok(sbom) => assert_eq!((sbom.packages.len(), taken_in), (levels, true)),
            Err(SbomError::TooDeep { limit: 64, .. }) => assert!(!taken_in),
            Err(other) => panic!("{levels} levels: {other}"),
        }
    }
}

#[test]
fn files_without_substance_are_counted_against_the_documents_size() {
    let document = |count: usize| {
        let files = vec![r#"{"type":"file","name":"a"}"#; count].join(",");
        format!(r#"{{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{files}]}}"#)
    };
    assert_eq!(parse(document(100_000).as_bytes(), &Limits::default()).unwrap().files.len(), 100_000);
    let error = parse(document(200_000).as_bytes(), &Limits::default()).unwrap_err();
    assert!(matches!(error, SbomError::TooMany { what: "files", limit: 142_000..143_000 }), "{error}");
}

#[test]
fn relationships_to_nothing_are_counted() {
    let edge = r#"{"spdxElementId": "a", "relationshipType": "CONTAINS", "relatedSpdxElement": "b"}"#;
    let edges = vec![edge; 30].join(",");
    let document = format!(r#"{{"spdxVersion": "SPDX-2.3", "relationships": [{edges}]}}"#);
    let limits = Limits { max_files: 10, ..Limits::default() };
    assert_eq!(parse(document.as_bytes(), &limits).unwrap_err().to_string(), "more than 5 relationships");
}

#[test]
fn nesting_in_a_field_that_is_not_read_counts_too() {
    let document = format!(r#"{{"spdxVersion": "SPDX-2.3", "ignored": {}}}"#, "[".repeat(1 << 20));
    assert!(matches!(parse(document.as_bytes(), &Limits::default()), Err(SbomError::TooDeep { limit: 64, .. })));
}

#[test]
fn a_package_repeated_with_every_architecture_costs_no_more_than_its_entries() {
    let stanza = |index: usize| format!("Package: p\nVersion: 1\nArchitecture: a{index}\n\n");
    let status: String = (0..50_000).map(stanza).collect();
    let sources = DpkgSources { status: status.as_bytes(), ..DpkgSources::default() };
    let database = parse_dpkg(&sources, &Limits::default()).unwrap();
    let package = |index: usize| {
        format!(r#"{{"type": "library", "name": "p", "version": "1", "purl": "pkg:deb/d/p@1?arch=b{index}"}}"#)
    };
    let components: Vec<String> = (0..50_000).map(package).collect();
    let document =
        format!(r#"{{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{}]}}"#, components.join(","));
    let sbom = parse(document.as_bytes(), &Limits::default()).unwrap();
    let start = Instant::now();
    plimsoll_sbom::inventory(&plimsoll_sbom::Listing::new(), &sbom, &[database]);
    assert!(start.elapsed() < Duration::from_secs(5), "took {:?}", start.elapsed());
}

/// A few edits of the kinds that break readers: bytes changed, cut out, doubled.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<prop::sample::Index>(), 0_usize..40, any::<u8>(), 0_u8..4);
    (0..DOCUMENTS.len(), prop::collection::vec(edit, 1..6)).prop_map(|(document, edits)| {
        let mut bytes = DOCUMENTS[document].to_vec();
        for (place, length, byte, kind) in edits {
            let at = place.index(bytes.len());
            let end = (at + length).min(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => drop(bytes.drain(at..end)),
                2 => {
                    let copy = bytes[at..end].to_vec();
                    bytes.splice(at..at, copy);
                }
                _ => bytes.insert(at, b"{}[]\",:\\0"[usize::from(byte) % 9]),
            }
            if bytes.is_empty() {
                bytes.push(byte);
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) })]

    #[test]
    fn a_mutated_document_is_read_or_refused(bytes in mutated()) {
        if let Ok(sbom) = parse(&bytes, &Limits::default()) {
            for file in &sbom.files {
                prop_assert!(!file.path.starts_with('/') && !file.path.is_empty());
                prop_assert!(!file.path.split('/').any(|component| component == ".."));
                prop_assert!(file.package.is_none_or(|package| package < sbom.packages.len()));
            }
        }
    }

    #[test]
    fn any_bytes_are_a_database_or_are_refused(
        status in "(Package|Version|Status|Conffiles|Architecture|x)?:? ?[ -~\n]{0,200}",
        lists in prop::collection::vec(any::<u8>(), 0..200),
        installed in "([A-Za-z]:[ -~]{0,30}\n{1,2}){0,20}",
    ) {
        let info = ["p.list", "p.md5sums", "p.conffiles"].map(|name| NamedSource { name, bytes: &lists });
        let status = format!("Package: p\nVersion: 1\n\n{status}");
        let sources = DpkgSources { status: status.as_bytes(), info: &info, diversions: &lists, ..DpkgSources::default() };
        let databases = [parse_dpkg(&sources, &Limits::default()), parse_apk(installed.as_bytes(), &Limits::default())];
        for database in databases.into_iter().flatten() {
            for file in &database.files {
                prop_assert!(file.package < database.packages.len());
                prop_assert!(!file.path.is_empty() && file.path[0] != b'/');
            }
        }
    }
}
