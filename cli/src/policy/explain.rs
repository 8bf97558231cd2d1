//! `plimsoll policy explain`: which policy is a workload's, and the chain from an SBOM's entry to a verdict, without a node.

use std::{fmt::Write as _, path::PathBuf, process::ExitCode};

use plimsoll_abi::{Hook, Verdict};
use plimsoll_policy::{
    Attempt, CompiledPolicy, Image, Origin, Policy, Standing, WorkloadFacts, compile, judge, select, standings,
};
use plimsoll_sbom::{Gap, Inventory, InventoryFile};
use serde::Serialize;

use crate::{
    output::{print, printable},
    policy::check::{Loaded, load},
    sbom,
};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Files, by their path in the image with links resolved; without any, which policy is for the workload, and why no other.
    #[arg(value_name = "PATH", requires_all = ["rootfs", "sbom"])]
    paths: Vec<String>,
    /// Policy documents, or directories of them.
    #[arg(long, required = true, value_name = "FILE")]
    policy: Vec<PathBuf>,
    /// The image's unpacked root filesystem.
    #[arg(long, value_name = "DIR", requires = "paths")]
    rootfs: Option<PathBuf>,
    /// The image's SBOM.
    #[arg(long, value_name = "FILE", requires = "paths")]
    sbom: Option<PathBuf>,
    #[command(flatten)]
    workload: Workload,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What selects a policy.
#[derive(clap::Args)]
struct Workload {
    /// The image's reference.
    #[arg(long, value_name = "REFERENCE")]
    image: Option<String>,
    /// The image's digest.
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
    /// The workload's namespace.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// A label of the workload.
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a label is written as in `app=cart`")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[derive(Serialize)]
struct Report<'a> {
    policy: &'a str,
    authority: &'static str,
    mode: String,
    generation: String,
    place: String,
    /// Every policy: the selected one first, then those it goes before, then those that are not for the workload.
    candidates: Vec<Candidate<'a>>,
    /// Nothing without files.
    sbom_digest: Option<String>,
    files: Vec<File<'a>>,
}

/// One policy, and what became of it.
#[derive(Serialize)]
struct Candidate<'a> {
    policy: &'a str,
    authority: &'static str,
    mode: String,
    place: String,
    matches: bool,
    /// Why it is not the one; nothing for the one.
    why_not: Option<String>,
}

impl<'a> Candidate<'a> {
    fn new(policy: &'a Policy, standing: &Standing) -> Self {
        let (matches, why_not) = match standing {
            Standing::Selected => (true, None),
            Standing::PassedOver(difference) => (true, Some(difference.to_string())),
            Standing::Unmatched(unmatched) => (false, Some(unmatched.to_string())),
        };
        Self {
            policy: &policy.name,
            authority: policy.authority.name(),
            mode: policy.mode.to_string(),
            place: policy.place.to_string(),
            matches,
            why_not,
        }
    }
}

#[derive(Serialize)]
struct File<'a> {
    path: &'a str,
    /// What the image has there; nothing if there is no file that could run.
    found: Option<&'a InventoryFile>,
    /// A file of the same name elsewhere.
    similar: Option<&'a str>,
    answers: Vec<Answer>,
}

