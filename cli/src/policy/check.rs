//! `plimsoll policy check`.

use std::{
    fmt::Display,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use plimsoll_policy::{Diagnostic, Limits, Policy, duplicate_names, parse_all};
use serde::Serialize;

use crate::output::printable;

/// Directories inside each other that are looked into.
pub(super) const MAX_DEPTH: usize = 16;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Policy documents, or directories: their *.yaml and *.yml files, and those of the directories in them. Names that
    /// start with a dot are passed over there, and a `cases.yaml` beside a `policy.yaml`.
    #[arg(required = true, value_name = "FILE")]
    paths: Vec<PathBuf>,
    /// Print one JSON object instead of lines for people.
    #[arg(long)]
    json: bool,
}

/// What was found in all the files.
#[derive(Default, Serialize)]
struct Findings {
    policies: Vec<Summary>,
    problems: Vec<Diagnostic>,
    /// Problems beyond those listed.
    omitted: usize,
    unreadable: Vec<Unreadable>,
}

/// A policy that is right.
#[derive(Serialize)]
struct Summary {
    name: String,
    mode: String,
    evidence: String,
    generation: String,
    file: String,
    line: usize,
}

/// A path that gave no document.
#[derive(Serialize)]
struct Unreadable {
    file: String,
    error: String,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let findings = check(&arguments.paths, &Limits::default());
    let mut output = io::stdout().lock();
    if arguments.json {
        serde_json::to_writer_pretty(&mut output, &findings)?;
        writeln!(output)?;
    } else {
        findings.print(&mut output, &mut io::stderr().lock())?;
    }
    Ok(ExitCode::from(findings.code()))
}

/// Policies that other commands work with.
pub(crate) enum Loaded {
    Policies(Vec<Policy>),
    /// Something is wrong, and was told; the exit status.
    Refused(ExitCode),
}

/// Reads policies for another command, as [`check`] does: all of them or none.
pub(crate) fn load(paths: &[PathBuf]) -> io::Result<Loaded> {
    let (findings, policies) = check_all(paths, &Limits::default());
    if findings.code() == 0 {
        return Ok(Loaded::Policies(policies));
    }
    findings.print(&mut io::sink(), &mut io::stderr().lock())?;
    Ok(Loaded::Refused(ExitCode::from(findings.code())))
}

fn check(paths: &[PathBuf], limits: &Limits) -> Findings {
    check_all(paths, limits).0
}

/// The documents that paths name, sorted, and what could not be looked into.
pub(super) fn documents(paths: &[PathBuf]) -> (Vec<PathBuf>, Vec<String>) {
    let mut findings = Findings::default();
    let files = findings.find(paths);
    let told = findings.unreadable.iter().map(|Unreadable { file, error }| format!("{file}: error: {error}"));
    (files, told.collect())
}

fn check_all(paths: &[PathBuf], limits: &Limits) -> (Findings, Vec<Policy>) {
    let mut findings = Findings::default();
    let files = findings.find(paths);
    let mut policies = Vec::new();
    for file in files {
        findings.attempt(&file, |findings| {
            let text = read(&file, limits.max_bytes)?;
            match parse_all(&file.to_string_lossy(), &text, limits) {
                Ok(found) => policies.extend(found),
                Err(problems) => {
                    findings.omitted = findings.omitted.saturating_add(problems.omitted());
                    findings.problems.extend_from_slice(problems.list());
                }
            }
            Ok(())
        });
    }
    findings.problems.extend(duplicate_names(&policies));
    findings.policies = policies.iter().map(Summary::of).collect();
    (findings, policies)
}

/// Reads a file, and no more of it than shows that it is too large.
pub(crate) fn read(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let bound = u64::try_from(limit).map_err(io::Error::other)?.saturating_add(1);
    let mut text = Vec::new();
    File::open(path)?.take(bound).read_to_end(&mut text)?;
    Ok(text)
}

