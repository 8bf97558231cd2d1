//! Compares what Plimsoll makes of a document with the oracle.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{
    generators::Document,
    oracle::{Fact, Oracle},
    roots::Root,
};
use crate::step;

/// The outcome for one document.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) root: &'static str,
    pub(super) generator: &'static str,
    pub(super) document: String,
    same_as: Option<String>,
    /// File entries with a SHA-256 in the document: those that agree with `sha256sum`, and those that do not.
    listed: Listed,
    /// Digests of the document that repeat the package database's.
    repeated: usize,
    /// Files that could run.
    files: usize,
    /// Path to evidence.
    evidence: BTreeMap<String, String>,
    pub(super) explained: Vec<String>,
    pub(super) faults: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Listed {
    right: usize,
    /// Entries with digests of this machine's files.
    outside: usize,
}

/// Asks Plimsoll about `document`, and compares every file.
pub(super) fn document(plimsoll: &Path, root: &Root, oracle: &Oracle, document: &Document) -> Result<Verdict> {
    let mut ask = Command::new(plimsoll);
    ask.args(["sbom", "allowlist", "--json", "--rootfs"]).arg(&root.path).arg("--sbom").arg(&document.path);
    let answer = ask.stdin(Stdio::null()).output().context("cannot run plimsoll")?;
    let report: Value = serde_json::from_slice(&answer.stdout)
        .with_context(|| format!("plimsoll refused {}: {}", document.name, String::from_utf8_lossy(&answer.stderr)))?;
    let mut verdict = Verdict {
        root: root.name,
        generator: document.generator,
        document: document.name.clone(),
        same_as: document.same_as.clone(),
        listed: Listed::default(),
        repeated: 0,
        files: 0,
        evidence: BTreeMap::new(),
        explained: Vec::new(),
        faults: Vec::new(),
    };
    let text = super::text(&document.path)?;
    verdict.compare_list(&text, root, oracle);
    let words = Words { document: words(&text), database: words(&root.database) };
    let files = report.get("files").and_then(Value::as_array).context("the report has no files")?;
    verdict.files = files.len();
    if files.len() != oracle.could_run() {
        verdict.faults.push(format!("{} files could run, but {} were found", oracle.could_run(), files.len()));
    }
    for file in files {
        verdict.compare(file, &words, oracle)?;
    }
    if verdict.repeated > 0 {
        let count = verdict.repeated;
        verdict.explained.push(format!("{count} digests are repeated from the package database, where they are read"));
    }
    println!("{:>10}  {}  {}", "judged", document.name, verdict.counts());
    Ok(verdict)
}

impl Verdict {
    /// Every file entry of the document against `sha256sum`, by a reading of the document that knows no better.
    fn compare_list(&mut self, text: &str, root: &Root, oracle: &Oracle) {
        for (path, sha256) in listed(text) {
            let path = format!("/{}", path.strip_prefix("./").unwrap_or(&path).trim_start_matches('/'));
            let found =
                oracle.files.get(&path).map(|fact| fact.sha256.clone()).or_else(|| through_links(root, &path, oracle));
            match found {
                Some(found) if found == sha256 => self.listed.right += 1,
                _ if is_of_this_machine(root, &path, &sha256) => self.listed.outside += 1,
                _ => self.faults.push(format!("{path} is listed with {sha256}, which no file there has")),
            }
        }
        if self.listed.outside > 0 {
            let count = self.listed.outside;
            self.explained.push(format!("{count} entries: links that the generator followed out of the image"));
        }
    }

    fn compare(&mut self, file: &Value, words: &Words<'_>, oracle: &Oracle) -> Result<()> {
        let path = text_at(file, "/path").context("a file without a path")?;
        let evidence = text_at(file, "/evidence").unwrap_or("mismatch");
        self.evidence.insert(path.to_owned(), evidence.to_owned());
        let Some(fact) = oracle.files.get(path) else {
            self.faults.push(format!("{path} is not there"));
            return Ok(());
        };
        if text_at(file, "/sha256") != Some(&format!("sha256:{}", fact.sha256)) {
            self.faults.push(format!(
                "{path}: {} but sha256sum says {}",
                text_at(file, "/sha256").unwrap_or_default(),
                fact.sha256
            ));
        }
        let expected = text_at(file, "/gap/expected");
        match evidence {
            "sbom-digest" if !words.document.contains(&*fact.sha256) => {
                self.faults.push(format!("{path}: the document has no such digest"));
            }
            "package-digest" if !weakly_known(fact, words) => {
                self.faults.push(format!("{path}: neither document nor database has its digest"));
            }
            "mismatch" => self.contradiction(path, expected.unwrap_or_default(), words),
            // An early syft repeats what the package database claims, and that is read from the database itself.
            "package-digest" if words.document.contains(&*fact.sha256) && words.database.contains(&*fact.sha256) => {
                self.repeated += 1;
            }
            _ if evidence != "sbom-digest" && words.document.contains(&*fact.sha256) => {
                self.elsewhere(path, fact, oracle);
            }
            _ => {}
        }
        Ok(())
    }

