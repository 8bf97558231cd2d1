//! What happens when something is missing, full, wrong or dead. `docs/fail-modes.md` names these tests.

use anyhow::{Result, bail, ensure};
use libtest_mimic::Trial;

use crate::{
    container::{ACTOR, Container},
    daemon::wait_for,
    stage::{policy, stage},
    trial,
};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        trial("faults::without_an_agent_no_container_starts", without_an_agent_no_container_starts),
        trial("faults::without_an_sbom_no_container_starts", without_an_sbom_no_container_starts),
        trial("faults::a_bad_reload_keeps_the_policy", a_bad_reload_keeps_the_policy),
        trial("faults::a_reload_switches_running_workloads", a_reload_switches_running_workloads),
        trial("faults::a_reload_during_the_start_is_not_lost", a_reload_during_the_start_is_not_lost),
        trial("faults::an_ended_container_frees_its_workload", an_ended_container_frees_its_workload),
        trial("faults::a_task_cannot_leave_by_its_cgroup", a_task_cannot_leave_by_its_cgroup),
        trial("faults::2000_denials_with_a_full_ring_and_a_killed_agent", flood_and_agent_death),
    ]
}

/// A script that drops a program and runs it; it ends with 126 if the shell was not allowed to.
const DROP_AND_RUN: &[&str] = &["/bin/sh", "-c", "cp /usr/bin/true /tmp/dropped && /tmp/dropped"];
const SHELL_CANNOT_EXECUTE: i32 = 126;

