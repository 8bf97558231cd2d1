//! The page that a person begins with.

use std::fmt::{self, Write as _};

use super::{
    evidence::{Outcome, Results},
    facts::Facts,
    mapping::Mapping,
};
use crate::{events::time, output::printable};

const PREFACE: &str = "\
Plimsoll supports the controls below; it makes nobody compliant. \"Shown\" means that the evidence a mapping asks for is \
in this pack, for the policies given and the window above, and nothing beyond that: what a control does not cover stands \
beside it, and whether the policies given are those in force is for the reader to check. Titles are in our own words; the \
catalogues have the binding ones.
";

pub(super) fn markdown(facts: &Facts, mappings: &[Mapping], results: &[Results<'_>]) -> Result<String, fmt::Error> {
    let mut text = String::new();
    let day = |unix_ns| time::display(unix_ns).chars().take(19).collect::<String>();
    let reading = &facts.reading;
    writeln!(text, "# Evidence of runtime enforcement\n")?;
    writeln!(
        text,
        "{} to {} UTC. Written by plimsoll {}.\n",
        day(reading.since_unix_ns),
        day(reading.until_unix_ns),
        env!("CARGO_PKG_VERSION")
    )?;
    writeln!(text, "{PREFACE}")?;
    record(&mut text, facts)?;
    for (mapping, results) in mappings.iter().zip(results) {
        writeln!(text, "## {}\n\n{}\n", plain(&mapping.title), plain(&mapping.scope))?;
        for outcome in &results.controls {
            control(&mut text, outcome)?;
        }
    }
    writeln!(text, "## Parts\n")?;
    writeln!(text, "- `policies/`: the policies given\n- `mappings/`: the mappings used")?;
    writeln!(text, "- `verdicts.json`: events by verdict, reason and hook, and by namespace")?;
    writeln!(text, "- `nodes.json`: the window, the nodes, their losses, every reason for doubt")?;
    writeln!(text, "- `index.json`: this page for programs")?;
    writeln!(text, "- `MANIFEST.sha256`: digests of all parts; `sha256sum -c MANIFEST.sha256` checks them")?;
    Ok(text)
}

/// What was stored, and how whole that is.
fn record(text: &mut String, facts: &Facts) -> fmt::Result {
    writeln!(text, "## The record\n")?;
    writeln!(text, "| Verdict | Reason | Hook | Events |\n|---|---|---|---:|")?;
    for ([verdict, reason, hook], count) in &facts.verdicts {
        writeln!(text, "| {} | {} | {} | {count} |", plain(verdict), plain(reason), plain(hook))?;
    }
    writeln!(text, "| all | | | {} |\n", facts.reading.events)?;
    if facts.reading.doubts.is_empty() {
        writeln!(text, "Nothing of the window is known to be lost, missing or forgotten.\n")?;
    } else {
        writeln!(text, "The record may have holes:\n")?;
        for doubt in &facts.reading.doubts {
            writeln!(text, "- {}", plain(doubt))?;
        }
        writeln!(text)?;
    }
    writeln!(text, "| Policy | Mode | Evidence | Generation |\n|---|---|---|---|")?;
    for policy in &facts.policies {
        writeln!(text, "| {} | {} | {} | `{}` |", policy.name, policy.mode, policy.evidence, policy.generation)?;
    }
    writeln!(text)
}

fn control(text: &mut String, outcome: &Outcome<'_>) -> fmt::Result {
    let control = outcome.control;
    writeln!(text, "### {} {}\n", plain(&control.id), plain(&control.title))?;
    writeln!(text, "Evidence: **{}**\n", outcome.state.name())?;
    writeln!(text, "- Supports: {}", plain(&control.supports))?;
    for finding in &outcome.findings {
        writeln!(text, "- {}: {}", finding.state.name(), plain(&finding.text))?;
    }
    writeln!(text, "- Does not cover: {}\n", plain(&control.limits))
}

/// Text that others have chosen, unable to be markup.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for char in printable(text).chars() {
        if matches!(char, '<' | '>' | '|' | '[' | ']' | '*' | '\\') {
            plain.push('\\');
        }
        plain.push(char);
    }
    plain
}
