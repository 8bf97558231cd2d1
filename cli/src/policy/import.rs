//! `plimsoll policy import`: policies of other tools, and everything of them that has no counterpart here.

mod document;
mod falco;
mod fapolicyd;
mod kubearmor;
mod runtime_enforcer;
mod tetragon;

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, ensure};
use plimsoll_policy::{Limits, Mode, parse_all};
use plimsoll_sbom::EvidenceClass;
use serde::Serialize;

use self::document::{Node, Value};
use super::{
    check,
    draft::{Addition, Draft, Noted, Selector},
};
use crate::output::{print, printable, replace};

/// Bytes of one file.
const MAX_BYTES: usize = 4 << 20;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The tool that the files are for.
    #[arg(long, value_name = "TOOL")]
    from: Tool,
    /// Its policies, rules or lists.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The namespace that the policies are for, where the files do not say.
    #[arg(long)]
    namespace: Option<String>,
    /// The policy's name, where the files do not say [default: the tool's]
    #[arg(long)]
    name: Option<String>,
    /// Of Falco: a list or macro that names what may run; may be given several times.
    #[arg(long, value_name = "NAME")]
    list: Vec<String>,
    /// Write the policies here instead of printing them.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print one JSON object with the policies and all that was left out.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  plimsoll policy import --from kubearmor cart.yaml -o policy.yaml
  plimsoll policy import --from falco falco_rules.yaml --list user_known_programs --namespace shop
  plimsoll policy import --from fapolicyd /etc/fapolicyd/fapolicyd.trust /etc/fapolicyd/rules.d/*.rules --namespace shop";

#[derive(Clone, Copy, clap::ValueEnum)]
enum Tool {
    /// KubeArmorPolicy, KubeArmorClusterPolicy
    Kubearmor,
    /// TracingPolicy, TracingPolicyNamespaced: what kills or overrides
    Tetragon,
    /// Lists and macros of programs
    Falco,
    /// Kubewarden's WorkloadPolicy
    RuntimeEnforcer,
    /// Rules, and files of trust (named *.trust, or below trust.d)
    Fapolicyd,
}

/// What became of the files.
#[derive(Serialize)]
struct Report {
    policies: String,
    left_out: Vec<LeftOut>,
}

/// Something that no policy says now.
#[derive(Debug, Serialize)]
struct LeftOut {
    file: String,
    line: usize,
    what: String,
    why: String,
}

/// What is being made of one file.
struct Import<'a> {
    arguments: &'a Arguments,
    file: String,
    policies: Vec<Draft>,
    left_out: Vec<LeftOut>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut report = Report { policies: String::new(), left_out: Vec::new() };
    let mut drafts: Vec<Draft> = Vec::new();
    for file in &arguments.files {
        let text = check::read(file, MAX_BYTES).with_context(|| format!("cannot read `{}`", file.display()))?;
        ensure!(text.len() <= MAX_BYTES, "`{}` is larger than the limit of {MAX_BYTES} bytes", file.display());
        let text = String::from_utf8(text).with_context(|| format!("`{}` is not UTF-8", file.display()))?;
        let name = file.to_string_lossy().into_owned();
        let mut import = Import { arguments, file: name, policies: Vec::new(), left_out: Vec::new() };
        match arguments.from {
            Tool::Kubearmor => import.each(&text, kubearmor::policy)?,
            Tool::Tetragon => import.each(&text, tetragon::policy)?,
            Tool::RuntimeEnforcer => import.each(&text, runtime_enforcer::policy)?,
            Tool::Falco => import.each(&text, falco::rules)?,
            Tool::Fapolicyd => fapolicyd::file(&mut import, &text)?,
        }
        report.left_out.extend(import.left_out);
        merge(&mut drafts, import.policies);
    }
    for draft in &mut drafts {
        draft.evidence = Some(evidence(draft));
    }
    let texts: Vec<String> = drafts.iter().map(ToString::to_string).collect();
    report.policies = texts.join("---\n");
    if !drafts.is_empty() {
        parse_all("imported", report.policies.as_bytes(), &Limits::default()).context("what was made is no policy")?;
    }
    write(arguments, &report)?;
    let well = report.left_out.is_empty() && !drafts.is_empty();
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Files of one rule set become one policy; policies with names of their own stay apart.
fn merge(drafts: &mut Vec<Draft>, more: Vec<Draft>) {
    for draft in more {
        match drafts.iter_mut().find(|known| known.name == draft.name && known.selector == draft.selector) {
            Some(known) => {
                known.about.extend(draft.about.into_iter().filter(|line| line.starts_with("Imported")));
                for addition in draft.allow {
                    add(&mut known.allow, addition);
                }
                known.files.extend(draft.files);
            }
            None => drafts.push(draft),
        }
    }
}

fn write(arguments: &Arguments, report: &Report) -> anyhow::Result<()> {
    match &arguments.output {
        Some(path) if !report.policies.is_empty() => replace(path, report.policies.as_bytes())?,
        Some(_) => eprintln!("plimsoll: nothing is written: the files say nothing that a policy can"),
        None => {}
    }
    if arguments.json {
        return print(&(serde_json::to_string_pretty(report)? + "\n"));
    }
    if arguments.output.is_none() {
        print(&report.policies)?;
    }
    let mut text = String::new();
    for LeftOut { file, line, what, why } in &report.left_out {
        writeln!(text, "{}:{line}: left out: {}: {}", printable(file), printable(what), printable(why))?;
    }
    eprint!("{text}");
    Ok(())
}

impl Import<'_> {
    fn each(&mut self, text: &str, convert: fn(&mut Self, Node) -> anyhow::Result<()>) -> anyhow::Result<()> {
        for document in document::read(&self.file, text)? {
            convert(self, document)?;
        }
        Ok(())
    }

    fn leave(&mut self, line: usize, what: &str, why: &str) {
        let what: String = what.chars().take(200).collect();
        self.left_out.push(LeftOut { file: self.file.clone(), line, what, why: why.to_owned() });
    }

    /// Leaves a value out.
    fn leave_node(&mut self, node: &Node, why: &str) {
        let what = match node.as_text() {
            Some(text) => format!("{}: {text}", node.path),
            None => node.path.clone(),
        };
        self.leave(node.line, &what, why);
    }

    /// Leaves out what nobody took.
    fn leave_rest(&mut self, node: Node) {
        for left in node.rest() {
            self.leave_node(&left, "it has no counterpart in a policy, or is not a field that is known");
        }
    }

    /// A policy that says nothing yet. One for everything that is imported names the tool.
    fn draft(&self, name: Option<&str>, mut selector: Selector, mode: Mode) -> anyhow::Result<Draft> {
        selector.namespace = selector.namespace.or_else(|| self.arguments.namespace.clone());
        ensure!(
            selector != Selector::default() || name.is_some(),
            "the files do not say which workloads they are for; say it with --namespace"
        );
        if selector == Selector::default() {
            selector.reference = Some("*".to_owned());
        }
        let tool = clap::ValueEnum::to_possible_value(&self.arguments.from);
        let tool = tool.map(|tool| tool.get_name().to_owned()).unwrap_or_default();
        let name = name.or(self.arguments.name.as_deref()).unwrap_or(&tool);
        let file = Path::new(&self.file).file_name().unwrap_or_default().to_string_lossy();
        Ok(Draft {
            about: vec![format!("Imported from {tool}: {}", printable(&file))],
            name: name.to_lowercase(),
            selector,
            mode: mode.into(),
            evidence: None,
            anonymous_exec: None,
            allow: Vec::new(),
            files: Vec::new(),
            network: None,
            capabilities: None,
            after: Vec::new(),
        })
    }
}

/// A policy that names programs lets as little else run as can be said; another one leaves the image alone.
fn evidence(draft: &Draft) -> Noted<EvidenceClass> {
    let (value, note) = if draft.allow.is_empty() {
        (EvidenceClass::LayerOnly, "The original says nothing of what may run: what came with the image may.")
    } else {
        (EvidenceClass::SbomDigest, "Beside `allow`, files that the SBOM lists with their digests may run.")
    };
    Noted { value, notes: vec![note.to_owned()] }
}

/// Allows a file once.
fn add(allow: &mut Vec<Addition>, addition: Addition) {
    if !allow.iter().any(|known| known.path == addition.path && known.sha256 == addition.sha256) {
        allow.push(addition);
    }
}

/// Takes labels with their values into a selector.
fn labels(selector: &mut Selector, found: Option<Node>) {
    let Some(Value::Fields(fields)) = found.map(|node| node.value) else { return };
    let text = |(name, node): (String, Node)| Some((name, node.as_text()?.to_owned()));
    selector.labels.extend(fields.into_iter().filter_map(text));
}

/// A path as `allow` and `files` take it, or why they do not.
fn path(text: &str) -> Result<String, &'static str> {
    if !text.starts_with('/') {
        return Err("a policy names files by their path from the root");
    }
    if text.contains(['*', '?', '[']) {
        return Err("patterns have no counterpart; name a file, or a directory with all below it");
    }
    let trimmed = text.trim_end_matches('/');
    if trimmed.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
        return Err("the path has an empty, `.` or `..` part");
    }
    let hides = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if trimmed.is_empty() || trimmed.len() > 4096 || trimmed.contains(hides) {
        return Err("a policy cannot name such a path");
    }
    Ok(trimmed.to_owned())
}
