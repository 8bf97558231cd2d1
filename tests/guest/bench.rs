//! What enforcement costs: the same loops in a container without an agent, beside one, and under a policy.
//!
//! Meant for a guest whose clock counts instructions: a nanosecond there is one guest instruction.

use anyhow::{Context as _, Result, ensure};

use crate::{
    container::{ACTOR, Container, ContainerSpec},
    stage::{Stage, set_up},
    technique::files,
};

/// A loop of the actor's, by the name it has there, with how often it is run.
const LOOPS: [(&str, &str, &str, &str); 3] = [
    ("fork + exec + exit", "measure-fork-exec", "/usr/bin/true", "200"),
    ("open + close", "measure-open-close", "/usr/bin/true", "5000"),
    ("mmap(PROT_EXEC) + munmap", "measure-map-exec", "/usr/bin/true", "5000"),
];
const ROUNDS: usize = 3;

/// Prints a table in Markdown.
pub(crate) fn run() -> Result<()> {
    let free = Container::create(ContainerSpec::of_test_image("free")?)?;
    let without = measure_all(&free)?;
    let stage = set_up(false)?;
    let beside = measure_all(&free)?;
    let enforced = Container::create(stage.spec("enforced", "enforced")?)?;
    let under = measure_all(&enforced)?;
    println!("| operation | no agent | agent, no workload | ratio | enforced workload | ratio |");
    println!("|---|---:|---:|---:|---:|---:|");
    for (index, (name, ..)) in LOOPS.iter().enumerate() {
        let (a, b, c) = (without[index], beside[index], under[index]);
        println!("| {name} | {a} | {b} | {} | {c} | {} |", ratio(b, a), ratio(c, a));
    }
    file_rules(&stage, &enforced, &free, &without)
}

/// What file rules cost: the workload that has them, and those beside it.
fn file_rules(stage: &Stage, enforced: &Container, free: &Container, without: &[u64; LOOPS.len()]) -> Result<()> {
    let mut spec = stage.spec(files::FILES.name, files::FILES.name)?;
    (files::FILES.configure)(&mut spec);
    let ruled = Container::create(spec)?;
    let (inside, beside, outside) = (measure_all(&ruled)?, measure_all(enforced)?, measure_all(free)?);
    println!();
    println!("| operation | workload with file rules | ratio | workload beside it | ratio | no workload | ratio |");
    println!("|---|---:|---:|---:|---:|---:|---:|");
    for (index, (name, ..)) in LOOPS.iter().enumerate() {
        let (base, a, b, c) = (without[index], inside[index], beside[index], outside[index]);
        println!("| {name} | {a} | {} | {b} | {} | {c} | {} |", ratio(a, base), ratio(b, base), ratio(c, base));
    }
    Ok(())
}

/// The smallest of a few rounds: what disturbs a round only ever adds to it.
fn measure_all(container: &Container) -> Result<[u64; LOOPS.len()]> {
    let mut best = [u64::MAX; LOOPS.len()];
    for _ in 0..ROUNDS {
        for (best, (_, command, file, times)) in best.iter_mut().zip(LOOPS) {
            let output = container.exec(&[ACTOR, command, file, times])?;
            ensure!(output.status == 0, "{output:?}");
            let mean: u64 = output.stdout.trim().parse().with_context(|| format!("not a number: {output:?}"))?;
            *best = mean.min(*best);
        }
    }
    Ok(best)
}

/// Hundredths of a percent, with a sign.
fn ratio(value: u64, base: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let change = (value as f64 / base as f64 - 1.0) * 100.0;
    format!("{change:+.2} %")
}
