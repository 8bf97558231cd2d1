//! `plimsoll-guest-tests`: the tests that need a kernel with BPF among its security modules, a container runtime and the test
//! image at `/payload/image`. They share a kernel, an agent and a metrics port, so they run one after another.

#![expect(
    clippy::indexing_slicing,
    reason = "an index into a JSON value that lacks it gives null, and a test may panic"
)]

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

mod baseline;
mod bench;
mod budget;
mod bypass;
mod capacity;
mod compare;
mod container;
mod daemon;
mod demo;
mod enforcement;
mod faults;
mod files;
mod message;
mod names;
mod network;
mod no_bpf;
mod offer;
mod pods;
mod scale;
mod selftests;
mod stage;
mod stress;
mod tamper;
mod technique;
mod upheaval;

/// Runs the tests for a kernel without BPF LSM instead.
const NO_BPF: &str = "--no-bpf";
/// Runs what needs container runtimes with CRI instead.
const PODS: &str = "--pods";
/// Runs the bypass suite alone, with and without a policy.
const BYPASSES: &str = "--bypasses";

/// Begins the names of tests that run only if they are asked for.
const UPHEAVAL: &str = "upheaval";

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("demo") => told(demo::run()),
        Some("bench") => told(bench::run()),
        Some("compare") => told(compare::run(std::env::args().nth(2).as_deref())),
        _ => test(),
    }
}

fn told(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn test() -> ExitCode {
    let (choices, others): (Vec<String>, Vec<String>) =
        std::env::args().partition(|argument| [NO_BPF, PODS, BYPASSES].contains(&argument.as_str()));
    let mut arguments = Arguments::from_iter(&others);
    arguments.test_threads = Some(1);
    let tests = match choices.first().map(String::as_str) {
        Some(NO_BPF) => no_bpf::tests(),
        Some(PODS) => [pods::tests(), scale::tests()].into_iter().flatten().collect(),
        Some(_) => [bypass::baselines(), bypass::denials()].into_iter().flatten().collect(),
        // It takes two busy processors for ten minutes, so it is run where it is asked for.
        None if others.iter().any(|argument| argument.contains(UPHEAVAL)) => upheaval::tests(),
        None => all(),
    };
    if let Err(error) = offer::start() {
        println!("failed: {error:#}");
        return ExitCode::FAILURE;
    }
    let conclusion = libtest_mimic::run(&arguments, tests);
    bypass::print_results();
    conclusion.exit_code()
}

/// First what works without a policy, then what does not with one.
fn all() -> Vec<Trial> {
    let calm = [
        baseline::tests(),
        bypass::baselines(),
        enforcement::tests(),
        network::tests(),
        names::tests(),
        files::tests(),
    ];
    let trouble = [bypass::denials(), faults::tests(), capacity::tests(), tamper::tests()];
    calm.into_iter().chain(trouble).chain([budget::tests(), stress::tests(), selftests::tests()]).flatten().collect()
}

/// A test that fails with everything an error has to say.
fn trial(name: impl Into<String>, test: impl FnOnce() -> anyhow::Result<()> + Send + 'static) -> Trial {
    Trial::test(name, move || test().map_err(|error| format!("{error:#}").into()))
}
