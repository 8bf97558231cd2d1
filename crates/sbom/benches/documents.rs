//! How fast documents of 40 MB are taken in, in each format, shaped as generators write them. Measured in processor time,
//! so that whatever else runs on the machine takes nothing away.
#![expect(clippy::unwrap_used, clippy::string_slice, reason = "a benchmark may stop where a program must not")]

use std::{fmt::Write as _, time::Duration};

use criterion::{
    Criterion, Throughput, criterion_group, criterion_main,
    measurement::{Measurement, ValueFormatter, WallTime},
};
use plimsoll_sbom::{Limits, Sha256, parse};

/// Bytes of a document, at least; the limit on documents is above it.
const SIZE: usize = 40_000_000;

/// What a format's document consists of: a head, entries with their number and a digest, a tail.
struct Shape {
    name: &'static str,
    head: &'static str,
    entry: fn(&mut String, usize, &str),
    separator: &'static str,
    /// Between the entries and the links that follow, if the format has links.
    middle: &'static str,
    link: Option<fn(&mut String, usize)>,
    tail: &'static str,
    files: usize,
}

const SHAPES: [Shape; 5] = [
    Shape {
        name: "SPDX 2.3 JSON",
        head: r#"{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","name":"image","creationInfo":{"creators":["Tool: syft"]},"packages":[{"name":"coreutils","SPDXID":"SPDXRef-p","versionInfo":"9.1-1"}],"files":["#,
        entry: |text, number, sha256| {
            write!(text, r#"{{"fileName":"usr/share/doc/package-{number}/changelog.Debian.gz","SPDXID":"SPDXRef-File-usr-share-doc-package-changelog-{number}","fileTypes":["APPLICATION","OTHER"],"checksums":[{{"algorithm":"SHA1","checksumValue":"{}"}},{{"algorithm":"SHA256","checksumValue":"{sha256}"}}],"licenseConcluded":"NOASSERTION","licenseInfoInFiles":["NOASSERTION"],"copyrightText":"NOASSERTION","comment":"layerID: sha256:{sha256}"}}"#, &sha256[..40]).unwrap();
        },
        separator: ",",
        middle: r#"],"relationships":["#,
        link: Some(|text, number| {
            write!(text, r#"{{"spdxElementId":"SPDXRef-p","relatedSpdxElement":"SPDXRef-File-usr-share-doc-package-changelog-{number}","relationshipType":"CONTAINS"}}"#).unwrap();
        }),
        tail: "]}",
        files: 60_000,
    },
    Shape {
        name: "Syft JSON",
        head: r#"{"artifacts":[{"id":"p","name":"coreutils","version":"9.1-1","type":"deb"}],"schema":{"version":"16.0.18"},"artifactRelationships":[],"files":["#,
        entry: |text, number, sha256| {
            write!(text, r#"{{"id":"{}{number}","location":{{"path":"/usr/share/doc/package-{number}/changelog.Debian.gz","layerID":"sha256:{sha256}"}},"metadata":{{"mode":644,"type":"RegularFile","userID":0,"groupID":0,"mimeType":"application/gzip","size":12345}},"digests":[{{"algorithm":"sha1","value":"{}"}},{{"algorithm":"sha256","value":"{sha256}"}}]}}"#, &sha256[..16], &sha256[..40]).unwrap();
        },
        separator: ",",
        middle: "",
        link: None,
        tail: "]}",
        files: 85_000,
    },
    Shape {
        name: "CycloneDX 1.6 JSON",
        head: r#"{"bomFormat":"CycloneDX","specVersion":"1.6","components":["#,
        entry: |text, number, sha256| {
            write!(text, r#"{{"bom-ref":"{}{number}","type":"file","name":"/usr/share/doc/package-{number}/changelog.Debian.gz","hashes":[{{"alg":"SHA-1","content":"{}"}},{{"alg":"SHA-256","content":"{sha256}"}}]}}"#, &sha256[..16], &sha256[..40]).unwrap();
        },
        separator: ",",
        middle: "",
        link: None,
        tail: "]}",
        files: 145_000,
    },
    Shape {
        name: "CycloneDX 1.6 XML",
        head: r#"<?xml version="1.0"?><bom xmlns="http://cyclonedx.org/schema/bom/1.6"><components>"#,
        entry: |text, number, sha256| {
            write!(text, "<component type=\"file\" bom-ref=\"{}{number}\">\n<name>/usr/share/doc/package-{number}/changelog.Debian.gz</name>\n<hashes><hash alg=\"SHA-1\">{}</hash><hash alg=\"SHA-256\">{sha256}</hash></hashes></component>", &sha256[..16], &sha256[..40]).unwrap();
        },
        separator: "\n",
        middle: "",
        link: None,
        tail: "</components></bom>",
        files: 135_000,
    },
    Shape {
        name: "SPDX 2.3 tag-value",
        head: "SPDXVersion: SPDX-2.3\nDocumentName: image\n",
        entry: |text, number, sha256| {
            write!(text, "FileName: usr/share/doc/package-{number}/changelog.Debian.gz\nSPDXID: SPDXRef-File-usr-share-doc-package-changelog-{number}\nFileType: APPLICATION\nFileChecksum: SHA1: {}\nFileChecksum: SHA256: {sha256}\nLicenseConcluded: NOASSERTION\nLicenseInfoInFile: NOASSERTION\nFileCopyrightText: NOASSERTION\n", &sha256[..40]).unwrap();
        },
        separator: "\n",
        middle: "",
        link: None,
        tail: "",
        files: 107_000,
    },
];

impl Shape {
    fn document(&self) -> String {
        let mut text = self.head.to_owned();
        for number in 0..self.files {
            if number > 0 {
                text.push_str(self.separator);
            }
            (self.entry)(&mut text, number, &Sha256::of(&number.to_le_bytes()).hex());
        }
        text.push_str(self.middle);
        if let Some(link) = self.link {
            for number in 0..self.files {
                if number > 0 {
                    text.push_str(self.separator);
                }
                link(&mut text, number);
            }
        }
        text.push_str(self.tail);
        assert!(text.len() >= SIZE && text.len() < Limits::default().max_bytes, "{}: {}", self.name, text.len());
        text
    }
}

/// Time that this process had a processor.
struct ProcessorTime;

static NANOSECONDS: WallTime = WallTime;

fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap(), u32::try_from(time.tv_nsec).unwrap())
}

impl Measurement for ProcessorTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        processor_time()
    }

    fn end(&self, start: Duration) -> Duration {
        processor_time().saturating_sub(start)
    }

    fn add(&self, left: &Duration, right: &Duration) -> Duration {
        *left + *right
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_secs_f64() * 1e9
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        NANOSECONDS.formatter()
    }
}

fn documents(criterion: &mut Criterion<ProcessorTime>) {
    let mut group = criterion.benchmark_group("documents");
    group.sample_size(10);
    for shape in SHAPES {
        let text = shape.document();
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(shape.name, |bench| {
            bench.iter(|| {
                let sbom = parse(text.as_bytes(), &Limits::default()).unwrap();
                assert_eq!(sbom.files.len(), shape.files);
                sbom
            });
        });
    }
    group.finish();
}

criterion_group!(
    name = benches;
    config = Criterion::default().with_measurement(ProcessorTime);
    targets = documents
);
criterion_main!(benches);
