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
    let mut differences = Vec::new();
    let mut program = "";
    for (without, with) in free.iter().zip(&monitored) {
        if without.starts_with("## ") && without.contains('/') {
            program = without;
        }
        if without != with {
            differences.push(format!("{program}: `{without}` without an agent, `{with}` when monitored"));
        }
    }
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    ensure!(free.len() == monitored.len(), "{} lines without an agent, {} when monitored", free.len(), monitored.len());
    let programs = free.iter().filter(|line| line.starts_with("## ") && line.contains('/')).count();
    let successes = free.iter().filter(|line| *line == "## ended with 0").count();
    println!(
        "selftests: {programs} programs, {successes} of them ended with 0, {} lines of results, all the same when monitored",
        free.len() - 2 * programs
    );
    ensure!(programs > 50 && successes > 30, "too few of them ran: {free:#?}");
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
    if line.starts_with("## ") || line.contains("Totals") {
        return line.to_owned();
    }
    // `ok 3 what was shown`
    let kept = if line.starts_with("ok ") || line.starts_with("not ok ") {
        line.find(|c: char| c.is_ascii_digit())
    } else {
        None
    };
    let number = kept.and_then(|start| line.get(start..)).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    let masked = line.replace(|letter: char| letter.is_ascii_hexdigit(), "#");
    format!("{number} {masked}")
}
