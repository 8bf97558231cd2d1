//! From YAML text to trees, refusing what makes a document mean something else than it reads: aliases, merge keys,
//! tags, directives, duplicate keys.

use std::collections::HashMap;

use serde_yaml::granit_parser::{self as yaml, ErrorKind, Event, ScalarStyle};

use super::{
    Limits,
    report::{Report, Reported},
    source::Span,
    tree::{Field, Node, Scalar, Value},
};

/// One document of a file.
pub(super) struct Document {
    /// The line it starts on; the text up to the next document's first line belongs to it.
    pub(super) first_line: usize,
    pub(super) root: Result<Node, Reported>,
}

/// Reads every document of the text. A broken document does not hide the problems of the next one.
pub(super) fn load(report: &mut Report<'_>, limits: &Limits) -> Vec<Document> {
    let options = yaml::options! {
        emit_comments: false,
        emit_anchor_events: true,
        emit_unresolved_aliases: true,
        disallow_directives: true,
    };
    let mut parser = yaml::Parser::new_from_str_with_options(report.source().text(), options);
    let mut documents = Vec::new();
    let mut first_line = 1;
    loop {
        let root = match load_one(&mut parser, &mut first_line, report, limits.max_depth) {
            Ok(Some(node)) => Ok(node),
            Ok(None) => return documents,
            Err(reported) => Err(reported),
        };
        let broken = root.is_err();
        documents.push(Document { first_line, root });
        if broken {
            match parser.proceed_next_document() {
                Ok(true) => {}
                Ok(false) => return documents,
                Err(error) => {
                    let root = Err(syntax_error(&error, report));
                    documents.push(Document { first_line, root });
                    return documents;
                }
            }
        }
    }
}

type Parser<'a> = yaml::Parser<'a, yaml::StrInput<'a>>;

/// Reads up to the end of a document; `None` is the end of the text.
fn load_one(
    parser: &mut Parser<'_>,
    first_line: &mut usize,
    report: &mut Report<'_>,
    max_depth: usize,
) -> Result<Option<Node>, Reported> {
    let mut builder = Builder { report, max_depth, open: Vec::new(), root: None };
    for next in parser {
        let (event, span) = next.map_err(|error| syntax_error(&error, builder.report))?;
        match event {
            Event::DocumentStart(..) => *first_line = span.start.line(),
            Event::DocumentEnd => return Ok(builder.root),
            event => builder.take(event, &span)?,
        }
    }
    Ok(None)
}

/// A collection whose end has not come yet.
enum Open {
    Sequence { span: Span, items: Vec<Node> },
    Mapping { span: Span, fields: Vec<(Node, Node)>, key: Option<Node> },
}

struct Builder<'r, 'a> {
    report: &'r mut Report<'a>,
    max_depth: usize,
    open: Vec<Open>,
    root: Option<Node>,
}

impl Builder<'_, '_> {
    /// Takes one event; an error gives the document up.
    fn take(&mut self, event: Event<'_>, at: &yaml::Span) -> Result<(), Reported> {
        let span = line_span(at);
        self.refuse_tag(&event, at);
        match event {
            Event::Scalar(text, style, _, _) => {
                let plain = style == ScalarStyle::Plain;
                // The parser writes `~` where the document has nothing.
                let text = if plain && at.is_empty() { String::new() } else { text.into_owned() };
                let scalar = Scalar { text, plain };
                self.push(Node { span, value: Value::Scalar(scalar) });
            }
            Event::SequenceStart(..) => self.enter(Open::Sequence { span, items: Vec::new() }, span)?,
            Event::MappingStart(..) => self.enter(Open::Mapping { span, fields: Vec::new(), key: None }, span)?,
            Event::SequenceEnd | Event::MappingEnd => self.leave(),
            Event::Anchor(..) => {
                let help = "remove the `&name`, and write the value out where it is used";
                self.report.error(span, "anchors are not supported", help);
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                let help = "write the value out; quote it if it is meant to start with `*`";
                let refused = self.report.error(span, "aliases are not supported", help);
                self.push(Node { span, value: Value::Refused(refused) });
            }
            _ => {}
        }
        Ok(())
    }

    fn refuse_tag(&mut self, event: &Event<'_>, at: &yaml::Span) {
        if event.tag().is_some() {
            let tag = at.tag_span().as_ref().map_or_else(|| line_span(at), line_span);
            let help = "remove the `!tag`; quote the value if it is meant to start with `!`";
            self.report.error(tag, "tags are not supported", help);
        }
    }

