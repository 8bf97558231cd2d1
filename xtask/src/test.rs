//! `cargo xtask test`: this machine's tests, then the guests' on each kernel.

mod bypasses;
mod conformance;
mod deploy;
mod tally;

use std::{
    fs,
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use plimsoll_tests::vm::{Guest, Kernel};

use crate::{build, docs, guest::Guests, setup, step, vm, workspace::Workspace};

use tally::Tally;

/// What guests run: one process that runs every test in it.
const PROGRAM: &str = "plimsoll-guest-tests";
/// Tells [`PROGRAM`] that the kernel has no BPF LSM, and that the tests are those of a clear refusal.
const NO_BPF: &str = "--no-bpf";
/// Tells [`PROGRAM`] to run the bypass suite alone.
const BYPASSES: &str = "--bypasses";
/// Name of the test program that needs a registry, and nothing of the kernel.
const REGISTRY: &str = "registry";
/// Name of the test programs of the collector, and of the exporter against it.
const COLLECTOR: &str = "collector";
/// Name of the checks of everything in `deploy`, which need nothing of the kernel.
const DEPLOY: &str = "deploy";
/// Tells [`PROGRAM`] to run what needs container runtimes.
const PODS: &str = "--pods";
/// Name of the tests of pods by a real containerd.
const WORKLOADS: &str = "workloads";
/// How long one guest may take; an emulated one is slow.
const DEADLINE: Duration = Duration::from_mins(30);
/// How long one may take that starts thousands of containers.
const LONG: Duration = Duration::from_hours(2);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Run only tests whose name contains this; `bypasses` runs every way around a policy, `registry` those against a real
    /// registry, `collector` those of telemetry, `workloads` those of pods by a real containerd, `deploy` those of the chart and all
    /// beside it, and nothing else
    filter: Option<String>,
    /// Fail if docs/bypasses.md is not what these tests show, instead of writing it
    #[arg(long)]
    check_documents: bool,
    /// Run the guests' tests on this machine's own kernel, which must have BPF among its security modules
    #[arg(long)]
    native: bool,
}

