//! A document's layout: its nodes with the lines they stand on, and its comments.

use std::collections::BTreeMap;

use serde_yaml::granit_parser::{self as yaml, Event, ScalarStyle, StructureStyle};

/// A line that says nothing to the reader of policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trivia {
    Blank,
    /// The text after `#`.
    Comment(String),
}

/// One document of a file.
#[derive(Debug)]
pub(super) struct Document {
    /// Everything above its first field.
    pub(super) header: Vec<Trivia>,
    pub(super) root: Option<Node>,
    /// Its first line.
    pub(super) line: usize,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) first_line: usize,
    pub(super) last_line: usize,
}

#[derive(Debug)]
pub(super) enum Value {
    Scalar { text: String, style: ScalarStyle },
    Collection(Collection),
}

/// A list, or a mapping if its entries have keys.
#[derive(Debug)]
pub(super) struct Collection {
    pub(super) is_flow: bool,
    pub(super) is_mapping: bool,
    /// In characters, from 0.
    pub(super) column: usize,
    pub(super) entries: Vec<Entry>,
    /// What stands below its last entry.
    pub(super) tail: Vec<Trivia>,
}

/// A field, or an item of a list.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) line: usize,
    /// Nothing for an item.
    pub(super) key: Option<String>,
    pub(super) value: Node,
    /// What stands above it.
    pub(super) lead: Vec<Trivia>,
    /// The comment on its line, after `#`.
    pub(super) beside: Option<String>,
}

/// A comment of the text.
#[derive(Debug)]
pub(super) struct Comment {
    pub(super) column: usize,
    /// After `#`.
    pub(super) text: String,
}

/// Reads the layout of a text that is known to be right; nothing if it has what a policy cannot have.
pub(super) fn read(text: &str) -> Option<(Vec<Document>, BTreeMap<usize, Comment>)> {
    let options = yaml::options! { disallow_directives: true, max_buffered_comment_events: usize::MAX };
    let parser = yaml::Parser::new_from_str_with_options(text, options);
    let lines = text.lines().collect();
    let mut reader = Reader { lines, documents: Vec::new(), comments: BTreeMap::new(), open: Vec::new() };
    for next in parser {
        let (event, span) = next.ok()?;
        reader.take(event, &span)?;
    }
    Some((reader.documents, reader.comments))
}

struct Reader<'a> {
    lines: Vec<&'a str>,
    documents: Vec<Document>,
    comments: BTreeMap<usize, Comment>,
    open: Vec<Open>,
}

/// A collection whose end has not come yet.
struct Open {
    line: usize,
    collection: Collection,
    /// The key whose value comes next, with its line.
    key: Option<(String, usize)>,
}

impl Reader<'_> {
    fn take(&mut self, event: Event<'_>, span: &yaml::Span) -> Option<()> {
        let (line, column) = (span.start.line(), span.start.col());
        match event {
            Event::DocumentStart(..) => self.documents.push(Document { header: Vec::new(), root: None, line }),
            Event::Comment(text, _) => {
                self.comments.insert(line, Comment { column, text: text.trim_end().to_owned() });
            }
            Event::Scalar(text, style, _, _) => {
                // The parser writes `~` where the document has nothing.
                let is_absent = style == ScalarStyle::Plain && span.is_empty();
                let text = if is_absent { String::new() } else { text.into_owned() };
                let (first_line, last_line) = match style {
                    ScalarStyle::Literal | ScalarStyle::Folded => {
                        let header = self.block_header(line);
                        (header, self.block_end(header))
                    }
                    _ => (line, span.end.line()),
                };
                self.push(Node { value: Value::Scalar { text, style }, first_line, last_line })?;
            }
            Event::SequenceStart(style, ..) => self.enter(line, column, style, false),
            Event::MappingStart(style, ..) => self.enter(line, column, style, true),
            Event::SequenceEnd | Event::MappingEnd => {
                let Open { line, collection, .. } = self.open.pop()?;
                let last = collection.entries.last().map_or(line, |entry| entry.value.last_line);
                let last_line = if collection.is_flow { span.end.line() } else { last };
                self.push(Node { value: Value::Collection(collection), first_line: line, last_line })?;
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) | Event::Anchor(..) => return None,
            _ => {}
        }
        Some(())
    }

    /// The line with the `|` or `>` of a text that the parser tells by its first line.
    fn block_header(&self, first: usize) -> usize {
        let above = self.lines.get(..first.saturating_sub(1)).unwrap_or_default();
        let nearest = (1..first).rev().zip(above.iter().rev()).find(|(_, line)| !line.trim().is_empty());
        let is_header = |line: &str| {
            let word = line.split(" #").next().unwrap_or_default().split_whitespace().next_back().unwrap_or_default();
            word.starts_with(['|', '>']) && word.chars().skip(1).all(|c| "+-123456789".contains(c))
        };
        nearest.filter(|(_, line)| is_header(line)).map_or(first, |(number, _)| number)
    }

    /// The last line of a `|` or `>` text that begins after `first`: the parser counts blank lines and comments below it in.
    fn block_end(&self, first: usize) -> usize {
        let width = |line: &str| line.len().saturating_sub(line.trim_start().len());
        let rest = self.lines.get(first..).unwrap_or_default();
        let below = || rest.iter().zip(first.saturating_add(1)..).filter(|(line, _)| !line.trim().is_empty());
        let Some(indent) = below().next().map(|(line, _)| width(line)) else { return first };
        below().take_while(|(line, _)| width(line) >= indent && indent > 0).last().map_or(first, |(_, number)| number)
    }

    fn enter(&mut self, line: usize, column: usize, style: StructureStyle, is_mapping: bool) {
        let is_flow = style == StructureStyle::Flow;
        let collection = Collection { is_flow, is_mapping, column, entries: Vec::new(), tail: Vec::new() };
        self.open.push(Open { line, collection, key: None });
    }

    fn push(&mut self, node: Node) -> Option<()> {
        let Some(open) = self.open.last_mut() else {
            let document = self.documents.last_mut()?;
            document.root = Some(node);
            return Some(());
        };
        let (key, line) = match (open.collection.is_mapping, open.key.take()) {
            (false, _) => (None, node.first_line),
            (true, Some((key, line))) => (Some(key), line),
            (true, None) => {
                let Value::Scalar { text, .. } = node.value else { return None };
                open.key = Some((text, node.first_line));
                return Some(());
            }
        };
        open.collection.entries.push(Entry { line, key, value: node, lead: Vec::new(), beside: None });
        Some(())
    }
}