    /// The digest occurs in the document, and is no evidence for the file: it must be another file's as well.
    fn elsewhere(&mut self, path: &str, fact: &Fact, oracle: &Oracle) {
        let twin = oracle.files.iter().find(|(other, there)| *other != path && there.sha256 == fact.sha256);
        match twin {
            Some((other, _)) => {
                self.explained.push(format!("{path} is listed nowhere, but has the content of {other}"));
            }
            None => self.faults.push(format!("{path}: the document has its digest, which was not used")),
        }
    }

    /// A contradiction must be real, and its cause known.
    fn contradiction(&mut self, path: &str, expected: &str, words: &Words<'_>) {
        let digits = expected.rsplit(':').next().unwrap_or_default();
        if !words.knows(digits) {
            self.faults.push(format!("{path}: {expected} is declared nowhere"));
            return;
        }
        let program = match digits.len() {
            64 => "sha256sum",
            40 => "sha1sum",
            _ => "md5sum",
        };
        // cdxgen follows absolute links out of the image.
        let host = step::output(Command::new(program).arg(path)).unwrap_or_default();
        if host.starts_with(digits) {
            self.explained.push(format!("{path}: the generator hashed this machine's file, outside of the image"));
        } else {
            self.faults.push(format!("{path}: contradicts {expected}, and nothing explains it"));
        }
    }

    fn count(&self, evidence: &str) -> usize {
        self.evidence.values().filter(|found| *found == evidence).count()
    }

    fn counts(&self) -> String {
        let classes = ["sbom-digest", "package-digest", "package-path", "layer-only", "mismatch"];
        classes.map(|class| format!("{} {class}", self.count(class))).join(", ")
    }
}

/// Every run of characters that digests are written with.
struct Words<'t> {
    document: HashSet<&'t str>,
    database: HashSet<&'t str>,
}

impl Words<'_> {
    fn knows(&self, digest: &str) -> bool {
        self.document.contains(digest) || self.database.contains(digest)
    }
}

/// Hex, and both alphabets of base64.
fn words(text: &str) -> HashSet<&str> {
    let part_of_digest = |character: char| character.is_ascii_alphanumeric() || "+/=_-".contains(character);
    text.split(|character| !part_of_digest(character)).filter(|word| word.len() >= 30).collect()
}

/// Path and SHA-256 of every file entry, of JSON and tag-value.
fn listed(text: &str) -> Vec<(String, String)> {
    match serde_json::from_str::<Value>(text) {
        Ok(document) => listed_json(&document),
        Err(_) => listed_lines(text),
    }
}

/// The string at a JSON pointer.
fn text_at<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer).and_then(Value::as_str)
}

fn listed_json(document: &Value) -> Vec<(String, String)> {
    let list = |field: &str| document.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    let strong = |digests: Option<&Value>, algorithm: &str, value: &str| {
        digests.and_then(Value::as_array).into_iter().flatten().find_map(|digest| {
            let name = text_at(digest, algorithm)?.replace('-', "").to_ascii_lowercase();
            (name == "sha256").then(|| text_at(digest, value).map(str::to_owned)).flatten()
        })
    };
    let spdx = list("files").into_iter().filter_map(|file| {
        let sha256 = strong(file.get("checksums"), "/algorithm", "/checksumValue");
        let path = text_at(&file, "/fileName").or(text_at(&file, "/location/path"))?.to_owned();
        Some((path, sha256.or_else(|| strong(file.get("digests"), "/algorithm", "/value"))?))
    });
    let cyclonedx = list("components").into_iter().filter(|component| text_at(component, "/type") == Some("file"));
    let cyclonedx = cyclonedx.filter_map(|file| {
        Some((text_at(&file, "/name")?.to_owned(), strong(file.get("hashes"), "/alg", "/content")?))
    });
    spdx.chain(cyclonedx).collect()
}

