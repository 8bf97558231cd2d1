//! The kernel's own tests say the same in a container without an agent and in one that is monitored.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::{
    container::{Container, ContainerSpec},
    stage::stage,
    trial,
};

/// Runs every test from a copy, since some write beside themselves. A line before each and one after it with its exit status.
const RUN_ALL: &str = "echo 24 > /proc/sys/vm/nr_hugepages; cp -r /payload/selftests /tmp/selftests; cd /tmp/selftests; \
    for folder in *; do cd $folder; for test in *; do \
    case $test in script|subdir|execveat.*|Makefile) continue;; esac; \
    echo \"## $folder/$test\"; timeout 60 ./$test 2>&1 < /dev/null; echo \"## ended with $?\"; done; cd ..; done";
/// What a line that is a result has in it.
const RESULTS: &[&str] = &["ok ", "OK", "PASS", "FAIL", "SKIP", "Totals", "##"];

pub(crate) fn tests() -> Vec<Trial> {
    vec![trial("selftests::monitoring_changes_no_result", monitoring_changes_no_result)]
}

fn monitoring_changes_no_result() -> Result<()> {
    let free = results(&Container::create(ContainerSpec::of_test_image("selftests-free")?)?)?;
    let stage = stage()?;
    let before = stage.denials()?;
    let monitored = results(&Container::create(stage.spec("selftests-monitored", "monitored")?)?)?;
    ensure!(stage.denials()? > before, "the monitored container was not looked at");
    for (number, (without, with)) in free.iter().zip(&monitored).enumerate() {
        let program = free.iter().take(number + 1).rev().find(|line| line.starts_with("## ") && line.contains('/'));
        ensure!(without == with, "{program:?} said `{without}` without an agent, and `{with}` when monitored");
    }
    ensure!(free.len() == monitored.len(), "{} lines without an agent, {} when monitored", free.len(), monitored.len());
    let count = |part: &str| free.iter().filter(|line| line.contains(part)).count();
    println!(
        "selftests: {} programs, {} of them ended with 0, {} lines of results, all the same when monitored",
        count("/"),
        count("## ended with 0"),
        free.len()
    );
    ensure!(count("/") > 50 && count("## ended with 0") > 30, "too few of them ran: {free:#?}");
    Ok(())
}

/// Lines with results; what may be an address, a process id or a time is made alike in all but those that count.
fn results(container: &Container) -> Result<Vec<String>> {
    let output = container.exec(&["/bin/sh", "-c", RUN_ALL])?;
    ensure!(output.status == 0, "{output:?}");
    let is_result = |line: &&str| RESULTS.iter().any(|mark| line.contains(mark));
    Ok(output.stdout.lines().filter(is_result).map(alike).collect())
}

fn alike(line: &str) -> String {
    if line.starts_with("## ") || line.starts_with("ok ") || line.starts_with("not ok ") || line.contains("Totals") {
        return line.to_owned();
    }
    line.replace(|letter: char| letter.is_ascii_hexdigit(), "#")
}
