//! Writing a document in its canonical layout.

use serde_yaml::granit_parser::ScalarStyle;

use super::{
    super::{
        scalar::scalar,
        shape::{self, Shape},
    },
    tree::{Collection, Document, Entry, Node, Trivia, Value},
};

/// Columns of a line; longer lists and mappings in brackets are written as blocks.
const WIDTH: usize = 120;

/// The text of all documents.
pub(super) fn write(documents: &[Document], source: &str) -> String {
    let mut writer = Writer { text: String::new(), source: source.lines().collect() };
    for (at, document) in documents.iter().enumerate() {
        if at > 0 {
            writer.text.push_str("---\n");
        }
        writer.trivia(&document.header, 0, true);
        // An empty document beside others has nothing but comments.
        if let Some(Node { value: Value::Collection(root), .. }) = &document.root {
            let starts = document.header.iter().all(|one| *one == Trivia::Blank);
            writer.block(root, Some(&shape::DOCUMENT), 0, starts);
        }
    }
    writer.text
}

struct Writer<'a> {
    text: String,
    source: Vec<&'a str>,
}

impl Writer<'_> {
    /// Comments, and no more than one blank line between them; none at the beginning of a block.
    fn trivia(&mut self, trivia: &[Trivia], indent: usize, starts: bool) {
        let mut blank_before = starts || self.text.is_empty() || self.text.ends_with("\n\n");
        for one in trivia {
            match one {
                Trivia::Blank if !blank_before => {
                    self.text.push('\n');
                    blank_before = true;
                }
                Trivia::Blank => {}
                Trivia::Comment(text) => {
                    self.indent(indent);
                    self.text.push('#');
                    self.text.push_str(text);
                    self.text.push('\n');
                    blank_before = false;
                }
            }
        }
    }

    fn indent(&mut self, indent: usize) {
        self.text.extend(std::iter::repeat_n(' ', indent));
    }

    /// The entries, each on its own line.
    fn block(&mut self, collection: &Collection, shape: Option<&'static Shape>, indent: usize, starts: bool) {
        for (at, entry) in ordered(collection, shape).into_iter().enumerate() {
            self.trivia(&entry.lead, indent, starts && at == 0);
            self.trivia(&above_item(entry, shape), indent, true);
            self.indent(indent);
            self.entry(entry, shape, indent);
        }
        self.trivia(trimmed(&collection.tail), indent, false);
    }

    /// An entry from its key or dash on; the cursor stands at `indent`.
    fn entry(&mut self, entry: &Entry, shape: Option<&'static Shape>, indent: usize) {
        let Some(key) = &entry.key else { return self.item(entry, shape, indent) };
        let inner = shape.and_then(|shape| shape.inside(key));
        let key = scalar(key);
        self.text.push_str(&key);
        self.text.push(':');
        let column = indent.saturating_add(key.chars().count()).saturating_add(2);
        match &entry.value.value {
            Value::Collection(collection) if !fits(collection, inner, column) => {
                self.beside(entry);
                self.block(collection, inner, indent.saturating_add(2), true);
            }
            _ => {
                self.text.push(' ');
                self.inline(&entry.value, entry, inner, indent);
            }
        }
    }

    fn item(&mut self, entry: &Entry, shape: Option<&'static Shape>, indent: usize) {
        self.text.push_str("- ");
        let inner = indent.saturating_add(2);
        match &entry.value.value {
            Value::Collection(collection) if !fits(collection, shape, inner) => {
                let fields = ordered(collection, shape);
                for (at, field) in fields.into_iter().enumerate() {
                    if at > 0 {
                        self.trivia(&field.lead, inner, false);
                        self.indent(inner);
                    }
                    self.entry(field, shape, inner);
                }
                self.trivia(trimmed(&collection.tail), inner, false);
            }
            _ => self.inline(&entry.value, entry, shape, indent),
        }
    }

    /// A value on the line of its key or dash.
    fn inline(&mut self, node: &Node, entry: &Entry, shape: Option<&'static Shape>, indent: usize) {
        match &node.value {
            Value::Scalar { style: ScalarStyle::Literal | ScalarStyle::Folded, .. } => {
                if let Some((header, lines)) = self.block_scalar(node) {
                    self.text.push_str(&header);
                    self.beside(entry);
                    for line in lines {
                        let width = if line.is_empty() { 0 } else { indent.saturating_add(2) };
                        self.indent(width);
                        self.text.push_str(&line);
                        self.text.push('\n');
                    }
                    return;
                }
                self.text.push_str(&flow(node, shape));
            }
            _ => self.text.push_str(&flow(node, shape)),
        }
        self.beside(entry);
    }

    fn beside(&mut self, entry: &Entry) {
        if let Some(text) = &entry.beside {
            self.text.push_str("  #");
            self.text.push_str(text);
        }
        self.text.push('\n');
    }

    /// The header of a `|` or `>` text, and its lines without their indentation. Nothing where it says how it is indented.
    fn block_scalar(&self, node: &Node) -> Option<(String, Vec<String>)> {
        let line = self.source.get(node.first_line.checked_sub(1)?)?;
        let before_comment = line.split(" #").next().unwrap_or_default();
        let header = before_comment.split_whitespace().next_back()?;
        let is_plain = header.starts_with(['|', '>']) && header.chars().skip(1).all(|c| matches!(c, '-' | '+'));
        let lines = self.source.get(node.first_line..node.last_line)?;
        let width = |line: &&&str| line.len().saturating_sub(line.trim_start().len());
        let indent = lines.iter().filter(|line| !line.trim().is_empty()).map(|line| width(&line)).min()?;
        let lines = lines.iter().map(|line| line.get(indent..).unwrap_or_default().to_owned()).collect();
        is_plain.then(|| (header.to_owned(), lines))
    }
}