#[derive(Serialize)]
struct Answer {
    hook: &'static str,
    verdict: &'static str,
    reason: &'static str,
    rule: String,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let policies = match load(&arguments.policy)? {
        Loaded::Policies(policies) => policies,
        Loaded::Refused(code) => return Ok(code),
    };
    let facts = arguments.workload.facts();
    let candidates: Vec<_> = standings(&policies, &facts).iter().map(|(one, how)| Candidate::new(one, how)).collect();
    let Some(policy) = select(&policies, &facts) else {
        eprintln!(
            "plimsoll: no policy is for this workload, and nothing restricts it; say more about it with --image, --namespace, --label"
        );
        for Candidate { policy, authority, why_not, .. } in &candidates {
            eprintln!("  not {} ({authority}): {}", printable(policy), why_not.as_deref().unwrap_or_default());
        }
        return Ok(ExitCode::from(1));
    };
    let mut report = Report::new(policy, candidates);
    let (Some(rootfs), Some(document)) = (&arguments.rootfs, &arguments.sbom) else {
        print_report(&report, arguments.json)?;
        return Ok(ExitCode::SUCCESS);
    };
    let document = match sbom::load(document)? {
        Ok(loaded) => loaded,
        Err(error) => return Ok(sbom::refuse(document, &error)),
    };
    let image = sbom::index(rootfs)?;
    let inventory = plimsoll_sbom::inventory(&image.listing, &document, &image.databases);
    let compiled = compile(policy, &inventory)?;
    report.sbom_digest = Some(inventory.sbom_digest.to_string());
    report.files = arguments.paths.iter().map(|path| File::new(path, &compiled, &inventory)).collect();
    print_report(&report, arguments.json)?;
    let allowed =
        report.files.iter().all(|file| file.answers.iter().any(|answer| answer.verdict == Verdict::Allow.name()));
    Ok(if allowed { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn print_report(report: &Report<'_>, json: bool) -> anyhow::Result<()> {
    let text = if json { serde_json::to_string_pretty(report)? + "\n" } else { report.text()? };
    print(&text)
}

impl Workload {
    fn facts(&self) -> WorkloadFacts {
        WorkloadFacts {
            image_digest: self.digest.clone(),
            image_reference: self.image.clone(),
            labels: self.label.iter().cloned().collect(),
            namespace: self.namespace.clone(),
        }
    }
}

impl<'a> File<'a> {
    fn new(path: &'a str, compiled: &CompiledPolicy, inventory: &'a Inventory) -> Self {
        let found = inventory.files.iter().find(|file| file.path == path);
        let image = Image::new(inventory);
        let name = |path: &str| path.rsplit('/').next().map(str::to_owned);
        let similar = inventory.files.iter().find(|other| found.is_none() && name(&other.path) == name(path));
        let origin = if found.is_some() { Origin::ImageFile } else { Origin::Dropped };
        let answer = |hook: Hook| {
            let attempt = Attempt { hook: Some(hook), path, origin, ..Attempt::default() };
            let answer = judge(compiled, &image, &attempt).ok()?;
            let (verdict, reason) = (answer.verdict.name(), answer.reason.name());
            Some(Answer { hook: hook.name(), verdict, reason, rule: answer.rule })
        };
        let answers = [Hook::Exec, Hook::Map].into_iter().filter_map(answer).collect();
        Self { path, found, similar: similar.map(|similar| &*similar.path), answers }
    }

    fn text(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "\n{}", printable(self.path))?;
        if let Some(file) = self.found {
            writeln!(text, "  file      {}, mode {:04o}, {} bytes", file.sha256, file.mode, file.size)?;
            match &file.package {
                Some(package) => {
                    let purl = package.purl.as_deref().unwrap_or("no package URL");
                    writeln!(
                        text,
                        "  package   {} {} ({})",
                        printable(&package.name),
                        printable(&package.version),
                        printable(purl)
                    )?;
                }
                None => writeln!(text, "  package   none owns it")?,
            }
            let evidence = file.evidence.map_or("none", plimsoll_sbom::EvidenceClass::name);
            writeln!(text, "  evidence  {evidence}{}", gap(file.gap.as_ref()))?;
        } else {
            writeln!(
                text,
                "  file      the image has no such file that could run; one that is written there later is answered so:"
            )?;
            if let Some(similar) = self.similar {
                writeln!(text, "  help      did you mean `{}`?", printable(similar))?;
            }
        }
        for Answer { hook, verdict, reason, rule } in &self.answers {
            writeln!(text, "  {hook:<9} {verdict} ({reason}): {}", printable(rule))?;
        }
        Ok(())
    }
}

fn gap(gap: Option<&Gap>) -> String {
    match gap {
        Some(Gap::Mismatch { expected, by }) => format!(": the {by} declares {}", printable(expected)),
        Some(Gap::Undeclared) => ": the SBOM does not account for it".to_owned(),
        None => String::new(),
    }
}

impl<'a> Report<'a> {
    fn new(policy: &'a Policy, candidates: Vec<Candidate<'a>>) -> Self {
        Self {
            policy: &policy.name,
            authority: policy.authority.name(),
            mode: policy.mode.to_string(),
            generation: policy.generation.to_string(),
            place: policy.place.to_string(),
            candidates,
            sbom_digest: None,
            files: Vec::new(),
        }
    }

    fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        if let Some(digest) = &self.sbom_digest {
            writeln!(text, "SBOM {digest}")?;
        }
        let Self { policy, authority, mode, place, generation, .. } = self;
        writeln!(text, "policy {policy} ({mode}), {place}, generation {generation}, of the {authority}")?;
        for Candidate { policy, authority, matches, why_not, .. } in &self.candidates {
            let Some(why) = why_not else { continue };
            let word = if *matches { "goes before" } else { "not" };
            writeln!(text, "{word} {} ({authority}): {}", printable(policy), printable(why))?;
        }
        for file in &self.files {
            file.text(&mut text)?;
        }
        Ok(text)
    }
}
