//! The kernel's own tests say the same in a container without an agent and in one that is monitored.

use std::collections::BTreeMap;

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
    echo \"## $folder/$test\"; timeout 300 ./$test 2>&1 < /dev/null; echo \"## ended with $?\"; done; cd ..; done";
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
    let free = by_program(&free);
    let monitored = by_program(&monitored);
    ensure!(free.keys().eq(monitored.keys()), "other programs ran: {:?} and {:?}", free.keys(), monitored.keys());
    let differences: Vec<String> = free
        .iter()
        .zip(monitored.values())
        .filter(|((_, without), with)| without != with)
        .map(|((program, without), with)| format!("{program}: without an agent {without:#?}, monitored {with:#?}"))
        .collect();
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    let (programs, lines) = (free.len(), free.values().flatten().count());
    let successes = free.values().filter(|lines| lines.last() == Some(&"ended with 0")).count();
    let results = lines - programs;
    println!(
        "selftests: {programs} programs, {successes} of them ended with 0, {results} lines of results, all the same when monitored"
    );
    ensure!(programs > 50 && successes > 30, "too few of them ran: {free:#?}");
    Ok(())
}

/// Each program's lines, the last of which says how it ended.
fn by_program(lines: &[String]) -> BTreeMap<&str, Vec<&str>> {
    let mut programs: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut program = "";
    for line in lines {
        match line.strip_prefix("## ") {
            Some(name) if name.contains('/') => program = name,
            mark => programs.entry(program).or_default().push(mark.unwrap_or(line)),
        }
    }
    programs
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