fn listed_lines(text: &str) -> Vec<(String, String)> {
    let (mut path, mut found) = (String::new(), Vec::new());
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("FileName: ") {
            name.clone_into(&mut path);
        } else if let Some(digits) = line.strip_prefix("FileChecksum: SHA256: ") {
            found.push((path.clone(), digits.trim().to_owned()));
        }
    }
    found
}

/// Whether a generator that followed links as this machine does would have found that digest.
fn is_of_this_machine(root: &Root, path: &str, sha256: &str) -> bool {
    let there = root.path.join(path.trim_start_matches('/'));
    let leads_out = fs::canonicalize(&there).is_ok_and(|real| !real.starts_with(&root.path));
    leads_out && step::output(Command::new("sha256sum").arg(there)).is_ok_and(|line| line.starts_with(sha256))
}

/// The digest of what a path leads to inside the image, where directories above it or itself are links.
fn through_links(root: &Root, path: &str, oracle: &Oracle) -> Option<String> {
    let mut here = path.to_owned();
    for _ in 0..8 {
        let Ok(target) = fs::read_link(root.path.join(here.trim_start_matches('/'))) else { break };
        let target = target.to_string_lossy().into_owned();
        here = if target.starts_with('/') {
            target
        } else {
            format!("{}/{target}", here.rsplit_once('/').map_or("", |(parent, _)| parent))
        };
    }
    let real = fs::canonicalize(root.path.join(here.trim_start_matches('/'))).ok()?;
    let inside = real.strip_prefix(&root.path).ok()?;
    oracle.files.get(&format!("/{}", inside.display())).map(|fact| fact.sha256.clone())
}

/// Whether the document or the database has one of the file's digests, in hex or as apk and `RECORD` write them.
fn weakly_known(fact: &Fact, words: &Words<'_>) -> bool {
    let Some(weak) = &fact.weak else { return false };
    let apk = unhex(&weak.sha1).map(|bytes| format!("Q1{}", STANDARD.encode(bytes)));
    let record = unhex(&fact.sha256).map(|bytes| STANDARD.encode(bytes).replace('+', "-").replace('/', "_"));
    let record = record.map(|text| format!("sha256={}", text.trim_end_matches('=')));
    let digests = [Some(weak.sha1.clone()), Some(weak.md5.clone()), Some(fact.sha256.clone()), apk, record];
    digests.into_iter().flatten().any(|digest| words.knows(&digest))
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()).collect()
}

/// One document as tag-value, YAML or XML gives every file the evidence that it gives as JSON.
pub(super) fn same_words_in_other_clothes(verdicts: &[Verdict]) -> Result<()> {
    let by_name: BTreeMap<&str, &Verdict> =
        verdicts.iter().map(|verdict| (verdict.document.as_str(), verdict)).collect();
    let mut compared = 0;
    for verdict in verdicts {
        let Some(other) = verdict.same_as.as_deref() else { continue };
        let other = by_name.get(other).with_context(|| format!("{other} was not judged"))?;
        let differs = verdict.evidence.iter().find(|(path, found)| other.evidence.get(*path) != Some(found));
        ensure!(
            differs.is_none(),
            "{} gives {differs:?}, unlike {}, which is the same in other clothes",
            verdict.document,
            other.document
        );
        compared += 1;
    }
    println!("{:>10}  {compared} documents with the same in JSON, file by file", "compared");
    Ok(())
}

/// The table of docs/sbom.md.
pub(super) fn table(verdicts: &[Verdict]) -> String {
    let mut table = String::from(
        "| document | listed with SHA-256: right, of files outside | could run | `sbom-digest` | `package-digest` | `package-path` | `layer-only` | `mismatch` |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for verdict in verdicts {
        let Listed { right, outside } = verdict.listed;
        let classes = ["sbom-digest", "package-digest", "package-path", "layer-only", "mismatch"];
        let classes = classes.map(|class| verdict.count(class).to_string()).join(" | ");
        let row = writeln!(table, "| {} | {right}, {outside} | {} | {classes} |", verdict.document, verdict.files);
        debug_assert!(row.is_ok(), "writing to a string cannot fail");
    }
    table
}
