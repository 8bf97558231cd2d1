//! The bypass suite's results: counts on the terminal, and docs/bypasses.md.

use std::{collections::BTreeSet, fmt::Write as _, fs};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::Run;
use crate::{step, workspace::Workspace};

/// What the suite is called on the command line.
pub(super) const SUITE: &str = "bypasses";
/// Begins a line of a guest's output that is one result.
pub(super) const RESULT: &str = "technique-result ";

const DOCUMENT: &str = "docs/bypasses.md";
const INTRODUCTION: &str = "# Ways around a policy\n\n\
    Written by `cargo xtask test bypasses`; a change by hand is lost. Each technique is first made to work in a container \
    without a policy, then tried in the same container with one, on each kernel named. *Denied* means that the attempt ended \
    with `EPERM` and left an event with this hook, this reason and, where it has one, the file's path. What is not denied is \
    shown not to be, with the reason why.\n";

/// One line of a guest's output.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    area: String,
    name: String,
    what: String,
    reference: String,
    hook: String,
    reason: String,
    result: String,
    why: String,
}

/// A technique, with what came of it on each kernel.
#[derive(Debug)]
struct Row {
    shown: Shown,
    kernels: Vec<String>,
}

/// Prints counts, and writes the document or, with `check`, fails if it is another one. `runs` that show no technique are left
/// out.
pub(super) fn settle(workspace: &Workspace, runs: &[Run], check: bool) -> Result<()> {
    let mut rows: Vec<Row> = Vec::new();
    let mut counts = String::new();
    step::heading("ways around a policy");
    for run in runs {
        let shown = results(&run.output).with_context(|| format!("the results of {}", run.name))?;
        if shown.is_empty() {
            continue;
        }
        let denied = shown.iter().filter(|shown| shown.result == "denied").count();
        let line = format!("{}: {} techniques, {denied} denied, {} not", run.name, shown.len(), shown.len() - denied);
        println!("{line}");
        writeln!(counts, "- {line}")?;
        let kernel = run.name.trim_start_matches("Linux ");
        for shown in shown {
            merge(&mut rows, shown, kernel)?;
        }
    }
    let document = render(&counts, &rows)?;
    let path = workspace.root().join(DOCUMENT);
    let is_current = fs::read_to_string(&path).is_ok_and(|found| found == document);
    ensure!(
        is_current || !check,
        "{DOCUMENT} is not what these tests show: run `cargo xtask test bypasses` and commit it"
    );
    if !is_current {
        fs::write(&path, document).with_context(|| format!("cannot write {DOCUMENT}"))?;
        println!("written to {DOCUMENT}");
    }
    Ok(())
}

/// What one guest showed: each technique once, and only if it also worked without a policy.
fn results(output: &str) -> Result<Vec<Shown>> {
    let mut works: BTreeSet<String> = BTreeSet::new();
    let mut results = Vec::new();
    for line in output.lines().filter_map(|line| line.strip_prefix(RESULT)) {
        let shown: Shown = serde_json::from_str(line).with_context(|| format!("cannot read `{line}`"))?;
        if shown.result == "works" {
            let first = works.insert(shown.name.clone());
            ensure!(first, "two techniques are named {}", shown.name);
        } else {
            ensure!(works.contains(&shown.name), "{} was not seen to work without a policy", shown.name);
            results.push(shown);
        }
    }
    ensure!(works.len() == results.len(), "{} techniques work, {} have a result", works.len(), results.len());
    Ok(results)
}

/// Adds a kernel to a technique's row. New ones come last in their area.
fn merge(rows: &mut Vec<Row>, shown: Shown, kernel: &str) -> Result<()> {
    if let Some(row) = rows.iter_mut().find(|row| row.shown.name == shown.name) {
        ensure!(row.shown.result == shown.result, "{} has another result on {kernel}", shown.name);
        row.kernels.push(kernel.to_owned());
    } else {
        rows.push(Row { shown, kernels: vec![kernel.to_owned()] });
    }
    Ok(())
}

fn render(counts: &str, rows: &[Row]) -> Result<String> {
    let mut areas: Vec<&str> = Vec::new();
    for area in rows.iter().map(|row| row.shown.area.as_str()) {
        if !areas.contains(&area) {
            areas.push(area);
        }
    }
    let mut document = format!("{INTRODUCTION}\n{counts}");
    for area in areas {
        write!(document, "\n## {area}\n\n")?;
        document.push_str(
            "| Technique | What is done | Described in | Hook | Kernels | Result |\n|---|---|---|---|---|---|\n",
        );
        for row in rows.iter().filter(|row| row.shown.area == area) {
            let Shown { name, what, reference, hook, reason, result, why, .. } = &row.shown;
            let result = if why.is_empty() { format!("{result}, `{reason}`") } else { format!("**{result}**: {why}") };
            let hook = if hook.is_empty() { "-".to_owned() } else { format!("`{hook}`") };
            let cells = [format!("`{name}`"), what.clone(), reference.clone(), hook, row.kernels.join(", "), result];
            writeln!(document, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))?;
        }
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, result: &str) -> String {
        format!(
            "{RESULT}{{\"area\":\"A\",\"name\":\"{name}\",\"what\":\"a|b\",\"reference\":\"r\",\"hook\":\"exec\",\
             \"reason\":\"written\",\"result\":\"{result}\",\"why\":\"\"}}\n"
        )
    }

    #[test]
    fn only_what_works_without_a_policy_has_a_result() {
        assert_eq!(results(&(line("a", "works") + &line("a", "denied"))).unwrap().len(), 1);
        assert!(results(&line("a", "denied")).is_err());
        assert!(results(&line("a", "works")).is_err());
        assert!(results(&(line("a", "works") + &line("a", "works") + &line("a", "denied"))).is_err());
    }

    #[test]
    fn kernels_share_a_row_and_cells_stay_apart() {
        let mut rows = Vec::new();
        for kernel in ["6.1", "6.12"] {
            for shown in results(&(line("a", "works") + &line("a", "denied"))).unwrap() {
                merge(&mut rows, shown, kernel).unwrap();
            }
        }
        let document = render("", &rows).unwrap();
        assert!(document.ends_with("| `a` | a\\|b | r | `exec` | 6.1, 6.12 | denied, `written` |\n"), "{document}");
    }
}
