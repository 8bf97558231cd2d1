//! Policies are edited, agents are killed and replaced, while two processes try without pause what is denied: there must be no
//! moment at which it works.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use libtest_mimic::Trial;

use crate::{
    container::{ACTOR, Container, Output},
    daemon::wait_for,
    stage::{Stage, policy_with, stage},
    trial,
};

const EDITS: u64 = 1000;
/// One edit in so many is followed by the agent's death.
const EDITS_PER_KILL: u64 = 50;
/// One edit in so many is followed by an upgrade to another file.
const EDITS_PER_UPGRADE: u64 = 200;
/// One edit in so many is a document that must be refused.
const EDITS_PER_MISTAKE: u64 = 10;

/// A program that is on no list, and an address that no rule allows.
const DROPPED: &str = "/tmp/dropped";
const ADDRESS: &str = "127.0.0.1:9";
const STOP: &str = "/tmp/stop";
const SUITE: &str = "upheaval";
const FILE: &str = "upheaval.yaml";

pub(crate) fn tests() -> Vec<Trial> {
    vec![trial("upheaval::1000_edits_20_kills_5_upgrades_and_no_gap", no_gap)]
}

fn no_gap() -> Result<()> {
    let mut stage = stage()?;
    works_without_a_policy()?;
    stage.node.write_policy(FILE, &document(0))?;
    stage.agent.reload()?;
    let container = Container::create(stage.spec(SUITE, SUITE)?)?;
    ensure!(container.exec(&["/bin/cp", "/usr/bin/true", DROPPED])?.status == 0);
    let tallies = thread::scope(|scope| {
        let container = &container;
        let attackers: Vec<_> = (0..2).map(|_| scope.spawn(|| container.exec(&attack()))).collect();
        let outcome = upheave(&mut stage);
        // Even if that failed, or the attackers would go on for ever.
        let stopped = container.exec(&["/usr/bin/touch", STOP]);
        let tallies: Result<Vec<_>> = attackers
            .into_iter()
            .map(|attacker| attacker.join().map_err(|_panic| anyhow!("an attacker panicked"))?)
            .collect();
        outcome.and(stopped).and(tallies)
    })?;
    let mut denied = 0;
    for output in &tallies {
        let tally = output.stdout.trim();
        let number = tally.strip_prefix("executed=0 connected=0 denied=");
        let number: u64 = number.with_context(|| format!("there was a gap: {output:?}"))?.parse()?;
        ensure!(number > 100, "hardly anything was tried: {tally}");
        denied += number;
    }
    println!(
        "{EDITS} edits, {} of them mistakes, {} kills, {} upgrades: {denied} denied, 0 succeeded",
        EDITS / EDITS_PER_MISTAKE,
        EDITS / EDITS_PER_KILL,
        EDITS / EDITS_PER_UPGRADE
    );
    fs::remove_file(stage.node.directory.join("policies").join(FILE))?;
    stage.agent.reload()
}

fn attack() -> [&'static str; 5] {
    [ACTOR, "deny-loop", DROPPED, ADDRESS, STOP]
}

/// The same attempts in a container of nobody's: none is denied.
fn works_without_a_policy() -> Result<()> {
    let container = Container::create(crate::container::ContainerSpec::of_test_image("peace")?)?;
    ensure!(container.exec(&["/bin/cp", "/usr/bin/true", DROPPED])?.status == 0);
    let outputs: Result<Vec<Output>> = thread::scope(|scope| {
        let attacker = scope.spawn(|| container.exec(&attack()));
        let stopped = container.exec(&["/usr/bin/touch", STOP]);
        let tally = attacker.join().map_err(|_panic| anyhow!("the attacker panicked"))?;
        stopped.and(tally).map(|output| vec![output])
    });
    for output in outputs? {
        ensure!(output.stdout.trim().ends_with("denied=0"), "{output:?}");
    }
    Ok(())
}

fn upheave(stage: &mut Stage) -> Result<()> {
    let (mut kills, mut upgrades) = (0, 0);
    for edit in 1..=EDITS {
        let before = reloads(stage)?;
        let text = if edit % EDITS_PER_MISTAKE == 0 { "spec: [\n".to_owned() } else { document(edit) };
        stage.node.write_policy(FILE, &text)?;
        stage.agent.daemon.signal(libc::SIGHUP)?;
        let read = wait_for("an edit to be read", || {
            ensure!(reloads(stage)? > before, "not yet");
            Ok(())
        });
        if let Err(error) = read {
            stage.agent.daemon.ensure_alive()?;
            return Err(error.context(format!("after {edit} edits")));
        }
        if edit % EDITS_PER_UPGRADE == 0 {
            upgrades += 1;
            // What does not parse would keep the next agent from starting.
            stage.node.write_policy(FILE, &document(edit))?;
            upgrade(stage, upgrades)?;
        } else if edit % EDITS_PER_KILL == EDITS_PER_KILL / 2 {
            kills += 1;
            stage.agent.daemon.kill()?;
            stage.agent = stage.node.start_agent()?;
        }
    }
    ensure!(
        kills == EDITS / EDITS_PER_KILL && upgrades == EDITS / EDITS_PER_UPGRADE,
        "{kills} kills, {upgrades} upgrades"
    );
    Ok(())
}

/// Ends the agent and starts another file, as a package manager or a rollout does.
fn upgrade(stage: &mut Stage, number: u64) -> Result<()> {
    let next: PathBuf = Path::new("/run").join(format!("plimsoll-agent-{number}"));
    fs::copy("/payload/bin/plimsoll-agent", &next)?;
    stage.agent.daemon.signal(libc::SIGTERM)?;
    stage.agent.daemon.wait()?;
    stage.agent = stage.node.launch_agent_from(&next)?;
    stage.agent.wait_until_ready()?;
    Ok(fs::remove_file(next)?)
}

/// Policies that were taken or refused since the agent started.
fn reloads(stage: &Stage) -> Result<u64> {
    let taken = stage.agent.metric("plimsoll_policy_reloads_total")?;
    Ok(taken + stage.agent.metric("plimsoll_policy_reloads_rejected_total")?)
}

/// A policy that is another one with each edit, and denies the same.
fn document(edit: u64) -> String {
    let port = 1000 + edit;
    let more = if edit.is_multiple_of(2) { "  anonymousExec: Allow\n" } else { "" };
    policy_with(
        SUITE,
        "Enforce",
        &format!(
            "  network:\n    loopback: Deny\n    egress:\n      - cidr: 192.0.2.0/24\n        ports: [{port}]\n{more}"
        ),
    )
}
