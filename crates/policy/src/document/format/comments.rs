//! Whose a comment is: the entry's below it, the one's on its line, or the block's that it ends.

use std::collections::BTreeMap;

use serde_yaml::granit_parser::ScalarStyle;

use super::tree::{Collection, Comment, Document, Entry, Node, Trivia, Value};

/// Gives every comment and blank line to the node it belongs to; returns the lines of comments that have no place of their own,
/// such as those inside `[ ]`.
pub(super) fn assign(documents: &mut [Document], comments: BTreeMap<usize, Comment>, text: &str) -> Vec<usize> {
    // As in YAML, lines end with `\n`, `\r\n` or `\r`.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let blank: Vec<bool> = text.split('\n').map(|line| line.trim().is_empty()).collect();
    let end = blank.len().saturating_add(1);
    let mut assigner = Assigner { comments, blank };
    // What stands before the first `---` is the first document's.
    let starts: Vec<usize> = documents.iter().enumerate().map(|(at, one)| if at == 0 { 1 } else { one.line }).collect();
    let ends = starts.iter().skip(1).copied().chain([end]);
    for ((document, start), end) in documents.iter_mut().zip(&starts).zip(ends) {
        assigner.document(document, *start, end);
    }
    assigner.comments.into_keys().collect()
}

struct Assigner {
    /// Those that have no place yet, by line.
    comments: BTreeMap<usize, Comment>,
    /// By line, the first being line 1.
    blank: Vec<bool>,
}

impl Assigner {
    fn document(&mut self, document: &mut Document, start: usize, end: usize) {
        let Some(root) = &mut document.root else {
            document.header = self.lines(start, end);
            return;
        };
        document.header = self.lines(start, root.first_line);
        let (first, last) = (root.first_line, root.last_line);
        let Value::Collection(collection) = &mut root.value else { return };
        if collection.is_flow {
            collection.tail = self.lines(last, end);
            return;
        }
        let from = self.collection(collection, first, end);
        // The whole document is around it, however far it is indented.
        let rest = self.lines(from, end);
        collection.tail.extend(rest);
    }

    /// `from` is the first line that is not given away, `until` the line where something else begins. Returns the next `from`.
    fn collection(&mut self, collection: &mut Collection, mut from: usize, until: usize) -> usize {
        let ends: Vec<usize> = collection.entries.iter().skip(1).map(|entry| entry.line).chain([until]).collect();
        for (entry, end) in collection.entries.iter_mut().zip(ends) {
            entry.lead = self.lines(from, entry.line);
            from = self.entry(entry, end).max(from);
        }
        let belongs = |line: &usize| match self.comments.get(line) {
            Some(comment) => comment.column >= collection.column,
            None => self.is_blank(*line),
        };
        let last = (from..until).take_while(belongs).filter(|line| self.comments.contains_key(line)).last();
        if let Some(last) = last {
            collection.tail = self.lines(from, last.saturating_add(1));
            from = last.saturating_add(1);
        }
        from
    }

    fn entry(&mut self, entry: &mut Entry, until: usize) -> usize {
        let Node { value, first_line, last_line } = &mut entry.value;
        let beside = match value {
            Value::Collection(collection) if !collection.is_flow => {
                if entry.key.is_some() && *first_line > entry.line {
                    entry.beside = self.take(entry.line);
                }
                let from = if *first_line > entry.line { entry.line.saturating_add(1) } else { entry.line };
                return self.collection(collection, from, until);
            }
            Value::Scalar { style: ScalarStyle::Literal | ScalarStyle::Folded, .. } => *first_line,
            _ => *last_line,
        };
        // A comment between a field's name and its value goes above both.
        let above = self.lines(entry.line, *first_line).into_iter().filter(|one| *one != Trivia::Blank);
        entry.lead.extend(above);
        entry.beside = self.take(beside);
        last_line.saturating_add(1)
    }

    /// Comments and blank lines from one line up to another.
    fn lines(&mut self, from: usize, until: usize) -> Vec<Trivia> {
        let mut found = Vec::new();
        for line in from..until {
            if let Some(text) = self.take(line) {
                found.push(Trivia::Comment(text));
            } else if self.is_blank(line) {
                found.push(Trivia::Blank);
            }
        }
        found
    }

    fn is_blank(&self, line: usize) -> bool {
        line.checked_sub(1).and_then(|index| self.blank.get(index)).copied().unwrap_or(false)
    }

    fn take(&mut self, line: usize) -> Option<String> {
        self.comments.remove(&line).map(|comment| comment.text)
    }
}
