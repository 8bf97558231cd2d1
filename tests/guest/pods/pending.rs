//! Containers that nobody introduces.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::{
    BREACH, Cluster, ENTRYPOINT_CODES, annotations,
    cri::{PodConfig, Runtimes},
    run,
};
use crate::{container::ACTOR, daemon::wait_for, trial};

/// The agent's name for what decides over them.
const POLICY: &str = "unknown-containers";
const PENDING: &str = "plimsoll_pending_cgroups";

pub(super) fn tests() -> Vec<Trial> {
    vec![
        trial("pods::unknown_containers_are_audited", audited),
        trial("pods::unknown_containers_are_denied_and_others_are_not", denied),
    ]
}

fn settings(unknown: &str) -> String {
    format!("pods: {{cgroup: kubepods, unknown: {unknown}}}")
}

fn pod(runtimes: &mut Runtimes, name: &str, handler: &str) -> Result<super::cri::Pod> {
    runtimes.run_pod(PodConfig::new(name, "default", &BTreeMap::new()), handler)
}

fn audited() -> Result<()> {
    let cluster = Cluster::start(&settings("Audit"))?;
    let mut runtimes = cluster.containerd.connect()?;
    let pod = pod(&mut runtimes, "unknown", "plain")?;
    let code = run(&mut runtimes, &pod, 0, &annotations()?)?;
    ensure!(code == BREACH, "audited, and yet it ended with {code}");
    let event = cluster.audit_of_dropped()?;
    ensure!(event["policy"]["name"] == POLICY, "{event}");
    cluster.agent.metric_reaches(PENDING, 1)?;
    runtimes.remove_pod(&pod)?;
    cluster.remove()
}

fn denied() -> Result<()> {
    let mut cluster = Cluster::start(&settings("Allow"))?;
    let mut runtimes = cluster.containerd.connect()?;
    // Unknown containers start, and these pods are there before anybody waits for any.
    let earlier = pod(&mut runtimes, "earlier", "plain")?;
    ensure!(run(&mut runtimes, &earlier, 0, &annotations()?)? == BREACH);
    let known = pod(&mut runtimes, "known", "hooked")?;
    cluster.restart_agent(&settings("Deny"))?;
    // runc finds out that the entrypoint cannot run when it has said that it does.
    let refused = run(&mut runtimes, &earlier, 1, &annotations()?);
    ensure!(
        refused.as_ref().map_or(true, |code| !ENTRYPOINT_CODES.contains(code)),
        "nobody introduced it: {refused:?}"
    );
    // containerd introduces no sandbox.
    let unknown = pod(&mut runtimes, "unknown", "plain");
    for program in ["sh", ACTOR] {
        wait_for("the event of its denial", || {
            let events = cluster.collector.events("verdict=deny")?;
            let of_it = |event: &serde_json::Value| {
                event["policy"]["name"] == POLICY
                    && event["file"]["path"].as_str().is_some_and(|path| path.ends_with(program))
            };
            ensure!(events.iter().any(of_it), "{program}: {} denials, none of it; {refused:?}", events.len());
            Ok(())
        })?;
    }
    ensure!(run(&mut runtimes, &known, 0, &annotations()?)? == 0, "an enforced container is another's");
    ensure!(run(&mut runtimes, &known, 1, &BTreeMap::new())? == BREACH, "introduced, selected by none, and not let go");
    for pod in [&earlier, &known].into_iter().chain(unknown.as_ref().ok()) {
        runtimes.remove_pod(pod)?;
    }
    cluster.remove()
}