/// Fields in the order of the reference; items, labels and other names as they are.
fn ordered<'c>(collection: &'c Collection, shape: Option<&'static Shape>) -> Vec<&'c Entry> {
    let mut entries: Vec<&Entry> = collection.entries.iter().collect();
    if let Some(shape) = shape.filter(|_| collection.is_mapping) {
        let place = |key: &str| shape.fields.iter().position(|field| *field == key).unwrap_or(usize::MAX);
        entries.sort_by_key(|entry| entry.key.as_deref().map(place));
    }
    entries
}

/// Comments above the field that comes first in an item: they cannot stand between the dash and the field.
fn above_item(entry: &Entry, shape: Option<&'static Shape>) -> Vec<Trivia> {
    let Value::Collection(collection) = &entry.value.value else { return Vec::new() };
    if entry.key.is_some() || !collection.is_mapping {
        return Vec::new();
    }
    let first = ordered(collection, shape).into_iter().next();
    let lead = first.map(|first| first.lead.clone()).unwrap_or_default();
    lead.into_iter().filter(|one| *one != Trivia::Blank).collect()
}

/// Whether a collection is written in brackets on one line: it was, and it is not too long.
fn fits(collection: &Collection, shape: Option<&'static Shape>, column: usize) -> bool {
    let text = || in_brackets(collection, shape).chars().count();
    collection.entries.is_empty() || (collection.is_flow && column.saturating_add(text()) <= WIDTH)
}

fn in_brackets(collection: &Collection, shape: Option<&'static Shape>) -> String {
    let entries = ordered(collection, shape).into_iter().map(|entry| match &entry.key {
        Some(key) => format!("{}: {}", scalar(key), flow(&entry.value, shape.and_then(|shape| shape.inside(key)))),
        None => flow(&entry.value, shape),
    });
    let entries = entries.collect::<Vec<_>>().join(", ");
    if collection.is_mapping { format!("{{{entries}}}") } else { format!("[{entries}]") }
}

/// A value on one line.
fn flow(node: &Node, shape: Option<&'static Shape>) -> String {
    match &node.value {
        // What YAML took for a number stays one.
        Value::Scalar { text, style: ScalarStyle::Plain } if !text.contains('\n') => text.clone(),
        Value::Scalar { text, .. } => scalar(text),
        Value::Collection(collection) => in_brackets(collection, shape),
    }
}

/// Without blank lines at its end.
fn trimmed(trivia: &[Trivia]) -> &[Trivia] {
    let end = trivia.iter().rposition(|one| *one != Trivia::Blank).map_or(0, |last| last.saturating_add(1));
    trivia.get(..end).unwrap_or_default()
}
