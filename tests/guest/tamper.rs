//! A privileged container among the node's processes, with the node's mounts: what it can do to others it cannot do to Plimsoll.

use std::{
    collections::BTreeSet,
    fs,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::json;

use crate::{
    container::{ACTOR, Container, ContainerSpec, Output},
    daemon::wait_for,
    stage::{Stage, policy_with, stage},
    technique::DENIED,
    trial,
};

/// Allows what Plimsoll's own protection must stop without any policy's help.
const PERMISSIVE: &str =
    "  hardening: {ptrace: Allow, bpf: Allow, perfEvent: Allow, kernelCode: Allow, kernelFiles: Allow, mount: Allow}\n";
const NAME: &str = "tamperer";
const CGROUP: &str = "/sys/fs/cgroup/plimsoll-agent";

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        trial("tamper::the_agents_process", the_agents_process),
        trial("tamper::pins_and_maps", pins_and_maps),
        trial("tamper::files_socket_and_cgroup", files_socket_and_cgroup),
        trial("tamper::without_a_policy_all_of_it_works", without_a_policy_all_of_it_works),
        trial("tamper::an_absence_is_reported", an_absence_is_reported),
        trial("hardening::what_ordinary_programs_do_goes_on", what_ordinary_programs_do_goes_on),
        trial("hardening::a_set_of_capabilities_lets_the_kernel_work", a_set_of_capabilities_lets_the_kernel_work),
    ]
}

