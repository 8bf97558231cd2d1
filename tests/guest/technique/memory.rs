//! Executable memory that is no file's content.

use super::{Technique, technique};

const MAP: &str = "map";
const PROTECT: &str = "protect";
const ANONYMOUS: &str = "anonymous-exec";
const MODIFIED: &str = "modified-code";

pub(super) const ROWS: &[Technique] = &[
    technique("anonymous-at-once", "memory that is writable and executable at once", "mmap(2), MAP_ANONYMOUS")
        .by(&["anonymous-exec"])
        .denied(MAP, ANONYMOUS),
    technique("anonymous-written-first", "memory that is written, then made executable", "mprotect(2)")
        .by(&["anonymous-protect"])
        .denied(PROTECT, ANONYMOUS),
    technique(
        "listed-modified",
        "a listed file's private mapping, changed and made executable",
        "mmap(2), MAP_PRIVATE",
    )
    .by(&["modified-exec", "/usr/bin/true"])
    .denied(PROTECT, MODIFIED),
    technique("listed-writable", "a listed file mapped writable and executable at once", "mmap(2), MAP_PRIVATE")
        .by(&["write-exec-map", "/usr/bin/true"])
        .denied(MAP, MODIFIED)
        .naming("/usr/bin/true"),
];
