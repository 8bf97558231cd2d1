//! Writing what a person or a pipe reads.

use std::io::{self, Write};

use anyhow::Context as _;

/// Writes a finished report. A reader that has seen enough, such as `head`, is no error.
pub(crate) fn print(report: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(report.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}

/// Text from a document, unable to move a terminal's cursor.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}
