//! Pods by containerd: their containers are under their policy before their first instruction, however many start and whatever
//! becomes of the agent meanwhile. Run where it is asked for, in a guest with container runtimes.

mod containerd;
mod cri;
mod nri;
mod pending;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use self::{
    containerd::{Containerd, IMAGE, hooks},
    cri::{ContainerConfig, Pod, PodConfig, Runtimes},
};
use crate::{
    container::{DIGEST_ANNOTATION, image_digest},
    daemon::{Agent, Collector, Node, wait_for},
    stage::{SBOM, policy},
    trial,
};

const DIRECTORY: &str = "/run/plimsoll-pods";
const SUITE: &str = "pods";
/// Containers of one loop.
const CONTAINERS: u32 = 500;
/// Loops at a time.
const WORKERS: u32 = 2;
/// Containers in a pod, before the next one is made.
const PER_POD: u32 = 25;
/// Pairs of starts that are compared.
const PAIRS: usize = 100;
/// Containers that start between two deaths of the agent, at least.
const PER_DEATH: u32 = 40;

/// The entrypoint of every container: drops a program and runs it at once, then runs a listed one.
const ENTRYPOINT: [&str; 3] =
    ["/bin/sh", "-c", "cp /usr/bin/true /dropped || exit 3; /dropped && exit 42; /usr/bin/true || exit 4; exit 0"];
/// What its shell can end with, if it runs.
const ENTRYPOINT_CODES: [i32; 4] = [0, 3, 4, BREACH];
/// Its exit code where the dropped program ran.
const BREACH: i32 = 42;

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        trial("pods::an_unenforced_entrypoint_runs_what_it_drops", unenforced),
        trial("pods::500_containers_of_runc", || many("hooked", false)),
        trial("pods::500_containers_of_runc_while_the_agent_dies", || many("hooked", true)),
        trial("pods::500_containers_of_crun", || many("crun", false)),
        trial("pods::start_latency", latency),
    ];
    tests.extend(nri::tests());
    tests.extend(pending::tests());
    tests
}

/// containerd, a collector, and an agent that knows the test image.
struct Cluster {
    containerd: Containerd,
    collector: Collector,
    node: Node,
    agent: Agent,
}

impl Cluster {
    /// `settings` are lines of the agent's configuration.
    fn start(settings: &str) -> Result<Self> {
        let directory = Path::new(DIRECTORY);
        let node = new_node(settings)?;
        node.write_policy("pods.yaml", &policy(SUITE, "Enforce"))?;
        let collector = Collector::start(directory)?;
        let agent = node.start_agent()?;
        let containerd = Containerd::start(&hooks(&node.socket()))?;
        Ok(Self { containerd, collector, node, agent })
    }

    /// Ends the agent, and starts it with other settings.
    fn restart_agent(&mut self, settings: &str) -> Result<()> {
        self.agent.daemon.kill()?;
        self.node = new_node(settings)?;
        self.agent = self.node.start_agent()?;
        Ok(())
    }

    /// Waits for the audit of what an entrypoint dropped.
    fn audit_of_dropped(&self) -> Result<Value> {
        wait_for("an audit of the dropped program", || {
            let events = self.collector.events("verdict=audit")?;
            let dropped = |event: &&Value| event["file"]["path"] == "/dropped";
            events.iter().find(dropped).cloned().with_context(|| format!("{} events, none of it", events.len()))
        })
    }

    /// Ends everything, and detaches the programs.
    fn remove(self) -> Result<()> {
        let Self { containerd, node, mut agent, .. } = self;
        drop(containerd);
        agent.daemon.kill()?;
        node.detach()
    }
}

/// The pod's own labels, which policies select by where NRI tells of them.
fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("suite".to_owned(), SUITE.to_owned())])
}

fn new_node(settings: &str) -> Result<Node> {
    Node::new(Path::new(DIRECTORY), 0, &image_digest()?, Path::new(SBOM), settings)
}

/// What a policy selects by, and the image's digest.
fn annotations() -> Result<BTreeMap<String, String>> {
    Ok(BTreeMap::from([
        ("dev.plimsoll.label/suite".to_owned(), SUITE.to_owned()),
        (DIGEST_ANNOTATION.to_owned(), image_digest()?),
    ]))
}

/// The control: without hooks, what is dropped runs.
fn unenforced() -> Result<()> {
    let cluster = Cluster::start("")?;
    let mut runtimes = cluster.containerd.connect()?;
    let pod = runtimes.run_pod(PodConfig::new("calm", "default", &BTreeMap::new()), "plain")?;
    let code = run(&mut runtimes, &pod, 0, &annotations()?)?;
    runtimes.remove_pod(&pod)?;
    ensure!(
        code == BREACH,
        "the entrypoint ended with {code}: the loop would prove nothing\n{}",
        cluster.containerd.log()
    );
    cluster.remove()
}

/// What became of the containers of a loop.
#[derive(Debug, Default)]
struct Tally {
    /// They dropped a program and could not run it, and ran the listed ones.
    enforced: AtomicU32,
    /// Starts that were refused since no agent answered; each was tried again.
    refused: AtomicU32,
}

fn many(handler: &str, deaths: bool) -> Result<()> {
    many_in(Cluster::start("")?, handler, deaths)
}

