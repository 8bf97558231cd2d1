//! What languages leave behind. The first byte says which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_sbom::{Limits, PythonDistribution, cargo_crate, go_module, java_artifact, npm_package, parse_python};

fuzz_target!(|bytes: &[u8]| {
    let Some((which, rest)) = bytes.split_first() else { return };
    match which % 5 {
        0 => drop(go_module(rest)),
        1 => drop(cargo_crate(rest)),
        2 => drop(npm_package(rest)),
        3 => drop(java_artifact(rest)),
        _ => {
            let at = rest.iter().position(|byte| *byte == 0).unwrap_or(0);
            let (metadata, record) = rest.split_at(at);
            let one = PythonDistribution { name: "x.dist-info", directory: b"usr/lib/python3", metadata, record };
            if let Ok(database) = parse_python(&[one], &Limits::default()) {
                assert!(database.files.iter().all(|file| !file.path.starts_with(b"/") && !file.path.is_empty()));
            }
        }
    }
});
