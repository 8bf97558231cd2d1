//! A policy as text, with the reasons for what it says beside it.

use std::{collections::BTreeMap, fmt};

use plimsoll_policy::{AnonymousExec, Mode};
use plimsoll_sbom::{EvidenceClass, Sha256};

use plimsoll_policy::scalar;

/// Characters of a line of comments.
const WIDTH: usize = 118;

/// A policy that is yet to be written. What is left out is not written, and has its default.
pub(super) struct Draft {
    /// Comments before it.
    pub(super) about: Vec<String>,
    pub(super) name: String,
    pub(super) selector: Selector,
    pub(super) mode: Noted<Mode>,
    pub(super) evidence: Option<Noted<EvidenceClass>>,
    pub(super) anonymous_exec: Option<Noted<AnonymousExec>>,
    pub(super) allow: Vec<Addition>,
    pub(super) files: Vec<FileRule>,
    pub(super) network: Option<Network>,
    /// Those that may be used; `None` is all.
    pub(super) capabilities: Option<Vec<String>>,
    /// Comments at its end.
    pub(super) after: Vec<String>,
}

/// A value with comments above it.
pub(super) struct Noted<T> {
    pub(super) value: T,
    pub(super) notes: Vec<String>,
}

impl<T> From<T> for Noted<T> {
    fn from(value: T) -> Self {
        Self { value, notes: Vec::new() }
    }
}

#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Selector {
    pub(super) digest: Option<String>,
    pub(super) reference: Option<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) namespace: Option<String>,
}

pub(super) struct Addition {
    pub(super) path: String,
    pub(super) sha256: Option<Sha256>,
    pub(super) reason: String,
}

pub(super) struct FileRule {
    pub(super) path: String,
    pub(super) deny: Vec<&'static str>,
}

/// Rules that allow, by the field they stand in, each in brackets.
#[derive(Default)]
pub(super) struct Network {
    pub(super) egress: Vec<String>,
    pub(super) bind: Vec<String>,
    pub(super) ingress: Vec<String>,
    pub(super) sockets: Vec<String>,
}

impl fmt::Display for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        comments(f, "", &self.about)?;
        writeln!(f, "apiVersion: plimsoll.dev/v1alpha1\nkind: EnforcementPolicy\nmetadata:")?;
        writeln!(f, "  name: {}\nspec:\n{}", scalar(&self.name), self.selector)?;
        field(f, "mode", Some(&self.mode), Mode::to_string)?;
        field(f, "evidence", self.evidence.as_ref(), EvidenceClass::to_string)?;
        field(f, "anonymousExec", self.anonymous_exec.as_ref(), |value| format!("{value:?}"))?;
        if !self.allow.is_empty() {
            writeln!(f, "  allow:")?;
        }
        for Addition { path, sha256, reason } in &self.allow {
            writeln!(f, "    - path: {}", scalar(path))?;
            if let Some(sha256) = sha256 {
                writeln!(f, "      sha256: \"{sha256}\"")?;
            }
            writeln!(f, "      reason: {}", scalar(reason))?;
        }
        if !self.files.is_empty() {
            writeln!(f, "  files:")?;
        }
        for FileRule { path, deny } in &self.files {
            writeln!(f, "    - path: {}\n      deny: [{}]", scalar(path), deny.join(", "))?;
        }
        if let Some(network) = &self.network {
            write!(f, "{network}")?;
        }
        if let Some(capabilities) = &self.capabilities {
            writeln!(f, "  hardening:\n    capabilities: [{}]", capabilities.join(", "))?;
        }
        comments(f, "", &self.after)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = [("egress", &self.egress), ("bind", &self.bind), ("ingress", &self.ingress)];
        if lists.iter().all(|(_, rules)| rules.is_empty()) && self.sockets.is_empty() {
            return writeln!(f, "  network: {{}}");
        }
        writeln!(f, "  network:")?;
        for (name, rules) in lists.into_iter().filter(|(_, rules)| !rules.is_empty()) {
            writeln!(f, "    {name}:")?;
            for rule in rules {
                writeln!(f, "      - {rule}")?;
            }
        }
        if self.sockets.is_empty() { Ok(()) } else { writeln!(f, "    sockets: [{}]", self.sockets.join(", ")) }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("  selector:")?;
        if self.digest.is_some() || self.reference.is_some() {
            f.write_str("\n    image:")?;
        }
        for (name, value) in [("digest", &self.digest), ("reference", &self.reference)] {
            if let Some(value) = value {
                write!(f, "\n      {name}: {}", scalar(value))?;
            }
        }
        if !self.labels.is_empty() {
            f.write_str("\n    labels:")?;
        }
        for (name, value) in &self.labels {
            write!(f, "\n      {}: {}", scalar(name), scalar(value))?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, "\n    namespace: {}", scalar(namespace)),
            None => Ok(()),
        }
    }
}

fn field<T>(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    value: Option<&Noted<T>>,
    written: impl Fn(&T) -> String,
) -> fmt::Result {
    let Some(Noted { value, notes }) = value else { return Ok(()) };
    comments(f, "  ", notes)?;
    writeln!(f, "  {name}: {}", scalar(&written(value)))
}

/// Lines of a comment, folded at spaces.
fn comments(f: &mut fmt::Formatter<'_>, indent: &str, notes: &[String]) -> fmt::Result {
    for note in notes {
        let inset: String = note.chars().take_while(|c| *c == ' ').collect();
        let mut line = inset.clone();
        for word in note.trim_start().split(' ') {
            let is_empty = line.trim().is_empty();
            if !is_empty && line.chars().count() + word.chars().count() >= WIDTH {
                writeln!(f, "{indent}# {line}")?;
                line = format!("{inset}  ");
            } else if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
        }
        writeln!(f, "{}", format!("{indent}# {line}").trim_end())?;
    }
    Ok(())
}
