//! `cargo xtask bench sbom`: whole programs side by side in one run, and the readers by themselves (criterion).

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{build, corpus, step, workspace::Workspace};

/// The section of the document that this command writes; it is the last.
pub(super) const FIGURES: &str = "<!-- figures: sbom -->\n";
/// Rounds in which the programs take turns.
const ROUNDS: usize = 7;
/// Bytes of the large document, at least.
const LARGE: usize = 40_000_000;
/// Runs a program and prints its peak memory in KiB and its milliseconds of processor time: the kernel's own account of
/// the child, from its start to its end, whatever else runs on the machine.
const USAGE: &str = "import resource, subprocess, sys\n\
                     subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)\n\
                     used = resource.getrusage(resource.RUSAGE_CHILDREN)\n\
                     print(used.ru_maxrss, round((used.ru_utime + used.ru_stime) * 1000))";
/// Bytes of SBOM in a second of processor time, at least.
const RATE: f64 = 100e6;

pub(super) fn run(workspace: &Workspace) -> Result<ExitCode> {
    let root = corpus::debian(workspace)?;
    let plimsoll = build::command_line(workspace)?;
    let syft = workspace.tools().join("bin/syft");
    let scratch = tempfile::Builder::new().prefix("bench-").tempdir_in(workspace.target())?;
    let sbom = scratch.path().join("debian.spdx.json");
    let whole = programs(&plimsoll, &syft, &root, &sbom)?;
    let large = large(&sbom, scratch.path())?;
    let memory = memory(&plimsoll, &large)?;
    let mut criterion = Command::new("cargo");
    criterion.current_dir(workspace.root()).args(["bench", "--locked", "-p", "plimsoll-sbom", "--bench", "documents"]);
    step::shown("documents of 40 MB (criterion)", &mut criterion)?;
    let figures = format!("\n## Reading SBOMs\n\n{whole}\n{memory}\n{}", readers(workspace)?);
    super::write_behind(workspace, FIGURES, &figures)?;
    Ok(ExitCode::SUCCESS)
}

/// Syft scans an image; Plimsoll indexes it, joins it with the SBOM and its databases, and says what may run.
fn programs(plimsoll: &Path, syft: &Path, root: &Path, sbom: &Path) -> Result<String> {
    step::heading(&format!("syft and plimsoll in turn, {ROUNDS} rounds"));
    let scan = || {
        let mut scan = Command::new(syft);
        scan.env("SYFT_CHECK_FOR_APP_UPDATE", "false").args(["scan", "--quiet", "--base-path"]).arg(root);
        scan.arg(format!("dir:{}", root.display())).arg("--output").arg(format!("spdx-json={}", sbom.display()));
        scan
    };
    let compile = || {
        let mut compile = Command::new(plimsoll);
        compile.args(["sbom", "allowlist", "--json", "--rootfs"]).arg(root).arg("--sbom").arg(sbom);
        compile
    };
    // Once before, so that both find the files in memory.
    let files = step::output(Command::new("find").arg(root).args(["-xdev", "-type", "f"]))?.lines().count();
    timed(&mut scan())?;
    timed(&mut compile())?;
    let (mut scans, mut compiles) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        scans.push(timed(&mut scan())?);
        compiles.push(timed(&mut compile())?);
    }
    let (scan, compile) = (median(&mut scans), median(&mut compiles));
    let ratio = scan.as_secs_f64() / compile.as_secs_f64();
    let mut table = format!(
        "A Debian root filesystem of {files} files, both programs in turn, median of {ROUNDS} rounds, files in memory:\n\n\
         | program | does | median, ms | smallest, ms |\n|---|---|---:|---:|\n"
    );
    let mut row = |program: &str, does: &str, times: &[Duration], median: Duration| {
        let smallest = times.iter().min().copied().unwrap_or_default();
        writeln!(table, "| {program} | {does} | {} | {} |", median.as_millis(), smallest.as_millis())
    };
    row("syft", "scans, writes SPDX", &scans, scan)?;
    row("plimsoll", "reads that SPDX, indexes, hashes, compiles", &compiles, compile)?;
    writeln!(table, "\nRatio: {ratio:.1}.")?;
    println!("{table}");
    ensure!(ratio >= 3.0, "compiling is only {ratio:.1} times as fast as syft's scan, where 3 is asked for");
    Ok(table)
}

