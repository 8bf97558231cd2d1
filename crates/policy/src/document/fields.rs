//! Reading the fields of a mapping: known names, required ones, and the types of their values.

use super::{
    report::{Report, Reported},
    shape::{self, Shape},
    source::Span,
    tree::{Field, Node, Scalar, ScalarType, Value},
};
use crate::diagnostic::printable;

/// Characters of a value that a message repeats.
const QUOTED_CHARS: usize = 60;

/// A mapping whose field names were checked.
pub(super) struct Fields<'n> {
    shape: &'static Shape,
    anchor: Span,
    known: Vec<&'n Field>,
    /// Fields that an unknown name was probably meant to be.
    meant: Vec<&'static str>,
    /// The last unknown name.
    problem: Option<Reported>,
}

impl<'n> Fields<'n> {
    /// Checks that `node` is a mapping and reports every name that `shape` does not have. Problems of the whole are
    /// shown at `anchor`.
    pub(super) fn open(
        node: &'n Node,
        anchor: Span,
        shape: &'static Shape,
        report: &mut Report<'_>,
    ) -> Result<Self, Reported> {
        let Value::Mapping(fields) = &node.value else {
            return Err(wrong_type(node, anchor, shape.name, "a mapping", report));
        };
        let mut opened = Self { shape, anchor, known: Vec::new(), meant: Vec::new(), problem: None };
        for field in fields {
            if shape.fields.contains(&field.key.as_str()) {
                opened.known.push(field);
            } else {
                opened.unknown(field, report);
            }
        }
        Ok(opened)
    }

    /// A field, if it is there.
    pub(super) fn optional(&self, name: &str) -> Option<&'n Field> {
        self.known.iter().copied().find(|field| field.key == name)
    }

    /// A field that must be there; `example` shows how to write it.
    pub(super) fn required(&self, name: &str, example: &str, report: &mut Report<'_>) -> Result<&'n Field, Reported> {
        if let Some(field) = self.optional(name) {
            return Ok(field);
        }
        // A misspelled field is one problem, not two.
        let misspelled = self.problem.filter(|_| self.meant.contains(&name));
        let absent =
            || report.error(self.anchor, format!("{} has no `{name}`", self.shape.name), format!("add `{example}`"));
        Err(misspelled.unwrap_or_else(absent))
    }

    /// Reports that nothing of use is here, unless an unknown field already says why.
    pub(super) fn empty(&self, message: &str, help: &str, report: &mut Report<'_>) -> Reported {
        self.problem.unwrap_or_else(|| report.error(self.anchor, message, help))
    }

    fn unknown(&mut self, field: &Field, report: &mut Report<'_>) {
        let home = shape::ALL.iter().find(|other| other.fields.contains(&field.key.as_str()));
        let help = if let Some(meant) = self.run_together(&field.key) {
            self.meant.push(meant);
            format!("put a space after the colon: `{meant}: ...`")
        } else if let Some(meant) = closest(&field.key, self.shape.fields) {
            self.meant.push(meant);
            format!("did you mean `{meant}`?")
        } else if let Some(home) = home {
            format!("`{}` belongs in {}; check the indentation", field.key, home.name)
        } else {
            format!("{} has {}", self.shape.name, listed(self.shape.fields))
        };
        let reported =
            report.error(field.key_span, format!("unknown field {} in {}", quoted(&field.key), self.shape.name), help);
        self.problem = Some(reported);
    }
}

impl Fields<'_> {
    /// The field of a `name:value` whose colon has no space, so that YAML takes all of it for a name.
    fn run_together(&self, key: &str) -> Option<&'static str> {
        let (name, _) = key.split_once(':')?;
        self.shape.fields.iter().copied().find(|field| *field == name)
    }
}

impl Field {
    /// Where to point at the value: at the key if there is no value.
    pub(super) fn value_span(&self) -> Span {
        if self.node.is_empty() { self.key_span } else { self.node.span }
    }

    /// The value as text that YAML cannot take for anything else.
    pub(super) fn string(&self, report: &mut Report<'_>) -> Result<&str, Reported> {
        let expected = "a string";
        let name = quoted(&self.key);
        let Value::Scalar(scalar) = &self.node.value else {
            return Err(wrong_type(&self.node, self.value_span(), &name, expected, report));
        };
        if scalar.kind() == ScalarType::String {
            return Ok(&scalar.text);
        }
        Err(wrong_type(&self.node, self.value_span(), &name, expected, report))
    }

