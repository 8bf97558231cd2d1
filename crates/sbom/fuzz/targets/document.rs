//! Any document, as it comes. What is taken in is sound, and reading it twice gives the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_sbom::{Limits, parse};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(sbom) = parse(bytes, &Limits::default()) {
        for file in &sbom.files {
            assert!(!file.path.is_empty() && !file.path.starts_with('/'));
            assert!(!file.path.split('/').any(|component| component == ".."));
            assert!(file.package.is_none_or(|package| package < sbom.packages.len()));
        }
        assert_eq!(parse(bytes, &Limits::default()).unwrap(), sbom);
    }
});
