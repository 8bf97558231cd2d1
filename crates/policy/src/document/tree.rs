//! A document as a tree whose every node knows where it stands.

use super::{report::Reported, source::Span};

/// A value and its place.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
}

impl Node {
    /// Whether nothing is written here.
    pub(super) fn is_empty(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.plain && scalar.text.is_empty())
    }
}

/// What a node holds.
#[derive(Debug)]
pub(super) enum Value {
    /// Text, as yet untyped.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// Named fields in the order of the document, without duplicates.
    Mapping(Vec<Field>),
    /// Something that the loader refused and reported.
    Refused(Reported),
}

/// The text of a scalar.
#[derive(Debug)]
pub(super) struct Scalar {
    pub(super) text: String,
    /// Written without quotes, so that YAML may take it for something else than a string.
    pub(super) plain: bool,
}

/// One `key: value`.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) node: Node,
}

/// What YAML takes a scalar for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScalarType {
    String,
    Null,
    Boolean,
    /// `yes`, `no`, `on`, `off`: a boolean to some parsers, a string to others.
    Ambiguous,
    Number,
}

impl Scalar {
    /// The type by the YAML core schema.
    pub(super) fn kind(&self) -> ScalarType {
        if !self.plain {
            return ScalarType::String;
        }
        match self.text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => ScalarType::Null,
            "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => ScalarType::Boolean,
            text if ["yes", "no", "on", "off"].iter().any(|word| text.eq_ignore_ascii_case(word)) => {
                ScalarType::Ambiguous
            }
            text if is_number(text) => ScalarType::Number,
            _ => ScalarType::String,
        }
    }
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if let Some(hex) = unsigned.strip_prefix("0x") {
        return u128::from_str_radix(hex, 16).is_ok();
    }
    if let Some(octal) = unsigned.strip_prefix("0o") {
        return u128::from_str_radix(octal, 8).is_ok();
    }
    let special = [".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"].contains(&unsigned);
    // `f64` also reads words such as `nan`, which YAML does not take for numbers.
    special || (unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') && unsigned.parse::<f64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_have_the_core_schema_type() {
        let kind = |text: &str| Scalar { text: text.to_owned(), plain: true }.kind();
        for text in ["0", "-1", "1.5", "1e3", "0x1f", "0o17", ".5", "-.inf", ".NaN"] {
            assert_eq!(kind(text), ScalarType::Number, "{text}");
        }
        for text in ["nan", "inf", "1.2.3", "2026-01-01", "-", "+", ".", "0xzz", "truth", "nginx"] {
            assert_eq!(kind(text), ScalarType::String, "{text}");
        }
        assert_eq!(kind("~"), ScalarType::Null);
        assert_eq!(kind("True"), ScalarType::Boolean);
        assert_eq!(kind("NO"), ScalarType::Ambiguous);
        assert_eq!(Scalar { text: "true".to_owned(), plain: false }.kind(), ScalarType::String);
    }
}