    /// The value as a list.
    pub(super) fn list(&self, report: &mut Report<'_>) -> Result<&[Node], Reported> {
        match &self.node.value {
            Value::Sequence(items) => Ok(items),
            _ => Err(wrong_type(&self.node, self.value_span(), &quoted(&self.key), "a list", report)),
        }
    }

    /// The value as one of `choices`, exactly as they are spelled.
    pub(super) fn choice<T: Copy>(
        &self,
        choices: &[(&'static str, T)],
        report: &mut Report<'_>,
    ) -> Result<T, Reported> {
        if self.node.is_empty() {
            let names: Vec<&'static str> = choices.iter().map(|(name, _)| *name).collect();
            let message = format!("`{}` has no value", self.key);
            return Err(report.error(self.key_span, message, format!("write {}", alternatives(&names))));
        }
        choose(&self.node, &self.key, choices, report)
    }
}

/// A value as one of `choices`, exactly as they are spelled; `name` is the field's.
pub(super) fn choose<T: Copy>(
    node: &Node,
    name: &str,
    choices: &[(&'static str, T)],
    report: &mut Report<'_>,
) -> Result<T, Reported> {
    // Whatever YAML takes the scalar for, it is one of the names or it is not.
    let Value::Scalar(Scalar { text, .. }) = &node.value else {
        return Err(wrong_type(node, node.span, &quoted(name), "a string", report));
    };
    if let Some((_, value)) = choices.iter().find(|(choice, _)| choice == text) {
        return Ok(*value);
    }
    let names: Vec<&'static str> = choices.iter().map(|(name, _)| *name).collect();
    let help = match closest(text, &names) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("write {}", alternatives(&names)),
    };
    Err(report.error(node.span, format!("`{name}` cannot be {}", quoted(text)), help))
}

/// Text in backticks, without anything a terminal would act on, and not too long.
pub(super) fn quoted(text: &str) -> String {
    let shown = printable(text, QUOTED_CHARS);
    let more = if text.chars().nth(QUOTED_CHARS).is_some() { "..." } else { "" };
    format!("`{shown}{more}`")
}

/// Reports that `node` is not what `name` must be.
pub(super) fn wrong_type(node: &Node, span: Span, name: &str, expected: &str, report: &mut Report<'_>) -> Reported {
    let (found, help) = match &node.value {
        Value::Scalar(scalar) => describe(scalar, expected),
        Value::Sequence(_) => ("a list".to_owned(), format!("write {expected} here, without `- ` or `[ ]`")),
        Value::Mapping(_) => ("a mapping".to_owned(), format!("write {expected} here; check the indentation")),
        Value::Refused(reported) => return *reported,
    };
    report.error(span, format!("{name} must be {expected}, found {found}"), help)
}

fn describe(scalar: &Scalar, expected: &str) -> (String, String) {
    let text = quoted(&scalar.text);
    let found = match scalar.kind() {
        ScalarType::Null if expected == "a string" => {
            return ("nothing".to_owned(), "write its value after the colon".to_owned());
        }
        ScalarType::Null => "nothing".to_owned(),
        ScalarType::Boolean => format!("the boolean {text}"),
        ScalarType::Number => format!("the number {text}"),
        ScalarType::Ambiguous => format!("{text}, which some parsers take for a boolean"),
        ScalarType::String => format!("the string {text}"),
    };
    let help = match expected {
        "a string" => format!("write it in quotes: `\"{}\"`", printable(&scalar.text, QUOTED_CHARS)),
        "a list" => "write each entry on its own line, after `- `".to_owned(),
        _ => "write its fields on the next lines, indented, as `name: value`".to_owned(),
    };
    (found, help)
}

/// The candidate that `text` was probably meant to be.
pub(super) fn closest(text: &str, candidates: &[&'static str]) -> Option<&'static str> {
    // No name of the language is longer; comparing costs the product of the lengths.
    if text.chars().nth(40).is_some() {
        return None;
    }
    let text = text.to_lowercase();
    let distance = |candidate: &&'static str| strsim::damerau_levenshtein(&text, &candidate.to_lowercase());
    let best = candidates.iter().copied().min_by_key(distance)?;
    (distance(&best) <= best.chars().count().div_ceil(3)).then_some(best)
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn alternatives(names: &[&str]) -> String {
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or `{last}`", listed(rest)),
        _ => listed(names),
    }
}
