//! Tables that are full, memory that is refused, an agent that stands still. `docs/fail-modes.md` names these tests.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;

use crate::{
    container::{ACTOR, Container, image_digest},
    daemon::{Agent, Node, wait_for},
    stage::{SBOM, policy_with, spec_for, stage},
    technique::Kernels,
    trial,
};

const CGROUPS: &str = "/sys/fs/cgroup";
/// A script that drops a program and runs it; it ends with 126 if the shell was not allowed to.
const DROP_AND_RUN: &[&str] = &["/bin/sh", "-c", "cp /usr/bin/true /tmp/dropped && /tmp/dropped"];
const SHELL_CANNOT_EXECUTE: i32 = 126;
/// Lets a workload that is given the cgroup filesystem use it.
const MOVABLE: &str = "  hardening:\n    kernelFiles: Allow\n";

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        trial("capacity::a_policy_that_does_not_fit_is_refused_whole", a_policy_that_does_not_fit_is_refused_whole),
        trial("capacity::a_task_that_cannot_be_labelled_is_not_born", a_task_that_cannot_be_labelled_is_not_born),
        trial("capacity::a_full_cgroup_table_refuses_containers", a_full_cgroup_table_refuses_containers),
        trial("capacity::a_frozen_agent_changes_no_verdict", a_frozen_agent_changes_no_verdict),
    ];
    // On 6.1 a guest's memory is at times used up before the kernel refuses the agent's cgroup any.
    if Kernels::From6_12.are_running() {
        tests.push(trial("capacity::refused_memory_allows_nothing", refused_memory_allows_nothing));
    }
    tests
}

/// An agent of its own, with tables as small as `capacity` says, and its pins. What it enforces ends with this value.
struct Small {
    node: Node,
    agent: Agent,
}

impl Small {
    fn start(number: u16, capacity: &str) -> Result<Self> {
        let node = Self::node(number, &format!("capacity:\n  {capacity}"))?;
        let agent = node.start_agent()?;
        Ok(Self { node, agent })
    }

    fn start_in(number: u16, cgroup: &Path) -> Result<Self> {
        let node = Self::node(number, "reportExecutions: false")?;
        let mut agent = node.launch_agent_in(cgroup)?;
        agent.wait_until_ready()?;
        Ok(Self { node, agent })
    }

    fn node(number: u16, settings: &str) -> Result<Node> {
        let directory = format!("/run/plimsoll-small-{number}");
        let node = Node::new(Path::new(&directory), number, &image_digest()?, Path::new(SBOM), settings)?;
        node.write_policy("small.yaml", &policy_with("small", "Enforce", MOVABLE))?;
        Ok(node)
    }

    fn container(&self, id: &str) -> Result<Container> {
        Container::create(spec_for(&self.node, id, "small")?)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        if let Err(error) = self.agent.daemon.kill().and_then(|()| self.node.detach()) {
            eprintln!("an agent of the tests stays behind: {error:#}");
        }
    }
}

/// The container's dropped program is denied, and its listed ones run.
fn is_enforced(container: &Container) -> Result<()> {
    let denied = container.exec(DROP_AND_RUN)?;
    ensure!(denied.status == SHELL_CANNOT_EXECUTE, "{denied:?}");
    let listed = container.exec(&["/usr/bin/id"])?;
    ensure!(listed.status == 0, "{listed:?}");
    Ok(())
}

/// The image has about 480 allowed files: one list fits, two do not.
fn a_policy_that_does_not_fit_is_refused_whole() -> Result<()> {
    let small = Small::start(1, "allowedFiles: 700")?;
    let container = small.container("fits")?;
    is_enforced(&container)?;
    let wider = policy_with("small", "Enforce", &format!("  anonymousExec: Allow\n{MOVABLE}"));
    small.node.write_policy("small.yaml", &wider)?;
    small.agent.reload()?;
    let log = small.agent.daemon.log();
    ensure!(log.contains("this workload keeps the policy it had") && log.contains("`ALLOW` is full"), "{log}");
    let anonymous = container.exec(&[ACTOR, "anonymous-exec"])?;
    ensure!(anonymous.status == crate::technique::DENIED, "the new policy is in force: {anonymous:?}");
    is_enforced(&container)?;
    let refused = small.container("fits-not").err().context("a container started whose policy did not fit")?;
    ensure!(format!("{refused:#}").contains("`ALLOW` is full"), "{refused:#}");
    Ok(())
}