    fn enter(&mut self, collection: Open, span: Span) -> Result<(), Reported> {
        if self.open.len() >= self.max_depth {
            let message = format!("nested deeper than {} levels", self.max_depth);
            return Err(self.report.error(
                span,
                message,
                "a policy needs five; check the brackets and the indentation",
            ));
        }
        self.open.push(collection);
        Ok(())
    }

    fn leave(&mut self) {
        let node = match self.open.pop() {
            Some(Open::Sequence { span, items }) => Node { span, value: Value::Sequence(items) },
            Some(Open::Mapping { span, fields, .. }) => {
                Node { span, value: Value::Mapping(named_fields(fields, self.report)) }
            }
            // The parser balances its events; there is nothing to close.
            None => return,
        };
        self.push(node);
    }

    fn push(&mut self, node: Node) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::Sequence { items, .. }) => items.push(node),
            Some(Open::Mapping { fields, key, .. }) => match key.take() {
                None => *key = Some(node),
                Some(key) => fields.push((key, node)),
            },
        }
    }
}

/// Keeps the fields that have a name of their own, and reports the others.
fn named_fields(pairs: Vec<(Node, Node)>, report: &mut Report<'_>) -> Vec<Field> {
    let mut first_lines = HashMap::new();
    let mut fields = Vec::with_capacity(pairs.len());
    for (key, node) in pairs {
        let key_span = key.span;
        match key.value {
            Value::Scalar(Scalar { text, plain: true }) if text == "<<" => {
                report.error(key_span, "merge keys are not supported", "write the fields out");
            }
            Value::Scalar(Scalar { text: key, .. }) => match first_lines.get(&key) {
                None => {
                    first_lines.insert(key.clone(), key_span.line);
                    fields.push(Field { key, key_span, node });
                }
                Some(first) => {
                    let message = format!("duplicate key {}", super::fields::quoted(&key));
                    report.error(key_span, message, format!("it is already set on line {first}; keep one of them"));
                }
            },
            Value::Refused(_) => {}
            Value::Sequence(_) | Value::Mapping(_) => {
                let help = "quote the key if it is meant to start with `[`, `{` or `?`";
                report.error(key_span, "a key must be a name", help);
            }
        }
    }
    fields
}

/// A scalar's own range; for anything that spans lines, the rest of its first line.
fn line_span(span: &yaml::Span) -> Span {
    let (start, end) = (&span.start, &span.end);
    let width = if start.line() == end.line() { end.col().saturating_sub(start.col()) } else { 0 };
    Span { line: start.line(), column: start.col().saturating_add(1), width }
}

fn syntax_error(error: &yaml::ScanError, report: &mut Report<'_>) -> Reported {
    let at = error.marker();
    let span = Span { line: at.line(), column: at.col().saturating_add(1), width: 1 };
    report.error(span, format!("not valid YAML: {}", error.info()), remedy(error.kind()))
}

/// What to look for, by the kind of mistake.
fn remedy(kind: &ErrorKind) -> &'static str {
    use ErrorKind as E;
    match kind {
        E::TabNotAllowed | E::TabInBlockIndentation | E::TabInIndentation | E::TabInPlainScalar => {
            "replace the tab by spaces; YAML indents with spaces alone"
        }
        E::InvalidIndentation | E::ExpectedBlockMappingKey | E::ExpectedBlockSequenceEntry => {
            "align this line with the other fields of the same block"
        }
        E::MappingValueNotAllowed => "check the indentation here and above; quote a value that contains `: `",
        E::SimpleKeyExpected | E::InvalidSimpleKey => "a field is written `name: value`, with a space after the colon",
        E::UnclosedQuotedScalar | E::InvalidTrailingDoubleQuotedScalar | E::InvalidTrailingSingleQuotedScalar => {
            "check that every quote has its partner"
        }
        E::UnclosedFlowCollection { .. }
        | E::MismatchedFlowCollectionEnd { .. }
        | E::MisplacedFlowCollectionEnd
        | E::ExpectedFlowMappingSeparator
        | E::ExpectedFlowSequenceSeparator
        | E::UnexpectedEofFlowMapping
        | E::UnexpectedEofFlowSequence => "check that every bracket has its partner; quote a value that contains one",
        E::RecursionLimitExceeded => "a policy needs five levels; check the brackets and the indentation",
        E::DirectiveDisallowed => "remove the line; a policy needs no YAML directives",
        _ => "check this line and the one above; `docs/policy.md` has a complete example",
    }
}