/// One run of the guests' tests.
struct Run {
    name: String,
    tally: Result<Tally>,
    time: Duration,
    output: String,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<ExitCode> {
    if arguments.native {
        ensure_bpf_lsm()?;
    }
    if arguments.filter.as_deref() == Some(DEPLOY) {
        return deploy::run(workspace);
    }
    setup::run(workspace)?;
    if arguments.filter.as_deref() == Some(REGISTRY) {
        return registry(workspace);
    }
    if arguments.filter.as_deref() == Some(COLLECTOR) {
        return collector(workspace);
    }
    let object = build::run(workspace)?;
    let filter = arguments.filter.as_deref();
    if arguments.native {
        return native(workspace, filter.as_slice());
    }
    if filter == Some(bypasses::SUITE) {
        let guests = Guests::complete(workspace)?;
        let runs = on_every_kernel(&guests, &[BYPASSES], DEADLINE)?;
        return conclude(workspace, &runs, arguments);
    }
    if filter == Some(WORKLOADS) {
        let runs = on_every_kernel(&Guests::with_runtimes(workspace)?, &[PODS], LONG)?;
        return Ok(if report(&runs, filter)? { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    step::shown("tests of this machine's programs", build::cargo(workspace, "test", &object).args(filter))?;
    step::shown("the kernel's decision against the reference evaluator", &mut build::decision(workspace, &["agree"])?)?;
    if filter.is_none() {
        docs::all(workspace, false)?;
    }
    let guests = Guests::complete(workspace)?;
    let filter = filter.as_slice();
    let mut runs = on_every_kernel(&guests, filter, DEADLINE)?;
    let without =
        guests.guest(Kernel::V6_12).lsm(Some(vm::LSM_WITHOUT_BPF)).prefix("6.12 without bpf | ").deadline(DEADLINE);
    runs.push(in_guest("Linux 6.12 without bpf", &without, &[&[NO_BPF], filter].concat()));
    conclude(workspace, &runs, arguments)
}

/// The command line against Debian's `docker-registry` on loopback.
fn registry(workspace: &Workspace) -> Result<ExitCode> {
    of_packages(workspace, "tests against a registry", &["plimsoll-cli"], &["--test", REGISTRY])
}

/// The collector with real clients, SQLite and TLS: faults and who is refused; and what others say of its interfaces.
fn collector(workspace: &Workspace) -> Result<ExitCode> {
    let packages = ["plimsoll-identity", "plimsoll-proof", "plimsoll-collector", "plimsoll-agent", "plimsoll-cli"];
    let tests = ["--lib", "--test", COLLECTOR, "--test", "exporter", "--test", "spool", "--test", "audit"];
    // Their figures.
    let targets = [&tests[..], &["--", "--show-output"]].concat();
    of_packages(workspace, "tests of the collector", &packages, &targets)?;
    conformance::run(workspace)?;
    Ok(ExitCode::SUCCESS)
}

/// Some of this machine's tests alone.
fn of_packages(workspace: &Workspace, label: &str, packages: &[&str], targets: &[&str]) -> Result<ExitCode> {
    let mut test = Command::new("cargo");
    test.arg("test").args(packages.iter().flat_map(|package| ["--package", package])).args(targets);
    step::shown(label, test.current_dir(workspace.root()))?;
    Ok(ExitCode::SUCCESS)
}

/// All kernels at a time: an emulated guest takes one processor, whatever there is.
fn on_every_kernel(guests: &Guests, options: &[&str], deadline: Duration) -> Result<Vec<Run>> {
    thread::scope(|scope| {
        let running: Vec<_> = Kernel::ALL
            .into_iter()
            .map(|kernel| {
                let guest = guests.guest(kernel);
                scope.spawn(move || in_guest(&format!("Linux {kernel}"), &guest.deadline(deadline), options))
            })
            .collect();
        running.into_iter().map(|run| run.join().map_err(|_panic| anyhow!("a guest's thread panicked"))).collect()
    })
}

fn in_guest(name: &str, guest: &Guest, options: &[&str]) -> Run {
    step::heading(&format!("tests on {name}"));
    let started = Instant::now();
    let command: Vec<&str> = [PROGRAM].iter().chain(options).copied().collect();
    let outcome = guest.clone().hidden(bypasses::RESULT).run(&command);
    let (tally, output) = match outcome {
        Ok(outcome) => (Tally::read(&outcome.output, outcome.status), outcome.output),
        Err(error) => (Err(error), String::new()),
    };
    Run { name: name.to_owned(), tally, time: started.elapsed(), output }
}

/// Reports, and settles the document where the whole bypass suite ran and is good.
fn conclude(workspace: &Workspace, runs: &[Run], arguments: &Arguments) -> Result<ExitCode> {
    let filter = arguments.filter.as_deref().filter(|filter| *filter != bypasses::SUITE);
    let good = report(runs, filter)?;
    if good && filter.is_none() {
        bypasses::settle(workspace, runs, arguments.check_documents)?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Shows one line for each run, and the sum in words that test reports use. Answers whether all is well.
fn report(runs: &[Run], filter: Option<&str>) -> Result<bool> {
    step::heading("tests in guests");
    println!("{:<24} {:>8} {:>8} {:>8} {:>9}", "", "passed", "failed", "ignored", "time");
    let mut sum = Tally::default();
    let mut good = true;
    for run in runs {
        let time = format!("{:.1} s", run.time.as_secs_f64());
        match &run.tally {
            Ok(tally) => {
                println!("{:<24} {:>8} {:>8} {:>8} {time:>9}", run.name, tally.passed, tally.failed, tally.ignored);
                sum = sum.plus(tally);
                good &= tally.is_good(filter.is_some());
            }
            Err(error) => {
                println!("{:<24} no result {time:>24}\n{error:#}", run.name);
                sum.failed += 1;
                good = false;
            }
        }
    }
    ensure!(
        sum.passed + sum.failed > 0,
        "no test in guests ran: none has a name like `{}`",
        filter.unwrap_or_default()
    );
    for run in runs {
        print!("{}", failures(&run.name, &run.output));
    }
    println!("\n{} passed, {} failed", sum.passed, sum.failed);
    Ok(good)
}

/// What the tests that failed said, once more: thousands of lines may be between it and the end of the output, which is all
/// that some keep.
fn failures(run: &str, output: &str) -> String {
    let lines = output.lines().skip_while(|line| line.trim() != "failures:");
    let failed = lines.take_while(|line| !line.trim().starts_with("test result:"));
    failed.fold(String::new(), |text, line| format!("{text}{run}: {line}\n"))
}

fn native(workspace: &Workspace, filter: &[&str]) -> Result<ExitCode> {
    let started = Instant::now();
    let text = step::output(Command::new(workspace.release().join(PROGRAM)).args(filter))?;
    print!("{text}");
    let tally = Tally::read(&text, 0);
    let run = Run { name: "this machine".to_owned(), tally, time: started.elapsed(), output: text };
    let good = report(&[run], filter.first().copied())?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn ensure_bpf_lsm() -> Result<()> {
    let file = "/sys/kernel/security/lsm";
    let modules = fs::read_to_string(file)
        .with_context(|| format!("cannot read {file}: is securityfs mounted? Without `--native` guests are used"))?;
    ensure!(
        modules.trim().split(',').any(|module| module == "bpf"),
        "this machine's kernel does not use BPF among its security modules ({}); without `--native` guests are used",
        modules.trim()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_said_again() {
        let output = "test a ... FAILED\n\nfailures:\n\n---- a ----\nno\n\n\nfailures:\n    a\n\ntest result: FAILED. 0 passed\n";
        let said = failures("6.1", output);
        assert!(said.contains("6.1: ---- a ----\n6.1: no\n") && said.contains("6.1:     a\n"), "{said}");
        assert!(!said.contains("test result"), "{said}");
        assert_eq!(failures("6.1", "test a ... ok\n\ntest result: ok. 1 passed\n"), "");
    }
}
