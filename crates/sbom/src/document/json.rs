//! Reading JSON within bounds, with errors that say where.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, SeqAccess, Visitor},
};
use serde_json::error::Category;
use serde_path_to_error::Track;

use super::error::{Place, SbomError};

/// Longest list read into memory, whatever the caller's limits: a few bytes of JSON can otherwise ask for many of ours.
const MAX_LIST: usize = 1 << 20;

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

/// Refuses nesting beyond `limit` before the recursive reader sees the text. Says nothing about the text otherwise.
pub(super) fn check_depth(text: &str, limit: usize) -> Result<(), SbomError> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (offset, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > limit {
            return Err(SbomError::TooDeep { place: place_of(text, offset), limit });
        }
    }
    Ok(())
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
        assert!(check_depth(r#"["[[[[\"[[[[", "\\", []]"#, 2).is_ok());
        let error = check_depth("[\n  [[", 2).unwrap_err();
        assert_eq!(error.to_string(), "line 2, column 4: nested deeper than 2 levels");
    }

    #[test]
    fn a_list_may_be_null_and_nothing_else() {
        assert!(read::<List<u8>>("null").unwrap().0.is_empty());
        assert_eq!(read::<List<u8>>("[1, 2]").unwrap().0, [1, 2]);
        let error = read::<List<u8>>("{}").err().unwrap();
        assert_eq!(error.to_string(), "line 1, column 0: invalid type: map, expected a list");
    }
}
