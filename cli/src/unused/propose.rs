//! A policy of what was used: everything named with its content, and nothing else of the image.
//!
//! The language accepts evidence or names files; it cannot take single files out of what evidence accepts. The proposal
//! therefore asks for the strongest evidence and adds, by path and digest, what was used or may have been. Files that
//! have the strongest evidence stay allowed: they are counted and named. What the proposal allows is not guessed, but
//! asked of the compiler that nodes use.

use std::{collections::BTreeSet, fmt::Write as _};

use plimsoll_policy::{Limits, compile, parse};
use plimsoll_sbom::{InodeKey, Inventory};

use super::usage::{Answer, File, Usage, Use};
use crate::{events::time, output::printable};

/// Additions a policy may have.
const MAX_ADDITIONS: usize = 10_000;
/// Files named in the comment.
const NAMED: usize = 20;

/// The document; or why there is none.
pub(super) fn policy(usage: &Usage<'_>, inventory: &Inventory) -> anyhow::Result<Result<String, String>> {
    if usage.answer == Answer::Unknown {
        return Ok(Err("no allowed execution was reported, and a policy of nothing would forbid everything; set \
                       `reportExecutions: true` on the nodes, and ask again when the window has passed"
            .to_owned()));
    }
    let kept: Vec<_> = usage.files.iter().filter(|file| is_kept(file)).collect();
    if kept.len() > MAX_ADDITIONS {
        return Ok(Err(format!(
            "{} files were used or may have been, and a policy has at most {MAX_ADDITIONS} additions",
            kept.len()
        )));
    }
    let body = body(usage, &kept)?;
    let policy = parse("proposal", body.as_bytes(), &Limits::default())
        .map_err(|problems| anyhow::anyhow!("the proposed policy is not one: {problems}"))?;
    let compiled = compile(&policy, inventory)?;
    let allowed: BTreeSet<InodeKey> = compiled.entries.iter().map(|entry| entry.inode).collect();
    Ok(Ok(comment(usage, &kept, &allowed)? + &body))
}

/// What was used, and what may have been without anybody's telling.
fn is_kept(file: &File<'_>) -> bool {
    matches!(file.usage, Use::Executed | Use::Loaded | Use::Unknown)
}

fn comment(usage: &Usage<'_>, kept: &[&File<'_>], allowed: &BTreeSet<InodeKey>) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let stay: Vec<_> =
        usage.files.iter().filter(|file| !is_kept(file) && allowed.contains(&file.entry.inode)).collect();
    let gone = usage.files.iter().filter(|file| !allowed.contains(&file.entry.inode)).count();
    let day = |unix_ns| time::display(unix_ns).chars().take(19).collect::<String>();
    writeln!(
        text,
        "# What {} used, {} to {} UTC.",
        printable(usage.image),
        day(usage.reading.since_unix_ns),
        day(usage.reading.until_unix_ns)
    )?;
    writeln!(text, "# It allows {} files of {} and leaves out {gone}.", usage.files.len() - gone, usage.files.len())?;
    writeln!(text, "# The answer it is made of is {}.", usage.answer.name())?;
    for why in &usage.because {
        writeln!(text, "#   {}", printable(why))?;
    }
    let unknown = kept.iter().filter(|file| file.usage == Use::Unknown).count();
    writeln!(text, "# {unknown} of the files are kept because their loading would have left no event.")?;
    if !stay.is_empty() {
        writeln!(
            text,
            "# {} files were not used and stay allowed: their evidence is the strongest, and policies cannot take\n\
             # single files out of that:",
            stay.len()
        )?;
        for file in stay.iter().take(NAMED) {
            writeln!(text, "#   {}", file.entry.path)?;
        }
        if stay.len() > NAMED {
            writeln!(text, "#   and {} more", stay.len() - NAMED)?;
        }
    }
    writeln!(
        text,
        "# What runs once a month did not run in a week: look at what Monitor reports before you set Enforce. Settings of\n\
         # the policy in force (network, files, hardening, scripts) are not here; carry them over."
    )?;
    Ok(text)
}

fn body(usage: &Usage<'_>, kept: &[&File<'_>]) -> anyhow::Result<String> {
    let mut text = String::new();
    let selector = if usage.image.starts_with("sha256:") { "digest" } else { "reference" };
    // A string of JSON is one of YAML.
    let image = serde_json::to_string(usage.image)?;
    writeln!(text, "apiVersion: plimsoll.dev/v1alpha1\nkind: EnforcementPolicy\nmetadata:\n  name: slim")?;
    writeln!(text, "spec:\n  selector:\n    image:\n      {selector}: {image}")?;
    writeln!(text, "  mode: Monitor\n  evidence: sbom-digest\n  allow:")?;
    for File { entry, usage, facts } in kept {
        let reason = match usage {
            Use::Executed => format!("executed {} times", facts.executed.count),
            Use::Loaded => format!("loaded {} times", facts.loaded.count),
            _ => "its loading would have left no event".to_owned(),
        };
        writeln!(text, "    - path: {}", serde_json::to_string(&entry.path)?)?;
        writeln!(text, "      sha256: \"{}\"\n      reason: {reason}", entry.sha256)?;
    }
    Ok(text)
}
