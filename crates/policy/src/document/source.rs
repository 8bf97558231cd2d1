//! The text of a document: decoding, and finding the line that a position names.

use crate::diagnostic::{Diagnostic, Diagnostics, Excerpt, Place, is_direction_control, printable};

/// Characters of a line that a diagnostic shows.
const EXCERPT_CHARS: usize = 120;

/// A range on one line, in characters from 1; a width of zero reaches to the end of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) width: usize,
}

/// A decoded document and its name.
pub(crate) struct Source<'a> {
    name: &'a str,
    text: &'a str,
    /// Byte offset of each line.
    lines: Vec<usize>,
}

impl<'a> Source<'a> {
    /// Takes `bytes` for UTF-8, or says where they are not.
    pub(crate) fn decode(name: &'a str, bytes: &'a [u8], max_bytes: usize) -> Result<Self, Diagnostics> {
        if bytes.len() > max_bytes {
            let message = format!("the document is larger than the limit of {max_bytes} bytes");
            let help = "no policy needs that much; check that this is the file you meant";
            return Err(problem(name, Span { line: 1, column: 1, width: 0 }, "", message, help).into());
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Self { name, text, lines: line_starts(text) }),
            Err(error) => Err(not_utf8(name, bytes, error.valid_up_to()).into()),
        }
    }

    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// Everything from line `first` up to, without, line `end`; `None` is the end of the text.
    pub(crate) fn slice(&self, first: usize, end: Option<usize>) -> &'a str {
        let end = end.map_or(self.text.len(), |line| self.offset(line));
        self.text.get(self.offset(first)..end).unwrap_or_default()
    }

    /// The place that `span` names, with its line.
    pub(crate) fn place(&self, span: Span) -> Place {
        place(self.name, span, self.line(span.line))
    }

    /// Characters that no policy needs and that hide what it says: control characters, changes of direction.
    pub(crate) fn unwelcome_characters(&self) -> impl Iterator<Item = (char, Span)> {
        (1..=self.lines.len()).flat_map(|line| {
            let unwelcome = |c: &char| *c != '\t' && (c.is_control() || is_direction_control(*c));
            let columns = self.line(line).chars().zip(1..).filter(move |(c, _)| unwelcome(c));
            columns.map(move |(c, column)| (c, Span { line, column, width: 1 }))
        })
    }

    fn line(&self, line: usize) -> &'a str {
        self.slice(line, Some(line.saturating_add(1))).trim_end_matches(['\r', '\n'])
    }

    fn offset(&self, line: usize) -> usize {
        self.lines.get(line.saturating_sub(1)).copied().unwrap_or(self.text.len())
    }
}

/// Byte offsets of the lines; like YAML, takes `\n`, `\r\n` and `\r` for ends of lines.
fn line_starts(text: &str) -> Vec<usize> {
    let ends = text.bytes().zip(1..).scan(false, |after_cr, (byte, next)| {
        let continues = *after_cr && byte == b'\n';
        *after_cr = byte == b'\r';
        Some((byte, next, continues))
    });
    let mut starts = vec![0];
    for (byte, next, continues) in ends {
        match starts.last_mut() {
            Some(last) if continues => *last = next,
            _ if matches!(byte, b'\n' | b'\r') => starts.push(next),
            _ => {}
        }
    }
    starts
}

fn not_utf8(name: &str, bytes: &[u8], offset: usize) -> Diagnostic {
    let (before, after) = bytes.split_at_checked(offset).unwrap_or((bytes, &[]));
    let starts = line_starts(std::str::from_utf8(before).unwrap_or_default());
    let line_start = starts.last().copied().unwrap_or_default();
    let on_line = bytes.get(line_start..).unwrap_or_default();
    let on_line = on_line.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    let column = before.get(line_start..).map_or(0, |start| String::from_utf8_lossy(start).chars().count());
    let span = Span { line: starts.len(), column: column.saturating_add(1), width: 1 };

    let byte = after.first().copied().unwrap_or_default();
    let message = format!("byte 0x{byte:02x} at offset {offset} is not UTF-8");
    let help = if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        "this looks like UTF-16; save the file as UTF-8"
    } else {
        "save the file as UTF-8"
    };
    problem(name, span, &String::from_utf8_lossy(on_line), message, help)
}

fn problem(name: &str, span: Span, line: &str, message: String, help: &str) -> Diagnostic {
    Diagnostic { place: place(name, span, line), message, help: Some(help.to_owned()) }
}

fn place(name: &str, span: Span, line: &str) -> Place {
    Place { file: name.to_owned(), line: span.line, column: span.column, excerpt: excerpt(line, span) }
}

/// The part of `line` that shows `span`, so that a line of a megabyte stays readable.
fn excerpt(line: &str, span: Span) -> Excerpt {
    let before = span.column.saturating_sub(1);
    let skipped = if before < EXCERPT_CHARS { 0 } else { before.saturating_sub(EXCERPT_CHARS / 2) };
    let window = line.char_indices().nth(skipped).and_then(|(offset, _)| line.get(offset..)).unwrap_or_default();
    let text = printable(window, EXCERPT_CHARS).trim_end().to_owned();
    let indent = before.saturating_sub(skipped);
    let rest = text.chars().count().saturating_sub(indent).max(1);
    let width = if span.width == 0 { rest } else { span.width.min(rest) };
    Excerpt { text, indent, width }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_in_yaml() {
        assert_eq!(line_starts(""), [0]);
        assert_eq!(line_starts("a\nb\r\nc\rd"), [0, 2, 5, 7]);
        assert_eq!(line_starts("\r\n\r\n\n"), [0, 2, 4, 5]);
    }

    #[test]
    fn a_long_line_is_shown_around_the_column() {
        let line = "x".repeat(1_000_000);
        let shown = excerpt(&line, Span { line: 1, column: 500_000, width: 900_000 });
        assert_eq!(shown.text.len(), EXCERPT_CHARS);
        assert_eq!((shown.indent, shown.width), (60, 60));
    }

    #[test]
    fn a_place_past_the_line_still_has_a_caret() {
        let shown = excerpt("mode:", Span { line: 1, column: 6, width: 0 });
        assert_eq!((shown.text.as_str(), shown.indent, shown.width), ("mode:", 5, 1));
    }
}
