//! `plimsoll policy test`: the cases beside a policy, put to the reference evaluator.

mod document;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail, ensure};
use plimsoll_abi::Verdict;
use plimsoll_policy::{Image, Limits, Policy, compile, judge, parse};
use serde::Serialize;

use self::document::{Case, Document};
use super::check::{self, MAX_DEPTH};
use crate::output::{print, printable};

/// Bytes of a file of cases.
const MAX_BYTES: usize = 1 << 20;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Folders with a `policy.yaml` and its `cases.yaml`, or directories of such folders.
    #[arg(required = true, value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// Print one JSON object instead of lines for people.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Outcome {
    file: String,
    policy: String,
    case: String,
    passed: bool,
    /// What was answered, and what was expected if that is another answer.
    detail: String,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut folders = Vec::new();
    for directory in &arguments.directories {
        let before = folders.len();
        collect(directory, 0, &mut folders)?;
        ensure!(folders.len() > before, "`{}` has no `cases.yaml` beside a `policy.yaml`", directory.display());
    }
    folders.sort();
    folders.dedup();
    let mut outcomes = Vec::new();
    for folder in &folders {
        outcomes.extend(folder_outcomes(folder)?);
    }
    let failed = outcomes.iter().filter(|outcome| !outcome.passed).count();
    let text =
        if arguments.json { serde_json::to_string_pretty(&outcomes)? + "\n" } else { text(&outcomes, folders.len())? };
    print(&text)?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn collect(directory: &Path, depth: usize, folders: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    ensure!(depth <= MAX_DEPTH, "`{}`: more than {MAX_DEPTH} directories inside each other", directory.display());
    let unreadable = || format!("cannot read `{}`", directory.display());
    for entry in fs::read_dir(directory).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        if entry.file_type().with_context(unreadable)?.is_dir() {
            collect(&entry.path(), depth.saturating_add(1), folders)?;
        } else if entry.file_name() == "cases.yaml" {
            folders.push(directory.to_owned());
        }
    }
    Ok(())
}

fn folder_outcomes(folder: &Path) -> anyhow::Result<Vec<Outcome>> {
    let (policy_file, cases_file) = (folder.join("policy.yaml"), folder.join("cases.yaml"));
    let text = read(&policy_file)?;
    let policy = parse(&policy_file.to_string_lossy(), &text, &Limits::default())?;
    let text =
        String::from_utf8(read(&cases_file)?).with_context(|| format!("`{}` is not UTF-8", cases_file.display()))?;
    of_text(&policy, &text, &cases_file)
}

/// What does not hold of the cases in `text`; `file` is what messages call it.
pub(super) fn failures(policy: &Policy, text: &str, file: &Path) -> anyhow::Result<Vec<String>> {
    let outcomes = of_text(policy, text, file)?;
    let failed = outcomes.into_iter().filter(|outcome| !outcome.passed);
    Ok(failed.map(|outcome| format!("{}: {}", outcome.case, outcome.detail)).collect())
}

fn of_text(policy: &Policy, text: &str, cases_file: &Path) -> anyhow::Result<Vec<Outcome>> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {}", cases_file.display(), error.to_string().trim_end());
    let document: Document = match serde_yaml::from_str(text) {
        Ok(document) => document,
        Err(error) => bail!(wrong(&error)),
    };
    ensure!(!document.cases.is_empty(), wrong(&"no cases; a policy without one is not tested"));
    ensure!(
        policy.matches(&document.facts()),
        wrong(&format!("policy `{}` does not select this `image` and `workload`", policy.name))
    );
    let outcomes = outcomes(policy, &document, cases_file);
    outcomes.with_context(|| wrong(&"cannot be tested"))
}

fn outcomes(policy: &Policy, document: &Document, file: &Path) -> anyhow::Result<Vec<Outcome>> {
    let inventory = document.inventory();
    let compiled = compile(policy, &inventory)?;
    let image = Image::new(&inventory);
    let outcome = |case: &Case| -> anyhow::Result<Outcome> {
        let attempt = case.event.attempt().with_context(|| format!("case `{}`", case.name))?;
        let answer = judge(&compiled, &image, &attempt);
        let (passed, detail) = match answer {
            Ok(answer) => {
                let as_told = case.reason.as_ref().is_none_or(|reason| reason == answer.reason.name());
                let passed = answer.verdict.name() == case.verdict && as_told;
                let found = format!("{} ({}): {}", answer.verdict.name(), answer.reason.name(), answer.rule);
                (passed, if passed { found } else { format!("expected {}, found {found}", case.expected()) })
            }
            Err(undecided) => (false, format!("expected {}, but {undecided}", case.expected())),
        };
        let (file, policy) = (file.to_string_lossy().into_owned(), policy.name.clone());
        Ok(Outcome { file, policy, case: case.name.clone(), passed, detail })
    };
    let verdicts = Verdict::ALL.iter().map(|verdict| verdict.name()).collect::<Vec<_>>();
    for case in &document.cases {
        let known = verdicts.contains(&case.verdict.as_str());
        ensure!(known, "case `{}`: a verdict is one of {}", case.name, verdicts.join(", "));
    }
    document.cases.iter().map(outcome).collect()
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let text = check::read(path, MAX_BYTES).with_context(|| format!("cannot read `{}`", path.display()))?;
    ensure!(text.len() <= MAX_BYTES, "`{}` is larger than the limit of {MAX_BYTES} bytes", path.display());
    Ok(text)
}

fn text(outcomes: &[Outcome], policies: usize) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    for Outcome { file, policy, case, passed, detail } in outcomes {
        if *passed {
            writeln!(text, "ok: {policy}: {}: {}", printable(case), printable(detail))?;
        } else {
            writeln!(text, "FAILED: {}: {}: {}", printable(file), printable(case), printable(detail))?;
        }
    }
    let failed = outcomes.iter().filter(|outcome| !outcome.passed).count();
    writeln!(text, "{} cases of {policies} policies, {failed} failed", outcomes.len())?;
    Ok(text)
}
