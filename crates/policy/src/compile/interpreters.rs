//! Which programs run what they read.

use plimsoll_sbom::{ExecKind, InventoryFile};

/// Names of interpreters, without the version that often follows.
const NAMES: [&str; 32] = [
    "ash",
    "awk",
    "bash",
    "bun",
    "busybox",
    "dash",
    "deno",
    "fish",
    "gawk",
    "guile",
    "java",
    "jsh",
    "ksh",
    "lua",
    "luajit",
    "mawk",
    "mksh",
    "node",
    "nodejs",
    "original-awk",
    "perl",
    "php",
    "php-cgi",
    "php-fpm",
    "pypy",
    "python",
    "Rscript",
    "ruby",
    "sh",
    "tclsh",
    "wish",
    "zsh",
];

/// Whether a file of an image is an interpreter, by its name: `python3.11`, `perl5.36.0`, `sh`.
pub(super) fn is_interpreter(file: &InventoryFile) -> bool {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    let unversioned = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    file.kind == ExecKind::Elf && file.mode & 0o111 != 0 && NAMES.contains(&unversioned)
}
