//! Under a policy, what is listed runs, what is not is denied, and the collector hears why.

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;

use crate::{
    bypass::enforced,
    container::{ACTOR, Container},
    daemon::get,
    stage::stage,
    technique::ENFORCED,
    trial,
};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        trial("enforced::listed_programs_run", listed_programs_run),
        trial("enforced::denials_explain_themselves", denials_explain_themselves),
        trial("enforced::a_monitored_container_is_only_reported", a_monitored_container_is_only_reported),
        trial("enforced::an_unselected_container_is_counted", an_unselected_container_is_counted),
        trial("enforced::the_doctor_agrees", the_doctor_agrees),
    ]
}

fn listed_programs_run() -> Result<()> {
    let stage = stage()?;
    let container = enforced(&stage, &ENFORCED)?;
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
    let container = enforced(&stage, &ENFORCED)?;
    let before = stage.denials()?;
    let output = container.exec(&["/bin/sh", "-c", "cat /usr/bin/true > /usr/bin/tac; /usr/bin/tac"])?;
    ensure!(output.status == 126, "{output:?}");
    let event =
        stage.event_after(before, ENFORCED.name, "verdict=deny", |event| event["file"]["path"] == "/usr/bin/tac")?;
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
    let before = stage.denials()?;
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
    stage.agent.metric_reaches(SERIES, before + 1)?;
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