fn refusal(outcome: Result<Container>) -> Result<String> {
    match outcome {
        Ok(_) => bail!("the container started"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

fn without_an_agent_no_container_starts() -> Result<()> {
    let mut spec = stage()?.spec("agentless", "enforced")?;
    spec.agent_socket = "/run/nowhere/agent.sock".into();
    let said = refusal(Container::create(spec))?;
    ensure!(said.contains("cannot reach the agent at `/run/nowhere/agent.sock`"), "{said}");
    Ok(())
}

fn without_an_sbom_no_container_starts() -> Result<()> {
    let mut spec = stage()?.spec("sbomless", "enforced")?;
    let digest = format!("sha256:{}", "0".repeat(64));
    spec.annotations.insert(crate::container::DIGEST_ANNOTATION.to_owned(), digest);
    let said = refusal(Container::create(spec))?;
    ensure!(said.contains("no SBOM for image") && said.contains("sha256-0000"), "{said}");
    Ok(())
}

fn a_bad_reload_keeps_the_policy() -> Result<()> {
    const REJECTED: &str = "plimsoll_policy_reloads_rejected_total";
    let stage = stage()?;
    let container = Container::create(stage.spec("badreload", "enforced")?)?;
    let before = stage.agent.metric(REJECTED)?;
    stage.node.write_policy("wrong.yaml", "kind: EnforcementPolicy\nspce: {}\n")?;
    stage.agent.daemon.signal(libc::SIGHUP)?;
    let rejected = stage.agent.metric_reaches(REJECTED, before + 1);
    std::fs::remove_file(stage.node.directory.join("policies/wrong.yaml"))?;
    rejected?;
    ensure!(stage.agent.daemon.log().contains("wrong.yaml:2:1"), "the log does not name the place");
    let output = container.exec(DROP_AND_RUN)?;
    ensure!(output.status == SHELL_CANNOT_EXECUTE, "{output:?}");
    Ok(())
}

fn a_reload_switches_running_workloads() -> Result<()> {
    let stage = stage()?;
    stage.node.write_policy("switched.yaml", &policy("switched-suite", "Monitor"))?;
    stage.agent.reload()?;
    let container = Container::create(stage.spec("switched", "switched-suite")?)?;
    let monitored = container.exec(DROP_AND_RUN)?;
    ensure!(monitored.status == 0, "{monitored:?}");
    stage.node.write_policy("switched.yaml", &policy("switched-suite", "Enforce"))?;
    stage.agent.reload()?;
    let enforced = container.exec(DROP_AND_RUN)?;
    ensure!(enforced.status == SHELL_CANNOT_EXECUTE, "{enforced:?}");
    std::fs::remove_file(stage.node.directory.join("policies/switched.yaml"))?;
    stage.agent.reload()?;
    let orphaned = container.exec(DROP_AND_RUN)?;
    ensure!(orphaned.status == SHELL_CANNOT_EXECUTE, "a policy that went away freed a running workload: {orphaned:?}");
    Ok(())
}

fn a_reload_during_the_start_is_not_lost() -> Result<()> {
    let mut stage = stage()?;
    stage.agent.daemon.kill()?;
    stage.agent = stage.node.launch_agent()?;
    // It waits for signals before it listens, and listens before it loads its programs.
    stage.agent.wait_until_it_listens()?;
    stage.agent.daemon.signal(libc::SIGHUP)?;
    stage.agent.wait_until_ready()?;
    stage.agent.metric_reaches("plimsoll_policy_reloads_total", 1).map(drop)
}

fn an_ended_container_frees_its_workload() -> Result<()> {
    const WORKLOADS: &str = "plimsoll_workloads";
    let stage = stage()?;
    let container = Container::create(stage.spec("ended", "enforced")?)?;
    let during = stage.agent.metric(WORKLOADS)?;
    drop(container);
    wait_for("the workload to go", || {
        let now = stage.agent.metric(WORKLOADS)?;
        ensure!(now + 1 == during, "{now} workloads, {during} before");
        Ok(())
    })
}

/// Whoever can write to another cgroup's `cgroup.procs` could leave its container's cgroup; the label goes along.
fn a_task_cannot_leave_by_its_cgroup() -> Result<()> {
    let stage = stage()?;
    let mut spec = stage.spec("escape", "cgroup-writer")?;
    spec.mounts.push(serde_json::json!({
        "destination": "/host-cgroup", "type": "bind", "source": "/sys/fs/cgroup", "options": ["rbind", "rw"]
    }));
    let container = Container::create(spec)?;
    let script = "cp /usr/bin/true /tmp/a; echo 0 > /host-cgroup/cgroup.procs && /usr/bin/grep -q '^0::/\\(../\\)*$' /proc/self/cgroup && /tmp/a";
    let output = container.exec(&["/bin/sh", "-c", script])?;
    ensure!(output.status == SHELL_CANNOT_EXECUTE, "{output:?}");
    Ok(())
}

/// The ring is filled while the agent is stopped; then the agent is killed, and the flood goes on.
fn flood_and_agent_death() -> Result<()> {
    const TRIES: u64 = 1000;
    let mut stage = stage()?;
    let container = Container::create(stage.spec("flood", "enforced")?)?;
    let prepared = container.exec(&["/bin/sh", "-c", "cp /usr/bin/true /tmp/flood"])?;
    ensure!(prepared.status == 0, "{prepared:?}");
    let (denied, lost) = (stage.agent.kernel("exec_denied")?, stage.agent.kernel("denials_lost")?);
    let flood = || -> Result<()> {
        let output = container.exec(&[ACTOR, "fork-exec-loop", "/tmp/flood", &TRIES.to_string()])?;
        ensure!(output.stdout == format!("succeeded=0 eperm={TRIES} other=0\n"), "{output:?}");
        Ok(())
    };
    stage.agent.daemon.signal(libc::SIGSTOP)?;
    flood()?;
    stage.agent.daemon.kill()?;
    flood()?;
    stage.agent = stage.node.start_agent()?;
    let denied = stage.agent.kernel("exec_denied")? - denied;
    let lost = stage.agent.kernel("denials_lost")? - lost;
    // The new agent's own canary is one more denial.
    ensure!(denied == 2 * TRIES + 1, "{denied} denials counted");
    ensure!(lost > 0, "the ring never was full");
    let delivered = 2 * TRIES - lost;
    let stored = wait_for("every event that was not lost", || {
        let stored = stage.collector.count("workload=flood&verdict=deny&path=/tmp/flood")? as u64;
        ensure!(stored >= delivered, "{stored} of {delivered} events stored");
        Ok(stored)
    })?;
    ensure!(stored == delivered, "{stored} events stored, but only {delivered} were not lost");
    println!("flood: {} denied, 0 succeeded, {stored} events delivered, {lost} lost and counted", 2 * TRIES);
    Ok(())
}
