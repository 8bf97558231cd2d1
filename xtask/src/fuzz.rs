//! `cargo xtask fuzz`: the parsers of untrusted input, under libFuzzer. Needs a nightly compiler.

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::{setup, step, workspace::Workspace};

/// Programs of `crates/sbom/fuzz`, with the fixtures that they start from, below `crates/sbom/tests/fixtures`.
const TARGETS: [(&str, &[&str]); 9] = [
    ("document", &["valid", "wrapped", "invalid"]),
    ("envelope", &["valid"]),
    ("tag_value", &["fuzz/tag_value"]),
    ("yaml", &["fuzz/yaml"]),
    ("xml", &["valid", "invalid", "fuzz/xml"]),
    ("dpkg", &["fuzz/dpkg"]),
    ("apk", &["fuzz/apk"]),
    ("rpm", &["rpm"]),
    ("languages", &["fuzz/languages"]),
];
/// Memory beyond which an input counts as a fault. The programs themselves, with the sanitizer, take most of it.
const MEMORY_MB: u32 = 2048;
/// Longest input.
const INPUT: u32 = 64 << 10;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only this program of `crates/sbom/fuzz`
    target: Option<String>,
    /// How long each runs
    #[arg(long, default_value_t = 10)]
    minutes: u32,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<ExitCode> {
    setup::run_for_fuzz(workspace)?;
    let crate_directory = workspace.root().join("crates/sbom");
    let mut build = Command::new("cargo");
    build
        .args(["+nightly", "fuzz", "build", "--fuzz-dir", "fuzz", "--target-dir"])
        .arg(workspace.target().join("fuzz"));
    step::shown("build the fuzzers", build.current_dir(&crate_directory).env("PATH", workspace.path()?))?;
    let wanted: Vec<_> =
        TARGETS.iter().filter(|(name, _)| arguments.target.as_ref().is_none_or(|target| target == name)).collect();
    ensure!(!wanted.is_empty(), "no such fuzzer: there are {}", TARGETS.map(|(name, _)| name).join(", "));
    let mut good = true;
    let mut table =
        String::from("| parser | minutes | executions | per second | edges covered | peak memory, MB | crashes |\n");
    table += "|---|---:|---:|---:|---:|---:|---:|\n";
    for (name, fixtures) in wanted {
        let outcome = fuzz(workspace, &crate_directory, name, fixtures, arguments.minutes)?;
        good &= outcome.crashes == 0;
        table += &outcome.row(name, arguments.minutes);
    }
    println!("\n{table}");
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[derive(Debug, Default)]
struct Outcome {
    executions: u64,
    per_second: u64,
    edges: u64,
    peak: u64,
    crashes: u32,
}

impl Outcome {
    fn row(&self, name: &str, minutes: u32) -> String {
        let Self { executions, per_second, edges, peak, crashes } = self;
        format!("| {name} | {minutes} | {executions} | {per_second} | {edges} | {peak} | {crashes} |\n")
    }
}

/// Runs one of them. Inputs that were found interesting are kept for the next time.
fn fuzz(workspace: &Workspace, sbom: &Path, name: &str, fixtures: &[&str], minutes: u32) -> Result<Outcome> {
    step::heading(&format!("fuzzing {name} for {minutes} minutes"));
    let corpus = workspace.target().join("fuzz-corpus").join(name);
    let artifacts = workspace.target().join("fuzz-artifacts");
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&artifacts)?;
    let program = workspace.target().join("fuzz/x86_64-unknown-linux-gnu/release").join(name);
    let mut run = Command::new(program);
    run.arg(&corpus).args(fixtures.iter().map(|fixture| sbom.join("tests/fixtures").join(fixture)));
    run.arg(format!("-max_total_time={}", minutes * 60)).arg(format!("-rss_limit_mb={MEMORY_MB}"));
    run.arg(format!("-max_len={INPUT}")).args(["-timeout=20", "-print_final_stats=1"]);
    run.arg(format!("-artifact_prefix={}/{name}-", artifacts.display()));
    let result = run.stdin(Stdio::null()).output().with_context(|| format!("cannot run {name}"))?;
    let log = String::from_utf8_lossy(&result.stderr);
    let statistic = |key: &str| {
        let line = log.lines().rev().find_map(|line| line.split_once(key));
        line.and_then(|(_, value)| value.split_whitespace().next()?.parse().ok()).unwrap_or_default()
    };
    let outcome = Outcome {
        executions: statistic("stat::number_of_executed_units:"),
        per_second: statistic("stat::average_exec_per_sec:"),
        edges: statistic(" cov: "),
        peak: statistic("stat::peak_rss_mb:"),
        crashes: u32::from(!result.status.success()),
    };
    ensure!(outcome.executions > 0, "{name} ran nothing:\n{log}");
    if outcome.crashes > 0 {
        println!("{log}\nthe input is in {}", artifacts.display());
    }
    Ok(outcome)
}
