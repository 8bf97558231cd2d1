//! Reading JSON within bounds, with errors that say where.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, SeqAccess, Visitor},
};
use serde_json::error::Category;
use serde_path_to_error::Track;

use super::error::{Place, SbomError};

/// Longest list read into memory, whatever the caller's limits: a few bytes of JSON can otherwise ask for many of ours.
const MAX_LIST: usize = 1 << 19;

/// The document as text, without a byte order mark.
pub(super) fn text(bytes: &[u8]) -> Result<&str, SbomError> {
    match str::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            let offset = error.valid_up_to();
            let before = bytes.get(..offset).unwrap_or_default();
            Err(SbomError::NotUtf8 { offset, line: 1 + newlines(before) })
        }
    }
}

/// The fields of the outermost object, each with its value's text. Refuses nesting beyond `limit` before a recursive
/// reader sees the text. What is not JSON gives fields too; the reader that comes after finds out.
pub(super) fn outline(text: &str, limit: usize) -> Result<Vec<(Cow<'_, str>, &str)>, SbomError> {
    let bytes = text.as_bytes();
    let mut outline = Outline { text, fields: Vec::new(), key: None };
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let end = end_of_string(bytes, at);
                if depth == 1 {
                    outline.string(at, end);
                }
                at = end;
                continue;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 1 => outline.end_value(at),
            _ => {}
        }
        if depth > limit {
            return Err(SbomError::TooDeep { place: place_of(text, at), limit });
        }
        at += 1;
    }
    outline.end_value(text.trim_end().len().saturating_sub(1));
    Ok(outline.fields)
}

/// Where the string that starts at `start` has ended; the end of the text if it has none.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found;
        if bytes.get(at) == Some(&b'"') {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

struct Outline<'a> {
    text: &'a str,
    fields: Vec<(Cow<'a, str>, &'a str)>,
    /// The field whose value is being read, and where that starts.
    key: Option<(Cow<'a, str>, usize)>,
}

impl Outline<'_> {
    /// A key is the first string since the last comma. One with escapes is what it stands for, lest it hides.
    fn string(&mut self, start: usize, end: usize) {
        if self.key.is_none() {
            let quoted = self.text.get(start..end).unwrap_or_default();
            let plain = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
            let key = if plain.contains('\\') {
                Cow::Owned(serde_json::from_str(quoted).unwrap_or_else(|_| plain.to_owned()))
            } else {
                Cow::Borrowed(plain)
            };
            self.key = Some((key, end));
        }
    }

    fn end_value(&mut self, end: usize) {
        if let Some((key, start)) = self.key.take() {
            let value = self.text.get(start..end).unwrap_or_default();
            self.fields.push((key, value.trim_start().trim_start_matches(':').trim()));
        }
    }
}

pub(super) fn place_of(text: &str, offset: usize) -> Place {
    let before = text.as_bytes().get(..offset).unwrap_or_default();
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    Place { line: 1 + newlines(before), column: 1 + offset - line_start, path: None }
}

fn newlines(bytes: &[u8]) -> usize {
    bytes.split(|byte| *byte == b'\n').count().saturating_sub(1)
}

/// Reads the whole text as one `T`.
pub(super) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, SbomError> {
    serde_json::from_str(text).map_err(|error| located::<T>(text, &error))
}

/// Says where a value of `T` is wrong.
fn located<'a, T: Deserialize<'a>>(text: &'a str, error: &serde_json::Error) -> SbomError {
    located_at(text, error, PhantomData::<T>)
}

/// Reads again to learn the JSON path of the error; following paths all the time would slow the good documents down.
pub(super) fn located_at<'a>(text: &'a str, error: &serde_json::Error, seed: impl DeserializeSeed<'a>) -> SbomError {
    let mut reader = serde_json::Deserializer::from_str(text);
    let mut track = Track::new();
    let path = match seed.deserialize(serde_path_to_error::Deserializer::new(&mut reader, &mut track)) {
        Ok(_) => None,
        Err(_) => Some(track.path().to_string()).filter(|path| path != "."),
    };
    let place = Place { line: error.line(), column: error.column(), path };
    if error.classify() == Category::Eof {
        return SbomError::Truncated { place };
    }
    let described = error.to_string();
    let suffix = format!(" at line {} column {}", error.line(), error.column());
    let reason = described.strip_suffix(&suffix).unwrap_or(&described);
    SbomError::Malformed { place, reason: reason.chars().take(200).collect() }
}

/// A list that may be absent or `null`, and is not too long.
pub(super) struct List<T>(pub(super) Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_option(ListVisitor(PhantomData))
    }
}

pub(super) struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<List<T>, E> {
        Ok(List::default())
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<List<T>, E> {
        Ok(List::default())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<List<T>, D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<List<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = sequence.next_element()? {
            if list.len() == MAX_LIST {
                return Err(A::Error::custom(format_args!("more than {MAX_LIST} entries in one list")));
            }
            list.push(element);
        }
        Ok(List(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_ignores_brackets_in_strings() {
        assert!(outline(r#"["[[[[\"[[[[", "\\", []]"#, 2).is_ok());
        let error = outline("[\n  [[", 2).unwrap_err();
        assert_eq!(error.to_string(), "line 2, column 4: nested deeper than 2 levels");
    }

    #[test]
    fn fields_of_the_outermost_object_are_told() {
        let text = r#" {"a" : {"b": [1, "c,d"]}, "\u0065": "f" , "g":[], "h" : null } "#;
        let fields = outline(text, 9).unwrap();
        let fields: Vec<(&str, &str)> = fields.iter().map(|(key, value)| (&**key, *value)).collect();
        assert_eq!(fields, [("a", r#"{"b": [1, "c,d"]}"#), ("e", r#""f""#), ("g", "[]"), ("h", "null")]);
        for cut in ["{", "{\"", "{\"cut", "{\"cut\\", "{\"a\":", "}}}", "{\"\\u00", "\u{e9}\u{e9}"] {
            assert!(outline(cut, 9).unwrap().len() <= 1, "{cut}");
        }
    }

    #[test]
    fn a_list_may_be_null_and_nothing_else() {
        assert!(read::<List<u8>>("null").unwrap().0.is_empty());
        assert_eq!(read::<List<u8>>("[1, 2]").unwrap().0, [1, 2]);
        let error = read::<List<u8>>("{}").err().unwrap();
        assert_eq!(error.to_string(), "line 1, column 0: invalid type: map, expected a list");
    }
}
