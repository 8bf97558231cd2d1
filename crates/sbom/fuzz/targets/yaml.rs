//! SPDX as YAML.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_sbom::{Limits, parse};

fuzz_target!(|bytes: &[u8]| {
    let text = [b"spdxVersion: SPDX-2.3\n".as_slice(), bytes].concat();
    if let Ok(sbom) = parse(&text, &Limits::default()) {
        assert!(sbom.files.iter().all(|file| file.package.is_none_or(|package| package < sbom.packages.len())));
    }
});
