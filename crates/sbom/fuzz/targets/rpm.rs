//! rpm's database, in each of its containers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_sbom::{Limits, parse_rpm};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(database) = parse_rpm("Packages", bytes, &Limits::default()) {
        // No byte of the file may count for many entries.
        assert!(database.files.len() <= bytes.len());
        for file in &database.files {
            assert!(file.package < database.packages.len());
            assert!(!file.path.is_empty() && file.path[0] != b'/');
        }
    }
});
