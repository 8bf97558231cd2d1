//! Code that is loaded into a process that was allowed to start.

use super::{Technique, technique};

const MAP: &str = "map";
const PROTECT: &str = "protect";
const WRITTEN: &str = "written";
const NOT_LISTED: &str = "not-listed";

pub(super) const ROWS: &[Technique] = &[
    technique(
        "dropped-by-loader",
        "a dropped program as an argument of the dynamic loader",
        "ld.so(8); GTFOBins: ld.so",
    )
    .after("cp /usr/bin/true /tmp/k")
    .by(&["loader-exec", "/tmp/k"])
    .denied(MAP, WRITTEN)
    .naming("/tmp/k"),
    technique("undeclared-by-loader", "an undeclared program as an argument of the dynamic loader", "ld.so(8)")
        .by(&["loader-exec", "/opt/undeclared/tool"])
        .denied(MAP, NOT_LISTED)
        .naming("/opt/undeclared/tool"),
    technique("preloaded-library", "LD_PRELOAD", "ld.so(8); MITRE ATT&CK T1574.006")
        .after("cp /payload/lib/libactor_payload.so /tmp/l.so")
        .by(&["preload", "/tmp/l.so", "/usr/bin/true"])
        .denied(MAP, WRITTEN)
        .naming("/tmp/l.so"),
    technique("opened-library", "dlopen of a dropped library", "dlopen(3)")
        .after("cp /payload/lib/libactor_payload.so /tmp/m.so")
        .by(&["dlopen", "/tmp/m.so"])
        .denied(MAP, WRITTEN)
        .naming("/tmp/m.so"),
    technique("mapped-dropped", "mmap(PROT_EXEC) of a dropped file", "mmap(2)")
        .after("cp /usr/bin/true /tmp/n")
        .by(&["map-exec", "/tmp/n"])
        .denied(MAP, WRITTEN)
        .naming("/tmp/n"),
    technique("mapped-undeclared", "mmap(PROT_EXEC) of an undeclared file", "mmap(2)")
        .by(&["map-exec", "/opt/undeclared/tool"])
        .denied(MAP, NOT_LISTED)
        .naming("/opt/undeclared/tool"),
    // The mapping holds the real file below the overlay, which is on no allowlist.
    technique("protected-dropped", "a dropped file mapped readable, then made executable", "mprotect(2)")
        .after("cp /usr/bin/true /tmp/o")
        .by(&["protect-exec", "/tmp/o"])
        .denied(PROTECT, NOT_LISTED),
    technique("protected-undeclared", "an undeclared file mapped readable, then made executable", "mprotect(2)")
        .by(&["protect-exec", "/opt/undeclared/tool"])
        .denied(PROTECT, NOT_LISTED),
];