fn many_in(mut cluster: Cluster, handler: &str, deaths: bool) -> Result<()> {
    let tally = Tally::default();
    let over = AtomicBool::new(false);
    let killed = thread::scope(|scope| {
        let (containerd, tally, over) = (&cluster.containerd, &tally, &over);
        let workers: Vec<_> =
            (0..WORKERS).map(|worker| scope.spawn(move || work(containerd, handler, worker, deaths, tally))).collect();
        let reaper = scope.spawn(|| kill_again_and_again(&mut cluster.agent, &cluster.node, deaths, tally, over));
        let worked: Result<Vec<()>> =
            workers.into_iter().map(|worker| worker.join().map_err(|_panic| anyhow!("a loop panicked"))?).collect();
        over.store(true, Ordering::SeqCst);
        let killed = reaper.join().map_err(|_panic| anyhow!("who kills the agent panicked"))?;
        worked.and(killed)
    });
    let killed = killed.with_context(|| cluster.agent.daemon.log())?;
    let (enforced, refused) = (tally.enforced.into_inner(), tally.refused.into_inner());
    println!(
        "{handler}: {enforced} containers, 0 ran what they dropped, 0 false denials, {killed} deaths of the agent, \
         {refused} starts refused and tried again"
    );
    ensure!(enforced == CONTAINERS, "{enforced} containers of {CONTAINERS}");
    ensure!(!deaths || killed >= 3, "the agent died {killed} times only");
    cluster.remove()
}

/// One loop's share of the containers.
fn work(containerd: &Containerd, handler: &str, worker: u32, deaths: bool, tally: &Tally) -> Result<()> {
    let mut runtimes = containerd.connect()?;
    let annotations = annotations()?;
    let share = CONTAINERS / WORKERS;
    for first in (0..share).step_by(PER_POD as usize) {
        let config = PodConfig::new(&format!("{handler}-{worker}-{first}"), "default", &labels());
        let pod = patiently(deaths, tally, || runtimes.run_pod(config.clone(), handler))?;
        for number in first..(first + PER_POD).min(share) {
            let mut attempt = number * 1000;
            let code = patiently(deaths, tally, || {
                attempt += 1;
                run(&mut runtimes, &pod, attempt, &annotations)
            })?;
            ensure!(code != BREACH, "container {number} of loop {worker} ran what it dropped");
            ensure!(code == 0, "container {number} of loop {worker} ended with {code}: a listed program was denied");
            tally.enforced.fetch_add(1, Ordering::SeqCst);
        }
        runtimes.remove_pod(&pod)?;
    }
    Ok(())
}

/// Where agents die, a start may be refused; it is tried again, as a kubelet does.
fn patiently<T>(deaths: bool, tally: &Tally, mut start: impl FnMut() -> Result<T>) -> Result<T> {
    if !deaths {
        return start();
    }
    wait_for("a start that is not refused", || {
        start().inspect_err(|_refused| {
            tally.refused.fetch_add(1, Ordering::SeqCst);
        })
    })
}

/// Runs a container of the entrypoint to its end; its exit code.
fn run(runtimes: &mut Runtimes, pod: &Pod, attempt: u32, annotations: &BTreeMap<String, String>) -> Result<i32> {
    let id = runtimes.create(pod, ContainerConfig::new(IMAGE, attempt, &ENTRYPOINT, annotations))?;
    let started = runtimes.start(&id);
    let code = started.and_then(|()| wait_for("a container's end", || runtimes.exit_code(&id)?.context("it runs")));
    runtimes.remove(&id)?;
    code
}

/// Kills the agent after every few containers and starts it again, until the loops are over. How often.
fn kill_again_and_again(agent: &mut Agent, node: &Node, deaths: bool, tally: &Tally, over: &AtomicBool) -> Result<u32> {
    let mut killed = 0;
    let mut next = fastrand::u32(1..PER_DEATH);
    while deaths && !over.load(Ordering::SeqCst) {
        if tally.enforced.load(Ordering::SeqCst) < next {
            thread::park_timeout(Duration::from_millis(20));
            continue;
        }
        agent.daemon.kill()?;
        killed += 1;
        *agent = node.start_agent()?;
        next = tally.enforced.load(Ordering::SeqCst) + fastrand::u32(1..PER_DEATH);
    }
    Ok(killed)
}

/// Starts with and without hooks, by turns.
fn latency() -> Result<()> {
    let cluster = Cluster::start("")?;
    let mut runtimes = cluster.containerd.connect()?;
    let (known, unknown) = (annotations()?, BTreeMap::new());
    let mut pods = Vec::new();
    for handler in ["plain", "hooked"] {
        pods.push(runtimes.run_pod(PodConfig::new(&format!("latency-{handler}"), "default", &unknown), handler)?);
    }
    let mut times = [Vec::new(), Vec::new()];
    for attempt in 0..PAIRS {
        for (pod, times) in pods.iter().zip(&mut times) {
            let id = runtimes
                .create(pod, ContainerConfig::new(IMAGE, u32::try_from(attempt)?, &["/usr/bin/true"], &known))?;
            let before = Instant::now();
            runtimes.start(&id)?;
            times.push(before.elapsed());
            wait_for("a container's end", || runtimes.exit_code(&id)?.context("it runs"))?;
            runtimes.remove(&id)?;
        }
    }
    for pod in &pods {
        runtimes.remove_pod(pod)?;
    }
    let [plain, hooked] = times.map(|mut times| {
        times.sort_unstable();
        [times[PAIRS / 2], times[PAIRS * 99 / 100]]
    });
    for (name, plain, hooked) in [("p50", plain[0], hooked[0]), ("p99", plain[1], hooked[1])] {
        let ratio = hooked.as_secs_f64() / plain.as_secs_f64();
        println!("start of a container, {name}: {plain:.0?} without the hook, {hooked:.0?} with it, ratio {ratio:.2}");
    }
    cluster.remove()
}
