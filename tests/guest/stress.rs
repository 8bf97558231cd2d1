//! stress-ng in a workload: nothing that is listed is denied, and every event arrives or is counted as lost.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::{
    container::{ACTOR, Container},
    daemon::wait_for,
    stage::{Stage, stage},
    trial,
};

/// Stressors with what bounds them. `unshare` and `clone` make user namespaces, among others.
const CLASSES: &[(&str, &[&str])] = &[
    ("exec", &["--exec-ops", "60", "--exec-max", "8"]),
    ("fork", &["--fork-ops", "300"]),
    ("mmap", &["--mmap-ops", "10", "--mmap-bytes", "4M"]),
    ("mprotect", &["--mprotect-ops", "100"]),
    ("memfd", &["--memfd-ops", "10", "--memfd-bytes", "4M", "--memfd-fds", "8"]),
    ("io-uring", &["--io-uring-ops", "40"]),
    ("sock", &["--sock-ops", "5"]),
    ("unshare", &["--unshare-ops", "20"]),
    ("clone", &["--clone-ops", "40", "--clone-max", "8"]),
];
/// At least so many executions of listed programs a run has.
const LISTED_EXECUTIONS: u64 = 50;
/// Why a deviation of stress-ng's own making is one: it makes memory of all kinds executable, and executes what it has made.
const OWN_DOING: &[&str] = &["written", "foreign", "anonymous-exec", "modified-code", "not-listed"];

pub(crate) fn tests() -> Vec<Trial> {
    vec![trial("stress::nothing_listed_is_denied_and_every_event_is_accounted_for", under_stress)]
}

/// Kernel counters at one moment.
#[derive(Debug, Clone, Copy)]
struct Counters {
    executions: u64,
    deviating_executions: u64,
    deviations: u64,
    deviations_lost: u64,
    telemetry_lost: u64,
}

impl Counters {
    fn read(stage: &Stage) -> Result<Self> {
        let kernel = |counter| stage.agent.kernel(counter);
        Ok(Self {
            executions: kernel("exec_checked")?,
            deviating_executions: kernel("exec_denied")? + kernel("exec_audited")?,
            deviations: stage.denials()?,
            deviations_lost: kernel("denials_lost")?,
            telemetry_lost: kernel("telemetry_lost")?,
        })
    }

    fn since(self, before: Self) -> Self {
        Self {
            executions: self.executions - before.executions,
            deviating_executions: self.deviating_executions - before.deviating_executions,
            deviations: self.deviations - before.deviations,
            deviations_lost: self.deviations_lost - before.deviations_lost,
            telemetry_lost: self.telemetry_lost - before.telemetry_lost,
        }
    }
}

/// What a run in one mode left.
struct Outcome {
    /// Exit status of each stressor.
    ends: BTreeMap<&'static str, i32>,
    /// Hook, reason and file of every deviation.
    deviations: BTreeSet<(String, String, String)>,
}

fn under_stress() -> Result<()> {
    let stage = stage()?;
    let monitored = run(&stage, "stress-monitored", "monitored", "audit")?;
    let enforced = run(&stage, "stress-enforced", "stressed", "deny")?;
    for (hook, reason, path) in &enforced.deviations {
        println!("stress: denied {hook} {reason} {path}");
    }
    for (class, end) in &monitored.ends {
        ensure!(*end == 0, "{class} ended with {end} although nothing was denied");
    }
    // Some of the many reports may be lost, but none of few kinds is reported just once.
    let reported: BTreeSet<_> = monitored.deviations.iter().map(|(hook, reason, _)| (hook, reason)).collect();
    let new: Vec<_> =
        enforced.deviations.iter().filter(|(hook, reason, _)| !reported.contains(&(hook, reason))).collect();
    ensure!(new.is_empty(), "denied, but not reported where nothing is denied: {new:?}");
    for (hook, reason, path) in &enforced.deviations {
        ensure!(OWN_DOING.contains(&reason.as_str()), "{hook} of {path} was denied, {reason}");
        ensure!(
            hook != "exec" || reason == "written" || reason == "foreign",
            "execution of {path} was denied, {reason}"
        );
    }
    for (class, end) in &enforced.ends {
        ensure!(*end == 0, "{class} ended with {end} under enforcement");
    }
    Ok(())
}

