//! A document in its canonical layout: fields in the order of the reference, two spaces for each level, quotes where they are
//! needed. Comments stay with what they stand beside, above or below.
//!
//! Nothing here is trusted to be right: what comes out must read as the same policies, have the same comments, and come out
//! again as it is. Where it does not, the text is left as it was.

mod comments;
mod tree;
mod write;

use super::{Limits, parse_all};
use crate::{
    diagnostic::{Diagnostics, Place},
    policy::Policy,
};

/// Why a text stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// It is wrong.
    #[error(transparent)]
    Wrong(#[from] Diagnostics),
    /// It has comments that would lose their place.
    #[error(
        "{file}:{line}: error: a comment inside brackets, or inside a text of several lines, would lose its place; the file \
         is left as it is\n  help: write the list or mapping as lines, or put the comment above it"
    )]
    Comments {
        /// The document's name.
        file: String,
        /// The first such line.
        line: usize,
    },
    /// The result would not say the same.
    #[error(
        "{file}: error: formatting would lose {what}; the file is left as it is\n  help: bring it closer to the layout of \
         `docs/policy.md`, and report this"
    )]
    Lossy {
        /// The document's name.
        file: String,
        /// What would be lost.
        what: &'static str,
    },
}

/// The text of policies in its canonical layout, for [`parse_all`] the same policies. What is formatted already comes back as it
/// is.
pub fn format(source_name: &str, text: &[u8], limits: &Limits) -> Result<String, FormatError> {
    let before = parse_all(source_name, text, limits)?;
    let lossy = |what| FormatError::Lossy { file: source_name.to_owned(), what };
    // The reader has seen that it is UTF-8.
    let text = std::str::from_utf8(text).map_err(|_not_text| lossy("its encoding"))?;
    let (formatted, comments) = layout(source_name, text)?;
    let after = parse_all(source_name, formatted.as_bytes(), limits).map_err(|_wrong| lossy("its meaning"))?;
    if !before.iter().map(meaning).eq(after.iter().map(meaning)) {
        return Err(lossy("its meaning"));
    }
    let (again, kept) = layout(source_name, &formatted)?;
    if comments != kept {
        return Err(lossy("comments"));
    }
    if again != formatted {
        return Err(lossy("its layout"));
    }
    Ok(formatted)
}

/// The text in its layout, and its comments, sorted.
fn layout(source_name: &str, text: &str) -> Result<(String, Vec<String>), FormatError> {
    let what = "what no policy may have";
    let Some((mut documents, comments)) = tree::read(text) else {
        return Err(FormatError::Lossy { file: source_name.to_owned(), what });
    };
    let mut texts: Vec<String> = comments.values().map(|comment| comment.text.clone()).collect();
    texts.sort();
    let left = comments::assign(&mut documents, comments, text);
    match left.first() {
        Some(line) => Err(FormatError::Comments { file: source_name.to_owned(), line: *line }),
        None => Ok((write::write(&documents, text), texts)),
    }
}

/// A policy without what depends on its layout.
fn meaning(policy: &Policy) -> Policy {
    let nowhere = || Place { file: String::new(), line: 0, column: 0, excerpt: crate::diagnostic::Excerpt::default() };
    let mut policy = policy.clone();
    policy.generation = plimsoll_sbom::Sha256::of(b"");
    policy.place = nowhere();
    policy.allow.iter_mut().for_each(|addition| addition.place = nowhere());
    policy.files.iter_mut().for_each(|rule| rule.place = nowhere());
    if let Some(network) = &mut policy.network {
        network.rules.iter_mut().for_each(|rule| rule.place = None);
    }
    policy
}
