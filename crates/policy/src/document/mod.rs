//! From a document's bytes to policies, or to everything that is wrong with them.

#[cfg(feature = "schema")]
mod crd;
mod fields;
mod files;
mod format;
mod hardening;
#[cfg(feature = "schema")]
mod json_schema;
mod load;
mod network;
mod report;
mod scalar;
mod schema;
mod shape;
mod source;
#[cfg(feature = "schema")]
mod status;
mod tree;
mod trust;
mod value;

#[cfg(feature = "schema")]
pub use self::{crd::crds, json_schema::json_schema};
pub use self::{
    format::{FormatError, format},
    scalar::scalar,
};
use plimsoll_abi::MAX_FILE_RULES;
use plimsoll_sbom::Sha256;

use self::{
    load::{Document, load},
    report::{Report, Reported},
    source::{Source, Span},
};
use crate::{diagnostic::Diagnostics, policy::Policy};

/// How much a document may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Size of the document in bytes.
    pub max_bytes: usize,
    /// Lists and mappings inside each other.
    pub max_depth: usize,
    /// Entries of one policy's `allow`.
    pub max_additions: usize,
    /// Entries of each of one policy's lists of network rules.
    pub max_network_rules: usize,
    /// Entries of one policy's `files`.
    pub max_files: usize,
    /// Problems reported; the others are only counted.
    pub max_diagnostics: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 1 << 20,
            max_depth: 32,
            max_additions: 10_000,
            max_network_rules: 500,
            max_files: MAX_FILE_RULES,
            max_diagnostics: 100,
        }
    }
}

/// Reads the one policy of a document.
///
/// `source_name` is what diagnostics call the document, `text` its bytes. All problems are found at once; a document
/// with more than one policy, or none, is one of them.
pub fn parse(source_name: &str, text: &[u8], limits: &Limits) -> Result<Policy, Diagnostics> {
    read(source_name, text, limits, |policies, report| {
        let mut policies = policies.into_iter();
        match (policies.next(), policies.next()) {
            (Some(only), None) => Ok(only),
            (_, Some(second)) => {
                let span = Span { line: second.place.line, column: second.place.column, width: 0 };
                Err(report.error(span, "a second policy, where one is expected", "put it into a file of its own"))
            }
            (None, None) => Err(no_policy(report)),
        }
    })
}

/// Reads the policies of a document, separated by `---` lines: at least one, and all of them or none.
pub fn parse_all(source_name: &str, text: &[u8], limits: &Limits) -> Result<Vec<Policy>, Diagnostics> {
    read(
        source_name,
        text,
        limits,
        |policies, report| {
            if policies.is_empty() { Err(no_policy(report)) } else { Ok(policies) }
        },
    )
}

fn read<T>(
    source_name: &str,
    text: &[u8],
    limits: &Limits,
    pick: impl FnOnce(Vec<Policy>, &mut Report<'_>) -> Result<T, Reported>,
) -> Result<T, Diagnostics> {
    let source = Source::decode(source_name, text, limits.max_bytes)?;
    let mut report = Report::new(&source, limits.max_diagnostics);
    let outcome = refuse_hidden_text(&source, &mut report)
        .and_then(|()| policies(&mut report, limits))
        .and_then(|policies| pick(policies, &mut report));
    report.finish(outcome)
}

/// Stops before YAML sees the text: a NUL, for one, would end the document for the parser and not for a reader.
fn refuse_hidden_text(source: &Source<'_>, report: &mut Report<'_>) -> Result<(), Reported> {
    let mut outcome = Ok(());
    for (character, span) in source.unwelcome_characters() {
        let message = format!("the invisible character U+{:04X}", u32::from(character));
        outcome = Err(report.error(span, message, "remove it; a policy holds printable text, spaces and line ends"));
    }
    outcome
}

fn policies(report: &mut Report<'_>, limits: &Limits) -> Result<Vec<Policy>, Reported> {
    let documents = load(report, limits);
    // The first document's text starts with the file, so that the digest of a file with one policy is the file's.
    let ends = documents.iter().skip(1).map(|next| Some(next.first_line)).chain([None]);
    let starts = [1].into_iter().chain(documents.iter().skip(1).map(|document| document.first_line));
    let texts: Vec<_> = starts.zip(ends).map(|(start, end)| report.source().slice(start, end)).collect();

    let mut outcomes = Vec::new();
    for (Document { root, .. }, text) in documents.into_iter().zip(texts) {
        match root {
            Ok(root) if root.is_empty() => {}
            Ok(root) => outcomes.push(schema::policy(&root, Sha256::of(text.as_bytes()), limits, report)),
            Err(reported) => outcomes.push(Err(reported)),
        }
    }
    outcomes.into_iter().collect()
}

fn no_policy(report: &mut Report<'_>) -> Reported {
    let start = Span { line: 1, column: 1, width: 0 };
    report.error(start, "no policy in this document", "start from `policies/observe/policy.yaml`")
}