fn timed(command: &mut Command) -> Result<Duration> {
    let started = Instant::now();
    step::quietly(command)?;
    Ok(started.elapsed())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The document, repeated below other directories until it has [`LARGE`] bytes.
fn large(sbom: &Path, scratch: &Path) -> Result<PathBuf> {
    let text = fs::read(sbom)?;
    let mut document: Value = serde_json::from_slice(&text)?;
    let copies = LARGE.div_ceil(text.len()) + 1;
    for field in ["packages", "files", "relationships"] {
        let entries = document.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
        let all = (0..copies).flat_map(|copy| entries.iter().map(move |entry| renamed(entry, copy)));
        let all: Vec<Value> = all.collect();
        document.as_object_mut().context("the SBOM is no object")?.insert(field.to_owned(), json!(all));
    }
    let path = scratch.join("large.spdx.json");
    fs::write(&path, serde_json::to_vec(&document)?)?;
    Ok(path)
}

fn renamed(entry: &Value, copy: usize) -> Value {
    let mut entry = entry.clone();
    for (key, prefix, suffix) in [
        ("SPDXID", String::new(), format!("-{copy}")),
        ("spdxElementId", String::new(), format!("-{copy}")),
        ("relatedSpdxElement", String::new(), format!("-{copy}")),
        ("fileName", format!("copy{copy}/"), String::new()),
    ] {
        if let Some(Value::String(text)) = entry.get_mut(key) {
            *text = format!("{prefix}{text}{suffix}");
        }
    }
    entry
}

/// Time and peak memory of the whole program on the large document.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn memory(plimsoll: &Path, large: &Path) -> Result<String> {
    let size = fs::metadata(large)?.len();
    ensure!(size >= LARGE as u64, "the large document has {size} bytes");
    let inspect = || {
        let mut inspect = Command::new(plimsoll);
        inspect.args(["sbom", "inspect"]).arg(large);
        inspect
    };
    let mut times: Vec<Duration> = (0..ROUNDS).map(|_| timed(&mut inspect())).collect::<Result<_>>()?;
    let median = median(&mut times);
    let mut usages: Vec<(u64, u64)> = (0..ROUNDS).map(|_| usage(plimsoll, large)).collect::<Result<_>>()?;
    usages.sort_by_key(|(_, milliseconds)| *milliseconds);
    let (kib, milliseconds) = usages.get(ROUNDS / 2).copied().context("nothing was measured")?;
    let times_document = kib as f64 * 1024.0 / size as f64;
    ensure!(times_document < 4.0, "peak memory is {times_document:.1} times the document");
    let rate = size as f64 * 1e3 / milliseconds as f64;
    ensure!(rate > RATE, "an SBOM is read at {:.0} MB/s", rate / 1e6);
    Ok(format!(
        "`plimsoll sbom inspect` of an SPDX document of {:.1} MB (syft's, repeated), from start to end of the process, median \
         of {ROUNDS}: {milliseconds} ms of processor time, {:.0} MB/s ({} ms of the clock, on a machine that others use); peak \
         memory {:.0} MB, {times_document:.1} times the document.\n",
        size as f64 / 1e6,
        rate / 1e6,
        median.as_millis(),
        kib as f64 * 1024.0 / 1e6,
    ))
}

/// Peak memory in KiB, and milliseconds of processor time.
fn usage(plimsoll: &Path, large: &Path) -> Result<(u64, u64)> {
    let mut usage = Command::new("/usr/bin/python3");
    usage.args(["-c", USAGE]).arg(plimsoll).args(["sbom", "inspect"]).arg(large);
    let text = step::output(&mut usage)?;
    let (kib, milliseconds) = text.trim().split_once(' ').context("the kernel gave no account")?;
    Ok((kib.parse()?, milliseconds.parse()?))
}

/// What criterion measured, of the readers alone.
fn readers(workspace: &Workspace) -> Result<String> {
    let directory = workspace.target().join("criterion/documents");
    let mut rows = Vec::new();
    for entry in fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let entry = entry?.path().join("new");
        let Ok(estimates) = fs::read(entry.join("estimates.json")) else { continue };
        let (estimates, benchmark): (Value, Value) =
            (serde_json::from_slice(&estimates)?, serde_json::from_slice(&fs::read(entry.join("benchmark.json"))?)?);
        let nanoseconds = estimates.pointer("/median/point_estimate").and_then(Value::as_f64);
        let bytes = benchmark.pointer("/throughput/Bytes").and_then(Value::as_f64);
        let name = benchmark.get("function_id").and_then(Value::as_str).unwrap_or_default().to_owned();
        let (nanoseconds, bytes) = nanoseconds.zip(bytes).context("criterion's figures have changed their form")?;
        rows.push((name, bytes / 1e6, nanoseconds / 1e6, bytes * 1e3 / nanoseconds));
    }
    rows.sort_by(|left, right| left.0.cmp(&right.0));
    ensure!(!rows.is_empty(), "criterion measured nothing");
    let mut table = String::from(
        "The readers alone (criterion, median of processor time):\n\n| format | MB | ms | MB/s |\n|---|---:|---:|---:|\n",
    );
    for (name, megabytes, milliseconds, rate) in rows {
        writeln!(table, "| {name} | {megabytes:.1} | {milliseconds:.0} | {rate:.0} |")?;
    }
    Ok(table)
}