/// The policy that the containers here are under; the stage writes it.
pub(crate) fn policies() -> [(&'static str, String); 1] {
    [(NAME, policy_with(NAME, "Enforce", PERMISSIVE))]
}

fn privileged(mut spec: ContainerSpec) -> ContainerSpec {
    spec.host_processes = true;
    spec.capabilities.extend(["CAP_BPF", "CAP_DAC_READ_SEARCH", "CAP_PERFMON", "CAP_SYS_NICE"]);
    let mount =
        |to: &str, from: &str| json!({"destination": to, "type": "bind", "source": from, "options": ["rbind", "rw"]});
    spec.mounts.extend([
        mount("/node/bpf", "/sys/fs/bpf"),
        mount("/node/cgroup", "/sys/fs/cgroup"),
        mount("/node/stage", "/run/plimsoll-stage"),
    ]);
    spec
}

fn attempt(container: &Container, arguments: &[&str]) -> Result<Output> {
    container.exec(&[&[ACTOR], arguments].concat())
}

/// The attempt is denied, and the event says what was to be touched.
fn is_tampering(stage: &Stage, container: &Container, arguments: &[&str], what: &str) -> Result<()> {
    let before = stage.denials()?;
    let output = attempt(container, arguments)?;
    ensure!(output.status == DENIED, "{arguments:?} was not denied: {output:?}");
    let event = stage
        .event_after(before, NAME, "verdict=deny&hook=tamper&reason=tampering", |event| event["operation"] == what)
        .with_context(|| format!("{arguments:?} left no event of `{what}`; there is {}", stage.recent(NAME)))?;
    ensure!(event["policy"]["name"] == NAME, "{event}");
    Ok(())
}

fn works(container: &Container, arguments: &[&str]) -> Result<()> {
    let output = attempt(container, arguments)?;
    ensure!(output.status == 0, "{arguments:?} does not work: {output:?}");
    Ok(())
}

/// A process of the node that nobody protects.
struct Decoy(Child);

impl Decoy {
    fn start() -> Result<Self> {
        Ok(Self(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().context("cannot start a decoy")?))
    }

    fn id(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Decoy {
    fn drop(&mut self) {
        // It may be dead already, which is what most tests want.
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

fn the_agents_process() -> Result<()> {
    let stage = stage()?;
    let container = Container::create(privileged(stage.spec(NAME, NAME)?))?;
    let agent = stage.agent.daemon.pid().to_string();
    for (act, what) in [
        ("stop", "signal"),
        ("attach", "ptrace"),
        ("pidfd-take", "ptrace"),
        ("limit", "resources"),
        ("nice", "resources"),
        ("scheduler", "resources"),
        ("kill", "signal"),
        ("pidfd-kill", "signal"),
    ] {
        let decoy = Decoy::start()?;
        works(&container, &["to-process", act, &decoy.id()])?;
        is_tampering(&stage, &container, &["to-process", act, &agent], what)?;
    }
    works(&container, &["to-process", "probe", &agent])?;
    let mut decoy = Decoy::start()?;
    works(&container, &["to-process", "descriptor-signal", &decoy.id()])?;
    wait_for("a descriptor's signal to kill the decoy", || decoy.0.try_wait()?.context("it lives"))?;
    works(&container, &["to-process", "descriptor-signal", &agent])?;
    // Every signal that was sent has arrived by the time that the next answer comes.
    stage.agent.kernel("tamper_denied")?;
    works(&container, &["open-for-writing", "/proc/self/oom_score_adj"])?;
    is_tampering(&stage, &container, &["open-for-writing", &format!("/proc/{agent}/oom_score_adj")], "resources")?;
    is_tampering(&stage, &container, &["open-for-writing", &format!("/proc/{agent}/mem")], "resources")
}

fn pins_and_maps() -> Result<()> {
    const PINS: &str = "/node/bpf/plimsoll";
    let stage = stage()?;
    fs::create_dir_all("/sys/fs/bpf/decoy")?;
    let container = Container::create(privileged(stage.spec(NAME, NAME)?))?;
    let version = fs::read_dir("/sys/fs/bpf/plimsoll")?.next().context("nothing is pinned")??.file_name();
    let version = version.to_str().context("the name is text")?;
    let map = format!("{PINS}/{version}/maps/ALLOW");
    let links = fs::read_dir(format!("/sys/fs/bpf/plimsoll/{version}/links"))?.next().context("no links")??.file_name();
    let link = format!("{PINS}/{version}/links/{}/bprm_check_security", links.to_str().context("the name is text")?);
    for (arguments, what) in [
        (&["unlink", map.as_str()][..], "file"),
        (&["unlink", &link], "file"),
        (&["rename", &map, "/node/bpf/plimsoll/x"], "file"),
        (&["rename", PINS, "/node/bpf/elsewhere"], "file"),
        (&["mount-over", PINS], "mount"),
        (&["mount-over", &format!("{PINS}/{version}/maps")], "mount"),
        (&["unmount", "/node/bpf"], "mount"),
        (&["pinned", &map], "map"),
        (&["pinned", &link], "link"),
    ] {
        is_tampering(&stage, &container, arguments, what)?;
    }
    for id in map_ids(stage.agent.daemon.pid())? {
        is_tampering(&stage, &container, &["map-by-id", &id], "map")?;
    }
    works(&container, &["operation", "bpf-map"])?;
    works(&container, &["mount-over", "/node/bpf/decoy"])?;
    works(&container, &["unmount", "/node/bpf/decoy"])?;
    works(&container, &["rename", "/node/bpf/decoy", "/node/bpf/decoy-2"])?;
    fs::remove_dir("/sys/fs/bpf/decoy-2")?;
    let denied = container.exec(&["/bin/sh", "-c", "cp /usr/bin/true /tmp/a && /tmp/a"])?;
    ensure!(denied.status == 126, "enforcement did not outlive it: {denied:?}");
    Ok(())
}

/// Ids of the agent's maps, as its own descriptors say them.
fn map_ids(agent: u32) -> Result<Vec<String>> {
    let infos =
        fs::read_dir(format!("/proc/{agent}/fdinfo"))?.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
    let ids =
        infos.filter_map(|info| info.lines().find_map(|line| Some(line.strip_prefix("map_id:")?.trim().to_owned())));
    let ids: BTreeSet<String> = ids.collect();
    ensure!(ids.len() > 10, "the agent holds maps {ids:?} only");
    Ok(ids.into_iter().collect())
}

fn files_socket_and_cgroup() -> Result<()> {
    let mut stage = stage()?;
    restart_in_cgroup(&mut stage)?;
    fs::create_dir_all("/sys/fs/cgroup/decoy")?;
    let container = Container::create(privileged(stage.spec(NAME, NAME)?))?;
    for (arguments, what) in [
        (&["open-for-writing", "/node/stage/policies/enforced.yaml"][..], "file"),
        (&["unlink", "/node/stage/policies/enforced.yaml"], "file"),
        (&["connect", "/node/stage/agent.sock"], "socket"),
        (&["open-for-writing", "/node/cgroup/plimsoll-agent/cgroup.freeze"], "cgroup"),
        (&["open-for-writing", "/node/cgroup/plimsoll-agent/cgroup.kill"], "cgroup"),
    ] {
        is_tampering(&stage, &container, arguments, what)?;
    }
    let written = container.exec(&["/bin/sh", "-c", "echo x > /node/stage/policies/mine.yaml"])?;
    ensure!(written.status != 0 && !fs::exists("/run/plimsoll-stage/policies/mine.yaml")?, "{written:?}");
    works(&container, &["open-for-writing", "/node/cgroup/decoy/cgroup.freeze"])?;
    fs::remove_dir("/sys/fs/cgroup/decoy")?;
    Ok(())
}

/// The agent in a cgroup of its own, as a service manager would start it.
fn restart_in_cgroup(stage: &mut Stage) -> Result<()> {
    fs::create_dir_all(CGROUP)?;
    stage.agent.daemon.kill()?;
    fs::write(format!("{CGROUP}/cgroup.procs"), "0")?;
    let started = stage.node.start_agent();
    fs::write("/sys/fs/cgroup/cgroup.procs", "0")?;
    stage.agent = started?;
    Ok(())
}

/// The same container that no policy selects.
fn without_a_policy_all_of_it_works() -> Result<()> {
    let mut stage = stage()?;
    let container = Container::create(privileged(stage.spec("free-tamperer", "nobodys")?))?;
    let agent = stage.agent.daemon.pid().to_string();
    for act in ["attach", "pidfd-take", "nice", "stop"] {
        works(&container, &["to-process", act, &agent])?;
    }
    stage.agent.daemon.signal(libc::SIGCONT)?;
    works(&container, &["connect", "/node/stage/agent.sock"])?;
    works(&container, &["open-for-writing", "/node/stage/policies/enforced.yaml"])?;
    works(&container, &["open-for-writing", &format!("/proc/{agent}/oom_score_adj")])?;
    fs::write("/run/plimsoll-stage/decoy", "")?;
    works(&container, &["unlink", "/node/stage/decoy"])?;
    works(&container, &["to-process", "kill", &agent])?;
    stage.agent.daemon.wait_for_signal(libc::SIGKILL)?;
    stage.agent = stage.node.start_agent()?;
    Ok(())
}

fn an_absence_is_reported() -> Result<()> {
    const TRIES: u64 = 5;
    let mut stage = stage()?;
    let container = Container::create(stage.spec("absence", "enforced")?)?;
    let prepared = container.exec(&["/bin/sh", "-c", "cp /usr/bin/true /tmp/absent"])?;
    ensure!(prepared.status == 0, "{prepared:?}");
    stage.agent.daemon.kill()?;
    let output = container.exec(&[ACTOR, "fork-exec-loop", "/tmp/absent", &TRIES.to_string()])?;
    ensure!(output.stdout == format!("succeeded=0 eperm={TRIES} other=0\n"), "{output:?}");
    stage.agent = stage.node.start_agent()?;
    let (denials, lost) =
        (stage.agent.metric("plimsoll_absence_denials")?, stage.agent.metric("plimsoll_absence_denials_lost")?);
    ensure!(denials >= TRIES && lost == 0, "{denials} denials, {lost} lost");
    ensure!(stage.agent.daemon.log().contains("no agent was there"), "the log does not say it");
    ensure!(stage.agent.metric("plimsoll_program_recursion_misses")? == 0, "programs were left out");
    let doctor = Command::new("/payload/bin/plimsoll").arg("doctor").output()?;
    let said = String::from_utf8_lossy(&doctor.stdout);
    ensure!(said.contains("ok    agent:"), "{said}");
    Ok(())
}

/// Under the policy that every workload has if nobody says otherwise.
fn what_ordinary_programs_do_goes_on() -> Result<()> {
    const COUNTERS: [&str; 4] = ["inject_denied", "operation_denied", "tamper_denied", "kill_failed"];
    let stage = stage()?;
    let container = Container::create(stage.spec("ordinary", "enforced")?)?;
    let counters = || COUNTERS.iter().map(|name| stage.agent.kernel(name)).collect::<Result<Vec<u64>>>();
    let before = counters()?;
    for command in [
        &["/bin/ls", "/proc", "/proc/1", "/proc/self/fd"][..],
        &["/usr/bin/dpkg", "-l"],
        &["/bin/sh", "-c", "cat /proc/[0-9]*/status /proc/[0-9]*/cmdline > /dev/shm/all"],
        &["/bin/sh", "-c", "kill -0 $$; echo 0 > /proc/self/oom_score_adj; nice true; mkfifo /tmp/fifo; rm /tmp/fifo"],
        &[
            "/usr/bin/python3",
            "-c",
            "import os, socket, subprocess; subprocess.run(['true'], check=True); os.sched_yield(); a, b = socket.socketpair(); a.send(b'x')",
        ],
        &[ACTOR, "look-at-processes"],
        &[ACTOR, "ring"],
        &[ACTOR, "operation", "mount"],
        &[ACTOR, "operation", "user-namespace"],
        &[ACTOR, "operation", "chroot"],
        &[ACTOR, "operation", "add-key"],
    ] {
        let output = container.exec(command)?;
        ensure!(output.status == 0, "{command:?} was kept from its work: {output:?}");
    }
    ensure!(counters()? == before, "something was denied: {}", stage.recent("ordinary"));
    Ok(())
}

/// With two capabilities, neither of which the kernel needs for what it does below the container's root.
fn a_set_of_capabilities_lets_the_kernel_work() -> Result<()> {
    let stage = stage()?;
    let container = Container::create(stage.spec("few-capabilities", "restricted")?)?;
    for command in [
        &["/bin/sh", "-c", "echo a > /tmp/a; mkdir /tmp/b; mv /tmp/a /tmp/b; ln -s a /tmp/b/c; rm -r /tmp/b"][..],
        &["/bin/sh", "-c", "echo a >> /etc/debian_version; chmod 600 /etc/passwd; rm -f /etc/issue; touch /etc/issue"],
        &["/usr/bin/dpkg", "-l"],
        &["/usr/bin/python3", "-c", "import tempfile; tempfile.TemporaryDirectory().cleanup()"],
    ] {
        let output = container.exec(command)?;
        let recent = stage.recent("few-capabilities");
        ensure!(output.status == 0, "{command:?} was kept from its work: {output:?}, {recent}");
    }
    let denied = container.exec(&[ACTOR, "capability", "CAP_CHOWN"])?;
    ensure!(denied.status == DENIED, "the set has no effect: {denied:?}");
    Ok(())
}
