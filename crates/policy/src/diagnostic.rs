//! Problems of a policy document, told so that a person can mend them.

use std::fmt;

use serde::Serialize;

/// Where in a document something stands, with the line itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The document's name, as the caller gave it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The line's text around the column, fit for a terminal; empty if there is none to show.
    #[serde(skip)]
    pub(crate) excerpt: Excerpt,
}

/// A piece of one source line and what to underline in it, in characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Excerpt {
    pub(crate) text: String,
    pub(crate) indent: usize,
    pub(crate) width: usize,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Where it is.
    #[serde(flatten)]
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Every problem of a document, in the order of their places.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    omitted: usize,
}

impl Diagnostics {
    pub(crate) fn new(mut list: Vec<Diagnostic>, omitted: usize) -> Self {
        list.sort_by_key(|one| (one.place.line, one.place.column));
        Self { list, omitted }
    }

    /// The problems, never none.
    pub fn list(&self) -> &[Diagnostic] {
        &self.list
    }

    /// Problems found beyond those in [`Diagnostics::list`], which is bounded by [`crate::Limits::max_diagnostics`].
    pub fn omitted(&self) -> usize {
        self.omitted
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(only: Diagnostic) -> Self {
        Self { list: vec![only], omitted: 0 }
    }
}

impl std::error::Error for Diagnostics {}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, one) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{one}")?;
        }
        if self.omitted > 0 {
            write!(f, "\n... and {} more", self.omitted)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostic {}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: error: {}", self.place, self.message)?;
        let Excerpt { text, indent, width } = &self.place.excerpt;
        if !text.is_empty() {
            let line = self.place.line.to_string();
            write!(f, "\n  {line} | {text}")?;
            write!(f, "\n  {0:1$} | {0:indent$}{2:^<width$}", "", line.len(), "")?;
        }
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

/// `file:line:column`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", printable(&self.file, usize::MAX), self.line, self.column)
    }
}

/// Text without anything that moves a terminal's cursor, cut to `limit` characters.
pub(crate) fn printable(text: &str, limit: usize) -> String {
    text.chars().map(|c| if c == '\t' { ' ' } else { c }).map(visible).take(limit).collect()
}

fn visible(c: char) -> char {
    if c.is_control() || is_direction_control(c) { char::REPLACEMENT_CHARACTER } else { c }
}

/// Characters that make a line read differently from what it says.
pub(crate) fn is_direction_control(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
