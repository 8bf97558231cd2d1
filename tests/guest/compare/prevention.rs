//! What each system lets through of the ways around a policy that make sense for both.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{
    RESULT,
    peer::{self, Peer, Strictness},
};
use crate::{
    container::{Container, ContainerSpec},
    stage::set_up,
    technique::{DENIED, ENFORCED, Technique, techniques},
};

/// Areas that fapolicyd has something to say about, or that code comes in by. Left out are rules for files and networks, operations and
/// capabilities, which it does not have, and names that mean something else, which it was not made for.
const AREAS: [&str; 7] = [
    "Files that were written",
    "Code loaded into a running process",
    "Libraries that listed programs look for",
    "Files of other filesystems",
    "Executable memory",
    "Code written into processes",
    "Interpreters fed with data",
];
/// What else the issue of this comparison names.
const MORE: [&str; 7] = [
    "opened-by-ring",
    "exchanged",
    "removed-and-made-again",
    "listed-linked",
    "listed-moved",
    "memory-file-by-path",
    "memory-file-script",
];
const MESSAGE: &str = "Operation not permitted";

/// Prints a result for each technique.
pub(super) fn run() -> Result<()> {
    let techniques: Vec<(&str, Technique)> = techniques()
        .filter(|(area, technique)| AREAS.contains(area) || MORE.contains(&technique.name))
        .filter(|(_, technique)| technique.suite.name == ENFORCED.name)
        .collect();
    let mut results: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    {
        let free = Container::create(ContainerSpec::of_test_image("nothing")?)?;
        attempt_all("nothing", &free, &techniques, &mut results)?;
        ensure!(
            results.values().all(|results| *results == ["works"]),
            "not all work where nothing is in force: {results:?}"
        );
    }
    {
        let stage = set_up(false)?;
        let enforced = Container::create(stage.spec(ENFORCED.name, ENFORCED.name)?)?;
        attempt_all("Plimsoll", &enforced, &techniques, &mut results)?;
        drop(enforced);
        stage.remove()?;
    }
    for strictness in [Strictness::Strictest, Strictness::Recommended] {
        let container = Container::create(ContainerSpec::of_test_image("peer")?)?;
        let peer = Peer::start(strictness, &container)?;
        attempt_all(&format!("fapolicyd, {strictness:?}"), &container, &techniques, &mut results)?;
        // It was there all the time.
        peer::denies_a_dropped_program(&container)?;
        drop(peer);
    }
    for (area, technique) in &techniques {
        println!("{RESULT}{}", row(area, technique, &results[technique.name]));
    }
    Ok(())
}

fn row(area: &str, technique: &Technique, results: &[&str]) -> Value {
    json!({"kind": "prevention", "area": area, "name": technique.name, "what": technique.what, "results": results})
}

fn attempt_all<'a>(
    system: &str,
    container: &Container,
    techniques: &[(&str, Technique)],
    results: &mut BTreeMap<&'a str, Vec<&'a str>>,
) -> Result<()> {
    for (_, technique) in techniques {
        let result = attempt(container, technique)?;
        println!("{system:<25} {:<35} {result}", technique.name);
        results.entry(technique.name).or_default().push(result);
    }
    Ok(())
}

/// A denial may come before the attempt proper: where a file may not even be opened, or copied.
fn attempt(container: &Container, technique: &Technique) -> Result<&'static str> {
    let output = match technique.attempt(container) {
        Ok(output) => output,
        Err(error) if format!("{error:#}").contains(MESSAGE) => return Ok("denied"),
        Err(error) => return Err(error),
    };
    Ok(match output.status {
        0 => "works",
        DENIED => "denied",
        _ if [&output.stderr, &output.stdout].iter().any(|text| text.contains(MESSAGE)) => "denied",
        _ => {
            println!("{output:?}");
            "fails"
        }
    })
}
