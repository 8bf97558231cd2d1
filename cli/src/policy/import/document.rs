//! Documents of other tools as trees whose every value knows its line. Fields are taken out as they are understood; what is left
//! then was not.

use anyhow::{bail, ensure};
use serde_yaml::granit_parser::{self as yaml, Event};

/// Lists and mappings inside each other, and values of one file.
const MAX_DEPTH: usize = 32;
const MAX_VALUES: usize = 100_000;

/// A value, with where it stands.
pub(super) struct Node {
    pub(super) line: usize,
    /// As in `spec.process.matchPaths[2].path`.
    pub(super) path: String,
    pub(super) value: Value,
}

pub(super) enum Value {
    Text(String),
    List(Vec<Node>),
    /// In the order of the document.
    Fields(Vec<(String, Node)>),
}

/// Reads every document of a text.
pub(super) fn read(file: &str, text: &str) -> anyhow::Result<Vec<Node>> {
    let options = yaml::options! { emit_comments: false, disallow_directives: true };
    let (mut documents, mut open, mut values) = (Vec::new(), Vec::<Open>::new(), 0_usize);
    for next in yaml::Parser::new_from_str_with_options(text, options) {
        let (event, span) = next
            .map_err(|error| anyhow::anyhow!("{file}:{}: not valid YAML: {}", error.marker().line(), error.info()))?;
        let line = span.start.line();
        ensure!(open.len() <= MAX_DEPTH, "{file}:{line}: nested deeper than {MAX_DEPTH} levels");
        let node = match event {
            Event::Scalar(text, ..) => Node { line, path: String::new(), value: Value::Text(text.into_owned()) },
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                let is_list = matches!(event, Event::SequenceStart(..));
                open.push(Open { line, is_list, nodes: Vec::new() });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(ended) => ended.node(file)?,
                None => bail!("{file}:{line}: a bracket without its partner"),
            },
            Event::Alias(_) | Event::Anchor(..) => bail!("{file}:{line}: aliases are not read; write the value out"),
            _ => continue,
        };
        values = values.saturating_add(1);
        ensure!(values <= MAX_VALUES, "{file}:{line}: more than {MAX_VALUES} values");
        match open.last_mut() {
            Some(around) => around.nodes.push(node),
            None => documents.push(node.named(String::new())),
        }
    }
    Ok(documents)
}

/// A collection whose end has not come; a mapping's keys and values by turns.
struct Open {
    line: usize,
    is_list: bool,
    nodes: Vec<Node>,
}

impl Open {
    fn node(self, file: &str) -> anyhow::Result<Node> {
        let Self { line, is_list, nodes } = self;
        if is_list {
            return Ok(Node { line, path: String::new(), value: Value::List(nodes) });
        }
        let mut fields = Vec::with_capacity(nodes.len() / 2);
        let mut nodes = nodes.into_iter();
        while let (Some(key), Some(value)) = (nodes.next(), nodes.next()) {
            let Value::Text(name) = key.value else { bail!("{file}:{}: a key must be a name", key.line) };
            // A list under a key is told by the key's line.
            fields.push((name, Node { line: key.line, ..value }));
        }
        Ok(Node { line, path: String::new(), value: Value::Fields(fields) })
    }
}

impl Node {
    /// Gives the node and all below it their paths.
    fn named(mut self, path: String) -> Self {
        self.value = match self.value {
            Value::List(items) => {
                let named = items.into_iter().enumerate().map(|(at, item)| item.named(format!("{path}[{at}]")));
                Value::List(named.collect())
            }
            Value::Fields(fields) => {
                let dot = if path.is_empty() { "" } else { "." };
                let named = |(name, node): (String, Self)| {
                    let node = node.named(format!("{path}{dot}{name}"));
                    (name, node)
                };
                Value::Fields(fields.into_iter().map(named).collect())
            }
            text @ Value::Text(_) => text,
        };
        self.path = path;
        self
    }

    /// Takes a field out of a mapping.
    pub(super) fn take(&mut self, name: &str) -> Option<Self> {
        let Value::Fields(fields) = &mut self.value else { return None };
        let at = fields.iter().position(|(field, _)| field == name)?;
        Some(fields.remove(at).1)
    }

    /// Takes a text out of a mapping.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let Value::Fields(fields) = &self.value else { return None };
        let is_text = fields.iter().any(|(field, node)| field == name && matches!(node.value, Value::Text(_)));
        match self.take(name).filter(|_| is_text)?.value {
            Value::Text(text) => Some(text),
            Value::List(_) | Value::Fields(_) => None,
        }
    }

    /// Takes the items of a list out of a mapping; a missing list has none, and what is no list stays.
    pub(super) fn items(&mut self, name: &str) -> Vec<Self> {
        let Value::Fields(fields) = &self.value else { return Vec::new() };
        if !fields.iter().any(|(field, node)| field == name && matches!(node.value, Value::List(_))) {
            return Vec::new();
        }
        self.take(name).map(Self::rest).unwrap_or_default()
    }

    /// The node's own text.
    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::List(_) | Value::Fields(_) => None,
        }
    }

    /// What was not taken.
    pub(super) fn rest(self) -> Vec<Self> {
        match self.value {
            Value::Fields(fields) => fields.into_iter().map(|(_, node)| node).collect(),
            Value::List(items) => items,
            Value::Text(_) => Vec::new(),
        }
    }
}
