//! The policies that documents show: each is checked as a reader would, and so are the cases beside it.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::{
    commands::Step,
    document::{Block, Document},
    session::Session,
};

/// What an example that shows a part of a policy leaves out.
const BEGINNING: &str = "apiVersion: plimsoll.dev/v1alpha1\nkind: EnforcementPolicy\nmetadata: {name: example}\n";
const FIELDS: [(&str, &str); 2] = [("selector", "{namespace: example}"), ("mode", "Enforce")];

/// The policy that `block` shows, completed where it is the `spec` alone.
fn policy(block: &Block) -> Option<String> {
    if !block.info.starts_with("yaml") {
        return None;
    }
    if block.text.lines().any(|line| line == "kind: EnforcementPolicy") {
        return Some(block.text.clone());
    }
    let fields = block.text.strip_prefix("spec:\n")?;
    let missing = FIELDS.iter().filter(|(name, _)| !fields.lines().any(|line| line.starts_with(&format!("  {name}:"))));
    let missing = missing.fold(String::new(), |lines, (name, value)| lines + &format!("  {name}: {value}\n"));
    Some(format!("{BEGINNING}spec:\n{missing}{fields}"))
}

/// Checks every policy that `document` shows. Answers how many there are, and what is wrong.
pub(super) fn check(session: &Session, document: &Document) -> Result<(usize, Vec<String>)> {
    let (mut count, mut problems) = (0, Vec::new());
    for block in &document.blocks {
        let Some(text) = policy(block) else { continue };
        // A part of one that is wrong on purpose is in a transcript, with what is said of it.
        let file = session.directory().join("example-of-the-document.yaml");
        fs::write(&file, text).context("cannot write an example")?;
        let command = format!("plimsoll policy check {}", file.display());
        count += 1;
        problems.extend(failed(session, document, block.line, command));
        fs::remove_file(&file)?;
    }
    Ok((count, problems))
}

/// Tests every folder of cases that `document` has had saved. Answers how many there are, and what is wrong.
pub(super) fn test(session: &Session, document: &Document) -> (usize, Vec<String>) {
    let names = document.blocks.iter().flat_map(|block| block.info.split_whitespace().map(move |word| (block, word)));
    let cases =
        names.filter_map(|(block, word)| Some((block, word.strip_prefix("file=")?.strip_suffix("cases.yaml")?)));
    let (mut count, mut problems) = (0, Vec::new());
    for (block, folder) in cases {
        let folder = Path::new(".").join(folder);
        count += 1;
        let command = format!("plimsoll policy test {}", folder.display());
        problems.extend(failed(session, document, block.line, command));
    }
    (count, problems)
}

fn failed(session: &Session, document: &Document, line: usize, command: String) -> Option<String> {
    let ran = session.run(&Step { line, command, output: None });
    ran.err().map(|error| format!("{}:{line}: {error:#}", document.path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> Block {
        Block { line: 1, info: "yaml".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_part_of_a_policy_is_completed() {
        let whole = "apiVersion: a\nkind: EnforcementPolicy\n";
        assert_eq!(policy(&block(whole)).as_deref(), Some(whole));
        let part = policy(&block("spec:\n  mode: Monitor\n  files: []\n")).unwrap();
        assert_eq!(
            part,
            format!("{BEGINNING}spec:\n  selector: {{namespace: example}}\n  mode: Monitor\n  files: []\n")
        );
        assert_eq!(policy(&block("kind: ConfigMap\n")), None);
    }
}