impl Findings {
    /// The documents that `paths` name, sorted.
    fn find(&mut self, paths: &[PathBuf]) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for path in paths {
            let before = (files.len(), self.unreadable.len());
            self.attempt(path, |findings| {
                if fs::metadata(path)?.is_dir() {
                    return findings.collect(path, 0, &mut files);
                }
                files.push(path.clone());
                Ok(())
            });
            if before == (files.len(), self.unreadable.len()) {
                self.unreadable(path, &"no *.yaml or *.yml file in this directory");
            }
        }
        files.sort();
        files.dedup();
        files
    }

    /// Does something with `path`; a failure is a finding of its own.
    fn attempt(&mut self, path: &Path, work: impl FnOnce(&mut Self) -> io::Result<()>) {
        if let Err(error) = work(self) {
            self.unreadable(path, &error);
        }
    }

    fn unreadable(&mut self, path: &Path, error: &dyn Display) {
        self.unreadable.push(Unreadable { file: path.to_string_lossy().into_owned(), error: error.to_string() });
    }

    /// Adds the documents in `directory` and in the directories below it.
    fn collect(&mut self, directory: &Path, depth: usize, files: &mut Vec<PathBuf>) -> io::Result<()> {
        if depth > MAX_DEPTH {
            return Err(io::Error::other(format!("more than {MAX_DEPTH} directories inside each other")));
        }
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            // A mounted ConfigMap keeps its versions in hidden directories, and links to the files of one of them.
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            // Cases are for `plimsoll policy test`.
            if entry.file_name() == "cases.yaml" && directory.join("policy.yaml").is_file() {
                continue;
            }
            let path = entry.path();
            self.attempt(&path, |findings| {
                if entry.file_type()?.is_dir() {
                    return findings.collect(&path, depth.saturating_add(1), files);
                }
                let is_document = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
                // The kind is asked of what a link leads to; opening a FIFO would wait for its writer.
                if is_document && !fs::metadata(&path)?.is_file() {
                    return Err(io::Error::other("not a regular file"));
                }
                files.extend(is_document.then(|| path.clone()));
                Ok(())
            });
        }
        Ok(())
    }

    fn print(&self, output: &mut impl Write, errors: &mut impl Write) -> io::Result<()> {
        for Unreadable { file, error } in &self.unreadable {
            writeln!(errors, "{}: error: {error}", printable(file))?;
        }
        for problem in &self.problems {
            writeln!(errors, "{problem}")?;
        }
        if self.omitted > 0 {
            writeln!(errors, "... and {} more problems", self.omitted)?;
        }
        for Summary { name, mode, evidence, .. } in &self.policies {
            writeln!(output, "ok: {name} ({mode}, {evidence})")?;
        }
        Ok(())
    }

    /// The exit status: what could not be read was not checked, and outweighs what is wrong.
    fn code(&self) -> u8 {
        match (self.unreadable.is_empty(), self.problems.is_empty()) {
            (false, _) => 3,
            (true, false) => 1,
            (true, true) => 0,
        }
    }
}

