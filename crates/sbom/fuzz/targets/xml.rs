//! CycloneDX as XML.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_sbom::{Limits, parse};

fuzz_target!(|bytes: &[u8]| {
    let start = b"<bom xmlns=\"http://cyclonedx.org/schema/bom/1.6\">".as_slice();
    for text in [bytes.to_vec(), [start, bytes, b"</bom>"].concat()] {
        if let Ok(sbom) = parse(&text, &Limits::default()) {
            assert!(sbom.files.iter().all(|file| file.package.is_none_or(|package| package < sbom.packages.len())));
        }
    }
});
