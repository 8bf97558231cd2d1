//! Events as lines for people.

use std::io::{self, Write};

use serde_json::Value;

use super::time;

const HEADINGS: [&str; 8] = ["TIME", "NODE", "WORKLOAD", "VERDICT", "HOOK", "PATH", "PACKAGE", "REASON"];
/// A container's id is long, and its beginning tells it apart.
const WORKLOAD: usize = 12;

/// Rows that are aligned page by page.
#[derive(Default)]
pub(super) struct Table {
    widths: [usize; 8],
    rows: u64,
}

impl Table {
    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Prints the headings before the first row.
    pub(super) fn print(&mut self, events: &[Value], out: &mut impl Write) -> io::Result<()> {
        let mut rows: Vec<_> = events.iter().map(row).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let count = rows.len() as u64;
        if self.is_empty() {
            rows.insert(0, HEADINGS.map(str::to_owned));
        }
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &rows {
            let cells = row.iter().zip(self.widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        self.rows += count;
        Ok(())
    }
}

fn row(event: &Value) -> [String; 8] {
    let text = |pointer| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let cell = |text: &str| if text.is_empty() { "-".to_owned() } else { printable(text) };
    let time = event.get("time_unix_ns").and_then(Value::as_u64).map_or_else(|| "-".to_owned(), time::display);
    let workload: String = text("/workload/id").chars().take(WORKLOAD).collect();
    let package = match (text("/package/name"), text("/package/version")) {
        (name, "") => name.to_owned(),
        (name, version) => format!("{name} {version}"),
    };
    [
        time,
        cell(text("/node")),
        cell(&workload),
        cell(text("/verdict")),
        cell(text("/hook")),
        cell(&subject(event)),
        cell(&package),
        cell(text("/reason")),
    ]
}

/// What it was about: the file, the far end of a connection, or the operation.
fn subject(event: &Value) -> String {
    let text = |pointer| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let port = event.pointer("/network/port").and_then(Value::as_u64).unwrap_or(0);
    match (text("/file/path"), text("/network/address")) {
        ("", "") => text("/operation").to_owned(),
        ("", address) if address.contains(':') => format!("[{address}]:{port}/{}", text("/network/protocol")),
        ("", address) => format!("{address}:{port}/{}", text("/network/protocol")),
        (path, _) => path.to_owned(),
    }
}

/// Without characters that would move the cursor, change colours or turn the line around: a container chooses its
/// paths, and must not write to the terminal of whoever investigates it.
pub(crate) fn printable(text: &str) -> String {
    let is_harmful = |char: char| {
        char.is_control() || matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().flat_map(|char| if is_harmful(char) { char.escape_default().collect() } else { vec![char] }).collect()
}
