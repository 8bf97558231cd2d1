//! Under a policy, nothing of what the baseline shows to work does, and the collector hears why.

use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, ensure};
use libtest_mimic::Trial;

use crate::{
    container::{ACTOR, Container},
    daemon::get,
    stage::{Stage, stage},
    technique::{DENIED, Technique, techniques},
    trial,
};

/// The container that most tests here act in.
const ENFORCED: &str = "enforced";

pub(crate) fn tests() -> Vec<Trial> {
    let ordinary = [
        trial("enforced::listed_programs_run", listed_programs_run),
        trial("enforced::denials_explain_themselves", denials_explain_themselves),
        trial("enforced::a_monitored_container_is_only_reported", a_monitored_container_is_only_reported),
        trial("enforced::an_unselected_container_is_counted", an_unselected_container_is_counted),
        trial("enforced::the_doctor_agrees", the_doctor_agrees),
    ];
    let denials = techniques()
        .into_iter()
        .map(|technique| trial(format!("denied::{}", technique.name), move || is_denied(&technique)));
    ordinary.into_iter().chain(denials).collect()
}

/// The shared container; it lives until the tests end.
fn enforced(stage: &Stage) -> Result<&'static Container> {
    static CONTAINER: OnceLock<Result<Container, String>> = OnceLock::new();
    let created = CONTAINER.get_or_init(|| {
        let created = stage.spec(ENFORCED, "enforced").and_then(Container::create);
        created.map_err(|error| format!("{error:#}"))
    });
    created.as_ref().map_err(|error| anyhow!("the container did not start: {error}"))
}

fn is_denied(technique: &Technique) -> Result<()> {
    let stage = stage()?;
    let container = enforced(&stage)?;
    let before = stage.last_sequence()?;
    let output = technique.attempt(container)?;
    ensure!(output.status == DENIED, "it was not denied: {output:?}");
    let query = format!("verdict=deny&reason={}", technique.reason);
    let event = stage.event_after(before, ENFORCED, &query, |_| true)?;
    ensure!(event["policy"]["name"] == "enforced", "{event}");
    Ok(())
}

fn listed_programs_run() -> Result<()> {
    let stage = stage()?;
    let container = enforced(&stage)?;
    for command in [
        &["/bin/ls", "/"][..],
        &["/bin/sh", "-c", "id && cat /etc/debian_version | tr a-z A-Z"],
        &["/usr/bin/python3", "-c", "print(6 * 7)"],
        &[ACTOR, "hello"],
        &[ACTOR, "map-exec", "/usr/bin/true"],
        &[ACTOR, "protect-exec", "/usr/bin/true"],
    ] {
        let output = container.exec(command)?;
        ensure!(output.status == 0, "{command:?} was kept from running: {output:?}");
    }
    let event = crate::daemon::wait_for("telemetry", || {
        let events = stage.collector.events("workload=enforced&verdict=allow&path=python3")?;
        events.first().cloned().context("no event of the interpreter yet")
    })?;
    ensure!(event["package"]["name"].as_str().is_some_and(|name| name.starts_with("python3")), "{event}");
    ensure!(event["evidence"] == "sbom-digest", "{event}");
    Ok(())
}

fn denials_explain_themselves() -> Result<()> {
    let stage = stage()?;
    let container = enforced(&stage)?;
    let before = stage.last_sequence()?;
    let output = container.exec(&["/bin/sh", "-c", "cat /usr/bin/true > /usr/bin/tac; /usr/bin/tac"])?;
    ensure!(output.status == 126, "{output:?}");
    let event = stage.event_after(before, ENFORCED, "verdict=deny", |event| event["file"]["path"] == "/usr/bin/tac")?;
    for (found, expected) in [
        (&event["hook"], "exec"),
        (&event["reason"], "written"),
        (&event["file"]["origin"], "copied-up"),
        (&event["package"]["name"], "coreutils"),
        (&event["evidence"], "changed"),
        (&event["policy"]["name"], "enforced"),
        (&event["mode"], "enforce"),
        (&event["process"]["comm"], "sh"),
        (&event["node"], "guest"),
    ] {
        ensure!(found == expected, "{found} should be {expected}: {event}");
    }
    for digest in [&event["sbom_digest"], &event["image"]["digest"], &event["policy"]["generation"]] {
        ensure!(digest.as_str().is_some_and(|text| text.contains(|digit: char| digit.is_ascii_hexdigit())), "{event}");
    }
    ensure!(event["process"]["ancestors"].as_array().is_some_and(|ancestors| !ancestors.is_empty()), "{event}");
    Ok(())
}

fn a_monitored_container_is_only_reported() -> Result<()> {
    let stage = stage()?;
    let before = stage.last_sequence()?;
    let container = Container::create(stage.spec("monitored", "monitored")?)?;
    let output = container.exec(&["/bin/sh", "-c", "cp /usr/bin/true /tmp/a && /tmp/a"])?;
    ensure!(output.status == 0, "{output:?}");
    let event = stage.event_after(before, "monitored", "verdict=audit", |event| event["file"]["path"] == "/tmp/a")?;
    ensure!(event["reason"] == "written" && event["mode"] == "monitor", "{event}");
    Ok(())
}

fn an_unselected_container_is_counted() -> Result<()> {
    const SERIES: &str = "plimsoll_admissions_total{outcome=\"Unselected\"}";
    let stage = stage()?;
    let before = stage.agent.metric(SERIES).unwrap_or(0);
    let container = Container::create(stage.spec("unselected", "nobodys")?)?;
    let output = container.exec(&["/bin/sh", "-c", "cp /usr/bin/true /tmp/a && /tmp/a"])?;
    ensure!(output.status == 0, "{output:?}");
    stage.metric_reaches(SERIES, before + 1)?;
    Ok(())
}

fn the_doctor_agrees() -> Result<()> {
    let _stage = stage()?;
    let output = std::process::Command::new("/payload/bin/plimsoll").arg("doctor").output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    ensure!(said.contains("ok    denial:") && said.ends_with("this node can enforce\n"), "{said}");
    ensure!(get(([127, 0, 0, 1], 9464).into(), "/readyz")?.starts_with("ready"));
    Ok(())
}