/// Runs every class in a container of its own, and accounts for every event.
fn run(stage: &Stage, id: &str, suite: &str, verdict: &str) -> Result<Outcome> {
    let before = Counters::read(stage)?;
    let container = Container::create(stage.spec(id, suite)?)?;
    let ends = CLASSES
        .iter()
        .map(|(class, bounds)| Ok((*class, stressed(&container, class, bounds)?)))
        .collect::<Result<BTreeMap<&str, i32>>>()?;
    // Executions go on until the last of its processes is gone.
    drop(container);
    let counted = Counters::read(stage)?.since(before);
    let deviations = account(stage, id, verdict, counted)?;
    Ok(Outcome { ends, deviations })
}

/// Runs one class, which must not be one that stress-ng skips. Answers its exit status; what it has to say if that is not 0.
fn stressed(container: &Container, class: &str, bounds: &[&str]) -> Result<i32> {
    let stressor = format!("--{class}");
    // Not as root, as whom stress-ng does not execute anything.
    let mut command =
        vec![ACTOR, "as-user", "65534", "exec", "/usr/bin/stress-ng", "--metrics-brief", "--no-rand-seed"];
    command.extend(["--temp-path", "/tmp", "--timeout", "15", &stressor, "1"]);
    command.extend(bounds);
    let output = container.exec(&command)?;
    let said = format!("{}{}", output.stdout, output.stderr);
    if output.status != 0 {
        let lines: BTreeSet<&str> =
            said.lines().map(|line| line.split_once("] ").map_or(line, |(_, rest)| rest)).collect();
        println!("stress: {class} ended with {}: {lines:?}", output.status);
        return Ok(output.status);
    }
    let operations = said.lines().filter_map(|line| line.split_once("] ")?.1.strip_prefix(class));
    let operations = operations.filter_map(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).sum::<u64>();
    ensure!(operations > 0, "{class} did nothing: {said}");
    Ok(0)
}

/// Waits until what arrived and what was lost is what happened, exactly.
fn account(stage: &Stage, id: &str, verdict: &str, counted: Counters) -> Result<BTreeSet<(String, String, String)>> {
    let allowed = counted.executions - counted.deviating_executions;
    let expected = (counted.deviations - counted.deviations_lost, allowed - counted.telemetry_lost);
    let arrived = wait_for("every event of the stressed workload", || {
        let deviations = stage.collector.count(&format!("workload={id}&verdict={verdict}"))? as u64;
        let telemetry = stage.collector.count(&format!("workload={id}&verdict=allow"))? as u64;
        ensure!(deviations >= expected.0 && telemetry >= expected.1, "{:?} of {expected:?}", (deviations, telemetry));
        Ok((deviations, telemetry))
    })?;
    ensure!(arrived == expected, "{arrived:?} events arrived, not {expected:?}: {counted:?}");
    ensure!(allowed > LISTED_EXECUTIONS, "only {allowed} executions of listed programs");
    println!(
        "stress: {id}: {} deviations, {} delivered, {} lost; {allowed} allowed executions, {} delivered, {} lost",
        counted.deviations, arrived.0, counted.deviations_lost, arrived.1, counted.telemetry_lost
    );
    let mut kinds = BTreeSet::new();
    stage.collector.each(&format!("workload={id}&verdict={verdict}"), |event| {
        kinds.insert(kind(event));
    })?;
    Ok(kinds)
}

fn kind(event: &Value) -> (String, String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    // Names of temporary files have numbers in them.
    let path = text(&event["file"]["path"]).replace(|letter: char| letter.is_ascii_digit(), "#");
    let short = path.chars().fold(String::new(), |mut short, letter| {
        if letter != '#' || !short.ends_with('#') {
            short.push(letter);
        }
        short
    });
    (text(&event["hook"]), text(&event["reason"]), short)
}
