//! dpkg's database: the input is cut at NUL bytes into its files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_sbom::{DpkgSources, Limits, NamedSource, parse_dpkg};

const NAMES: [&str; 4] = ["p.list", "p.md5sums", "p.conffiles", "q:amd64.list"];

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.split(|byte| *byte == 0);
    let (status, diversions) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let distroless = [NamedSource { name: "base", bytes: parts.next().unwrap_or_default() }];
    let info: Vec<_> = NAMES.into_iter().zip(parts).map(|(name, bytes)| NamedSource { name, bytes }).collect();
    let sources = DpkgSources { status, status_d: &distroless, info: &info, diversions };
    if let Ok(database) = parse_dpkg(&sources, &Limits::default()) {
        for file in &database.files {
            assert!(file.package < database.packages.len());
            assert!(!file.path.is_empty() && file.path[0] != b'/');
        }
    }
});
