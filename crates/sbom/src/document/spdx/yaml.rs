//! SPDX 2 as YAML: the JSON model in other clothes.

use serde::de::DeserializeSeed as _;
use serde_yaml::{Error, Options, budget, options};

use super::{
    super::{
        Contents, SbomError,
        error::Place,
        stream::{Object, Target as _},
    },
    two::Document,
};
use crate::limits::Limits;

/// Uses of a YAML anchor. Writers make them of equal values; SBOMs have few.
const MAX_ALIASES: usize = 10_000;

/// Reads one YAML document.
pub(in super::super) fn read(text: &str, limits: &Limits) -> Result<Contents, SbomError> {
    let mut document = Document::new(limits);
    let result = serde_yaml::with_deserializer_from_str_with_options(text, within(text, limits), |reader| {
        Object(&mut document).deserialize(reader)
    });
    match result {
        Ok(()) => document.finish(),
        Err(error) => Err(document.refusal().take().unwrap_or_else(|| located(&error))),
    }
}

/// A node takes at least two bytes of text; aliases alone can make more of them, and are counted.
fn within(text: &str, limits: &Limits) -> Options {
    options! {
        budget: budget! {
            max_depth: limits.max_depth,
            flow_nesting_limit: limits.max_depth,
            max_nodes: text.len(),
            max_events: text.len().saturating_mul(2).saturating_add(16),
            max_total_scalar_bytes: text.len(),
            max_documents: 1,
            max_aliases: MAX_ALIASES,
            max_anchors: MAX_ALIASES,
        },
        with_snippet: false,
    }
}

fn located(error: &Error) -> SbomError {
    let place = error.location().map_or_else(Place::default, |location| Place {
        line: usize::try_from(location.line()).unwrap_or_default(),
        column: usize::try_from(location.column()).unwrap_or_default(),
        path: None,
    });
    // Without what is said to programmers, and the place, which is told already.
    let words = error.to_string();
    let reason = words.lines().next().unwrap_or_default();
    let reason = reason.rsplit_once(" at line ").map_or(reason, |(before, _)| before);
    let reason = reason.split_once(", set ").map_or(reason, |(before, _)| before);
    SbomError::Malformed { place, reason: reason.chars().take(200).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_and_versions_that_look_like_numbers_stay_text() {
        let text = "spdxVersion: SPDX-2.3\npackages: [{SPDXID: p, name: 1.50, versionInfo: 0x10}]\nfiles:\n- SPDXID: f\n  \
                    fileName: /bin/x\n  checksums:\n  - {algorithm: SHA1, checksumValue: 123456789012345678901234567890123456789e}\n\
                    - {SPDXID: g, fileName: 12, checksums: [{algorithm: MD5, checksumValue: 12345678901234567890123456789012}]}\n";
        let contents = read(text, &Limits::default()).unwrap();
        let [package] = contents.assembly.packages.as_slice() else { panic!("one package") };
        assert_eq!((package.name.as_str(), package.version.as_deref()), ("1.50", Some("0x10")));
        let [first, second] = contents.assembly.files.as_slice() else { panic!("two files") };
        assert_eq!(first.digests.sha1.map(hex::encode).unwrap(), "123456789012345678901234567890123456789e");
        assert_eq!((second.path.as_str(), second.digests.md5.is_some()), ("12", true));
    }

    #[test]
    fn aliases_cannot_multiply_a_document() {
        let mut text = "spdxVersion: SPDX-2.3\nx0: &a0 [y, y]\n".to_owned();
        for level in 1..40 {
            let below = level - 1;
            let aliases = vec![format!("*a{below}"); 6].join(", ");
            text.extend([format!("x{level}: &a{level} [{aliases}]\n")]);
        }
        assert!(matches!(read(&text, &Limits::default()), Err(SbomError::Malformed { .. })));
        let deep = format!("spdxVersion: SPDX-2.3\nx: {}", "[".repeat(100_000));
        assert!(matches!(read(&deep, &Limits::default()), Err(SbomError::Malformed { .. })));
    }
}