impl Summary {
    fn of(policy: &Policy) -> Self {
        Self {
            name: policy.name.clone(),
            mode: policy.mode.to_string(),
            evidence: policy.evidence.to_string(),
            generation: policy.generation.to_string(),
            file: policy.place.file.clone(),
            line: policy.place.line,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "apiVersion: plimsoll.dev/v1alpha1\nkind: EnforcementPolicy\nmetadata: {name: NAME}\n\
                        spec: {selector: {namespace: shop}, mode: Enforce}\n";

    /// Writes the files, checks `paths` below their directory, and returns the status with both outputs; the
    /// directory's own name is left out of them.
    fn checked(files: &[(&str, &str)], paths: &[&str]) -> (u8, String) {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let paths: Vec<_> = paths.iter().map(|path| directory.path().join(path)).collect();
        let findings = check(&paths, &Limits::default());
        let mut printed = Vec::new();
        findings.print(&mut printed, &mut io::sink()).unwrap();
        let mut errors = Vec::new();
        findings.print(&mut io::sink(), &mut errors).unwrap();
        printed.extend(errors);
        let root = format!("{}/", directory.path().display());
        (findings.code(), String::from_utf8(printed).unwrap().replace(&root, ""))
    }

    #[test]
    fn a_directory_is_checked_with_everything_below_it() {
        let (one, two) = (GOOD.replace("NAME", "one"), GOOD.replace("NAME", "two"));
        let three = format!("{}---\n{}", GOOD.replace("NAME", "three"), GOOD.replace("NAME", "four"));
        let files = [
            ("b.yaml", two.as_str()),
            ("a/one.yml", one.as_str()),
            ("c/three.yaml", three.as_str()),
            ("notes.txt", "not a policy"),
            (".hidden/x.yaml", "not a policy"),
        ];
        let (code, shown) = checked(&files, &["", "b.yaml"]);
        assert_eq!(code, 0);
        let ok = ["one", "two", "three", "four"].map(|name| format!("ok: {name} (Enforce, package-digest)\n"));
        assert_eq!(shown, ok.concat());
    }

    #[test]
    fn a_wrong_document_is_told_next_to_the_right_ones() {
        let good = GOOD.replace("NAME", "good");
        let bad = GOOD.replace("NAME", "bad").replace("Enforce}", "enforce}");
        let (code, shown) = checked(&[("bad.yaml", &bad), ("good.yaml", &good)], &["bad.yaml", "good.yaml"]);
        assert_eq!(code, 1);
        assert!(shown.starts_with("ok: good (Enforce, package-digest)\nbad.yaml:4:43: error: "), "{shown}");
        assert!(shown.ends_with("help: did you mean `Enforce`?\n"), "{shown}");
    }

    #[test]
    fn one_name_in_two_files_is_wrong() {
        let good = GOOD.replace("NAME", "good");
        let (code, shown) = checked(&[("a.yaml", &good), ("b.yaml", &good)], &[""]);
        assert_eq!(code, 1);
        assert!(shown.contains("b.yaml:3:18: error: a second policy named `good`"), "{shown}");
        assert!(shown.contains("help: the first is at "), "{shown}");
    }

    #[test]
    fn what_cannot_be_read_outweighs_what_is_wrong() {
        let (code, shown) = checked(&[("bad.yaml", "kind: X")], &["bad.yaml", "absent.yaml"]);
        assert_eq!(code, 3);
        assert!(shown.starts_with("absent.yaml: error: No such file or directory"), "{shown}");
        assert!(shown.contains("bad.yaml:1:7: error: `kind` cannot be `X`"), "{shown}");
    }

    #[test]
    fn a_directory_without_documents_is_not_all_well() {
        let (code, shown) = checked(&[("empty/notes.txt", "")], &["empty"]);
        assert_eq!(code, 3);
        assert_eq!(shown, "empty: error: no *.yaml or *.yml file in this directory\n");
    }

    #[test]
    fn what_is_no_file_is_never_opened() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket.yaml");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        std::os::unix::fs::symlink(directory.path(), directory.path().join("loop")).unwrap();
        let findings = check(&[directory.path().to_owned()], &Limits::default());
        assert_eq!(findings.code(), 3);
        assert_eq!(findings.unreadable.len(), 1);
        assert_eq!(findings.unreadable[0].error, "not a regular file");
    }

    #[test]
    fn a_file_without_end_is_read_up_to_the_limit() {
        let findings = check(&[PathBuf::from("/dev/zero")], &Limits::default());
        assert_eq!(findings.code(), 1);
        assert_eq!(findings.problems[0].message, "the document is larger than the limit of 1048576 bytes");
    }

    #[test]
    fn json_has_everything() {
        let findings = check(&[PathBuf::from("/nonexistent.yaml")], &Limits::default());
        let json = serde_json::to_value(&findings).unwrap();
        assert_eq!(json["unreadable"][0]["file"], "/nonexistent.yaml");
        assert_eq!(json["policies"], serde_json::json!([]));
        assert_eq!(json["problems"], serde_json::json!([]));
        assert_eq!(json["omitted"], 0);
    }
}
