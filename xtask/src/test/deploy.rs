//! `cargo xtask test deploy`: the chart, the manifests, alert rules and the dashboard, by the tools of others.

mod chart;
mod cluster;
mod configuration;
mod hardening;
mod monitoring;
mod refusals;
mod schema;
mod tools;

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};

use crate::{pins, step, workspace::Workspace};

use chart::Chart;
use configuration::Programs;
use tools::Tools;

/// Makes deploy/manifests anew, instead of checking that it is.
const UPDATE: &str = "UPDATE_EXPECT";
/// What is above the manifests.
const HEAD: &str = "# Made from deploy/helm/plimsoll with its defaults and `namespace.create: true`; do not edit.\n\
                    # `UPDATE_EXPECT=1 cargo xtask test deploy` writes it, `cargo xtask test deploy` fails where it is stale.\n";

pub(super) fn run(workspace: &Workspace) -> Result<ExitCode> {
    let mut unit = Command::new("cargo");
    unit.args(["test", "--package", "plimsoll-xtask", "--package", "plimsoll-node"]).current_dir(workspace.root());
    step::shown("checks of these checks, and what the agent's pod does first", &mut unit)?;
    let mut build = Command::new("cargo");
    build
        .args(["build", "--package", "plimsoll-agent", "--package", "plimsoll-collector"])
        .current_dir(workspace.root());
    step::shown("build the agent and the collector", &mut build)?;
    step::heading("the chart, manifests, rules and dashboard");
    let tools = Tools::install(workspace)?;
    let scratch = tempfile::Builder::new().prefix("deploy-").tempdir()?;
    // Nobody reads configurations in it.
    step::quietly(Command::new("chmod").arg("755").arg(scratch.path()))?;
    println!("{:>10}  {}", "with", tools.versions()?);
    let started = Instant::now();
    let charts = charts(workspace, &tools, scratch.path());
    let monitoring = monitoring::check(&tools, workspace.root(), scratch.path());
    for line in charts?.into_iter().chain(told(&monitoring?)) {
        println!("{:>10}  {line}", "passed");
    }
    println!("{:>10}  deploy ({:.1} s)", "done", started.elapsed().as_secs_f64());
    Ok(ExitCode::SUCCESS)
}

fn charts(workspace: &Workspace, tools: &Tools, scratch: &Path) -> Result<Vec<String>> {
    let deploy = workspace.root().join("deploy");
    let chart = Chart { tools, directory: deploy.join("helm/plimsoll") };
    let renderings = chart.all(&deploy.join("helm/values"), scratch)?;
    let objects: usize = renderings.iter().map(|rendering| rendering.objects.len()).sum();
    let names: Vec<&str> = renderings.iter().map(|rendering| rendering.name.as_str()).collect();
    let mut lines = vec![format!(
        "{} renderings without a word of helm lint, {objects} objects: {}",
        names.len(),
        names.join(", ")
    )];
    schema::prove(tools, scratch)?;
    let schemas = schema::check(tools, &renderings, scratch)?;
    lines.push(format!(
        "{} times an object fits its schema of Kubernetes {}; {} objects of operators have the fields they need",
        schemas.by_schema,
        pins::DEPLOY_KUBERNETES.join(", "),
        schemas.by_hand
    ));
    let taken = cluster::check(tools, &renderings, scratch)?;
    lines.push(format!(
        "{taken} objects taken by `kubectl apply --dry-run=client`, discovery answered by a server of ours"
    ));
    lines.push(format!("{} wrong combinations refused, each with a way out", refusals::check(&chart)?));
    let (containers, rules) = hardening::check(&renderings, &chart.directory.join("templates"))?;
    lines.push(format!("{containers} containers without privilege beyond the list, {rules} rules without a wildcard, each with its reason"));
    let programs = Programs { directory: workspace.debug() };
    lines.push(format!("{} configurations understood by the programs", programs.check(&renderings, scratch)?));
    let defaults = renderings.first().context("nothing was rendered")?;
    let needed = programs.parser(&defaults.objects)?;
    lines.push(format!("the SBOM parser is confined with the chart's capabilities, and not without each of {needed}"));
    manifests(&chart, &deploy.join("manifests/plimsoll.yaml"))?;
    lines.push("deploy/manifests is what the chart renders".to_owned());
    Ok(lines)
}

/// Fails if the manifests are not what the chart renders; writes them where that is asked for.
fn manifests(chart: &Chart<'_>, path: &Path) -> Result<()> {
    let fresh = format!("{HEAD}{}", chart.manifests()?);
    if std::env::var_os(UPDATE).is_some() {
        return fs::write(path, fresh).with_context(|| format!("cannot write {}", path.display()));
    }
    let found = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    same(&found, &fresh)
        .with_context(|| format!("{} is stale: run `{UPDATE}=1 cargo xtask test deploy`", path.display()))
}

fn same(found: &str, fresh: &str) -> Result<()> {
    let differs = (1..).zip(found.lines().zip(fresh.lines())).find(|(_, (found, fresh))| found != fresh);
    if let Some((line, (found, fresh))) = differs {
        anyhow::bail!("line {line} is `{found}` and would be `{fresh}`");
    }
    ensure!(found == fresh, "it has {} lines and would have {}", found.lines().count(), fresh.lines().count());
    Ok(())
}

fn told(tally: &monitoring::Tally) -> Vec<String> {
    vec![
        format!("{} alerts, {} tests: each fires, with these words, and is silent", tally.alerts, tally.tests),
        format!(
            "{} queries of the dashboard read by promtool; {} metrics asked for, all registered",
            tally.queries, tally.metrics
        ),
        format!("asked for by neither: {}", tally.unused.join(", ")),
    ]
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn stale_manifests_are_noticed() {
        same("a\nb\n", "a\nb\n").unwrap();
        assert!(same("a\nb\n", "a\nc\n").unwrap_err().to_string().contains("line 2"));
        assert!(same("a\n", "a\nb\n").unwrap_err().to_string().contains("would have 2"));
    }
}
