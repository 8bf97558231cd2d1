//! SPDX 2 as tag-value: lines of `Tag: value`, where a package's or file's tags follow its name.
//!
//! Read by hand: the one published reader of the form, `spdx-rs`, is abandoned and refuses what generators write, and
//! a line of this format needs no grammar.

use std::{borrow::Cow, iter::Enumerate, str::Lines};

use super::{
    super::{Contents, SbomError, SbomPackage, error::Place},
    two::Document,
};
use crate::{digest::Digests, limits::Limits};

/// Reads the whole text.
pub(in super::super) fn read(text: &str, limits: &Limits) -> Result<Contents, SbomError> {
    let mut reader = Reader { document: Document::new(limits), section: Section::Document, package: None };
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((tag, value)) = line.split_once(':') else {
            // Some write the text of a licence as it is, over several lines.
            if matches!(reader.section, Section::Other) {
                continue;
            }
            return Err(malformed(index, "expected `Tag: value`"));
        };
        let value = value.trim();
        // Long texts are never of interest, only where they end.
        if let Some(rest) = value.strip_prefix("<text>") {
            match rest.split_once("</text>") {
                Some((inner, _)) => reader.take(tag, inner, index)?,
                None => skip_text(&mut lines, index)?,
            }
        } else {
            reader.take(tag, value, index)?;
        }
    }
    reader.end_section()?;
    reader.document.finish()
}

fn skip_text(lines: &mut Enumerate<Lines<'_>>, start: usize) -> Result<(), SbomError> {
    match lines.find(|(_, line)| line.contains("</text>")) {
        Some(_) => Ok(()),
        None => Err(malformed(start, "a `<text>` that starts here does not end")),
    }
}

fn malformed(index: usize, reason: &str) -> SbomError {
    SbomError::Malformed { place: Place { line: index + 1, column: 1, path: None }, reason: reason.to_owned() }
}

/// What the tags at hand belong to.
enum Section<'a> {
    Document,
    Package {
        id: Option<Cow<'a, str>>,
        entry: SbomPackage,
    },
    File {
        id: Option<Cow<'a, str>>,
        path: &'a str,
        digests: Digests,
    },
    /// Snippets, licences, reviews.
    Other,
}

struct Reader<'a> {
    document: Document<'a>,
    section: Section<'a>,
    /// The package whose files follow.
    package: Option<usize>,
}

impl<'a> Reader<'a> {
    fn take(&mut self, tag: &str, value: &'a str, index: usize) -> Result<(), SbomError> {
        match (tag.trim_end(), &mut self.section) {
            ("PackageName", _) => {
                let entry = SbomPackage { name: value.to_owned(), version: None, purl: None };
                self.begin(Section::Package { id: None, entry })?;
            }
            ("FileName", _) => self.begin(Section::File { id: None, path: value, digests: Digests::default() })?,
            ("SnippetSPDXID" | "LicenseID", _) => self.begin(Section::Other)?,
            ("Relationship", _) => self.relationship(value, index)?,
            ("SPDXVersion", Section::Document) => self.document.version(Cow::Borrowed(value)),
            ("DocumentName", Section::Document) => self.document.name(Cow::Borrowed(value)),
            ("Creator", _) => self.document.creator(value),
            ("SPDXID", Section::Package { id, .. } | Section::File { id, .. }) => *id = Some(Cow::Borrowed(value)),
            ("PackageVersion", Section::Package { entry, .. }) => entry.version = Some(value.to_owned()),
            ("ExternalRef", Section::Package { entry, .. }) => {
                let mut words = value.split_ascii_whitespace().skip(1);
                if words.next() == Some("purl") && entry.purl.is_none() {
                    entry.purl = words.next().map(str::to_owned);
                }
            }
            ("FileChecksum", Section::File { digests, .. }) => checksum(digests, value, index)?,
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, section: Section<'a>) -> Result<(), SbomError> {
        self.end_section()?;
        self.section = section;
        Ok(())
    }

    /// A file stands below the package it belongs to; those before the first package belong to none.
    fn end_section(&mut self) -> Result<(), SbomError> {
        match std::mem::replace(&mut self.section, Section::Other) {
            Section::Package { id, entry } => self.package = Some(self.document.package(id, entry)?),
            Section::File { id, path, digests } => self.document.file(id, path, digests, self.package)?,
            Section::Document | Section::Other => {}
        }
        Ok(())
    }

    fn relationship(&mut self, value: &'a str, index: usize) -> Result<(), SbomError> {
        let mut words = value.split_ascii_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(left), Some(kind), Some(right)) => {
                self.document.relationship(Cow::Borrowed(left), kind, Cow::Borrowed(right))
            }
            _ => Err(malformed(index, "expected `Relationship: ID KIND ID`")),
        }
    }
}

/// `SHA256: c0ffee...`
fn checksum(digests: &mut Digests, value: &str, index: usize) -> Result<(), SbomError> {
    let Some((algorithm, digits)) = value.split_once(':') else {
        return Err(malformed(index, "expected `FileChecksum: ALGORITHM: digits`"));
    };
    digests
        .add(algorithm.trim(), digits.trim())
        .map_err(|source| SbomError::Digest { path: format!("line {}", index + 1), source })
}
