//! apk's database.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_sbom::{Limits, parse_apk};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(database) = parse_apk(bytes, &Limits::default()) {
        for file in &database.files {
            assert!(file.package < database.packages.len());
            assert!(!file.path.is_empty() && file.path[0] != b'/');
        }
    }
});