/// First the container's own forks, then whoever enters it: a task that could shed its label must not run.
fn a_task_that_cannot_be_labelled_is_not_born() -> Result<()> {
    const LIMIT: usize = 24;
    let small = Small::start(2, &format!("tasks: {LIMIT}"))?;
    let container = small.container("crowded")?;
    is_enforced(&container)?;
    let refused = small.agent.kernel("fork_refused")?;
    let output = container.exec(&[ACTOR, "fork-until-refused", "200"])?;
    let said = output.stdout.trim();
    ensure!(said.ends_with("ENOMEM"), "{output:?}");
    let born: usize = said.split(' ').next().unwrap_or_default().parse()?;
    ensure!(born < LIMIT, "{born} children were born, {LIMIT} tasks can be labelled");
    ensure!(small.agent.kernel("fork_refused")? > refused, "the refusals were not counted");
    is_enforced(&container)
}

fn a_full_cgroup_table_refuses_containers() -> Result<()> {
    let small = Small::start(3, "cgroups: 4")?;
    let mut spec = spec_for(&small.node, "nested", "small")?;
    spec.mounts.push(serde_json::json!({
        "destination": "/host-cgroup", "type": "bind", "source": CGROUPS, "options": ["rbind", "rw"]
    }));
    let container = Container::create(spec)?;
    is_enforced(&container)?;
    let own = Path::new(CGROUPS).join("plimsoll-test/nested");
    for number in 0..6 {
        let child = own.join(format!("child-{number}"));
        fs::create_dir(&child).with_context(|| format!("cannot make {}", child.display()))?;
    }
    ensure!(small.agent.kernel("cgroup_failed")? > 0, "six children fitted into a table of four");
    // A task that moves into a cgroup that is in no table keeps its label.
    let script = "cp /usr/bin/true /tmp/a; echo 0 > /host-cgroup/plimsoll-test/nested/child-5/cgroup.procs && /tmp/a";
    let moved = container.exec(&["/bin/sh", "-c", script])?;
    ensure!(moved.status == SHELL_CANNOT_EXECUTE, "{moved:?}");
    let refused = small.container("one-more").err().context("a container started that the table has no room for")?;
    ensure!(format!("{refused:#}").contains("CGROUPS"), "{refused:#}");
    Ok(())
}

/// The kernel charges what the tables allocate to the agent's cgroup. With no memory left there, tasks cannot be labelled for long;
/// nothing is allowed that was not.
fn refused_memory_allows_nothing() -> Result<()> {
    const TRIES: &str = "300";
    let limited = Path::new(CGROUPS).join("plimsoll-limited");
    fs::write(Path::new(CGROUPS).join("cgroup.subtree_control"), "+memory")?;
    fs::create_dir_all(&limited)?;
    let small = Small::start_in(4, &limited)?;
    let container = small.container("poor")?;
    is_enforced(&container)?;
    ensure!(container.exec(&["/bin/cp", "/usr/bin/true", "/tmp/dropped"])?.status == 0);
    let refused = small.agent.kernel("fork_refused")? + small.agent.kernel("label_failed")?;
    small.agent.daemon.signal(libc::SIGSTOP)?;
    let memory = limited.join("memory.max");
    fs::write(&memory, fs::read_to_string(limited.join("memory.current"))?.trim())?;
    let crowd = container.exec(&[ACTOR, "fork-until-refused", "20000"])?;
    let output = container.exec(&[ACTOR, "fork-exec-loop", "/tmp/dropped", TRIES])?;
    fs::write(&memory, "max")?;
    small.agent.daemon.signal(libc::SIGCONT)?;
    ensure!(output.stdout.starts_with("succeeded=0 "), "{output:?}");
    let refused = small.agent.kernel("fork_refused")? + small.agent.kernel("label_failed")? - refused;
    ensure!(refused > 0, "no memory was refused: {crowd:?}");
    println!("without memory: {}, {refused} labels refused; {}", crowd.stdout.trim(), output.stdout.trim());
    is_enforced(&container)
}

fn a_frozen_agent_changes_no_verdict() -> Result<()> {
    let frozen = Path::new(CGROUPS).join("plimsoll-frozen");
    fs::create_dir_all(&frozen)?;
    let stage = stage()?;
    let container = Container::create(stage.spec("besides", "enforced")?)?;
    is_enforced(&container)?;
    let denied = stage.agent.kernel("exec_denied")?;
    fs::write(frozen.join("cgroup.procs"), stage.agent.daemon.pid().to_string())?;
    fs::write(frozen.join("cgroup.freeze"), "1")?;
    let meanwhile = wait_for("the agent to stand still", || {
        let events = fs::read_to_string(frozen.join("cgroup.events"))?;
        ensure!(events.contains("frozen 1"), "{events}");
        Ok(())
    })
    .and_then(|()| is_enforced(&container));
    fs::write(frozen.join("cgroup.freeze"), "0")?;
    fs::write(Path::new(CGROUPS).join("cgroup.procs"), stage.agent.daemon.pid().to_string())?;
    meanwhile?;
    let counted = stage.agent.kernel("exec_denied")? - denied;
    ensure!(counted == 1, "{counted} denials counted while the agent stood still");
    Ok(())
}
