//! Containers that containerd tells the agent of, over NRI and CRI; no hook and no annotation is configured.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::{
    Cluster,
    containerd::{IMAGE, NRI_SOCKET, SOCKET},
    cri::{ContainerConfig, PodConfig},
    labels, many_in,
};
use crate::{daemon::wait_for, trial};

/// Ends with 0 if a process of the pod runs what was dropped.
const IS_DROPPED_RUNNING: &str =
    "for exe in /proc/[0-9]*/exe; do test \"$(readlink $exe)\" = /dropped && exit 0; done; exit 1";
const CONNECTED: &str = "plimsoll_nri_registered";

pub(super) fn tests() -> Vec<Trial> {
    vec![
        trial("pods::500_containers_by_nri", || many_in(start()?, "plain", false)),
        trial("pods::what_runs_already_is_found_by_nri", found),
    ]
}

fn settings() -> String {
    format!("nri: {{socket: {NRI_SOCKET}, hook: /payload/bin/plimsoll-agent}}\ncri: {{endpoint: {SOCKET}}}")
}

fn start() -> Result<Cluster> {
    let cluster = Cluster::start(&settings())?;
    cluster.agent.metric_reaches(CONNECTED, 1)?;
    Ok(cluster)
}

/// A container that runs what it dropped before there was an agent.
fn found() -> Result<()> {
    let mut cluster = start()?;
    cluster.agent.daemon.kill()?;
    let mut runtimes = cluster.containerd.connect()?;
    let pod = runtimes.run_pod(PodConfig::new("found", "default", &labels()), "plain")?;
    let script = "cp /usr/bin/plimsoll-actor /dropped && cp /usr/bin/true /later && exec /dropped wait";
    let config = ContainerConfig::new(IMAGE, 0, &["/bin/sh", "-c", script], &BTreeMap::new());
    let id = runtimes.create(&pod, config)?;
    runtimes.start(&id)?;
    wait_for("the dropped program", || {
        let running = runtimes.exec(&id, &["/bin/sh", "-c", IS_DROPPED_RUNNING])?;
        ensure!(running.status == 0, "not yet: {}", String::from_utf8_lossy(&running.stderr));
        Ok(())
    })?;
    ensure!(runtimes.exec(&id, &["/later"])?.status == 0, "without an agent the dropped program must run");
    cluster.restart_agent(&settings())?;
    cluster.agent.metric_reaches(CONNECTED, 1)?;
    wait_for("its workload", || {
        ensure!(cluster.agent.metric("plimsoll_workloads")? == 1, "{}", cluster.agent.daemon.log());
        Ok(())
    })?;
    let denied = runtimes.exec(&id, &["/later"]);
    ensure!(denied.as_ref().map_or(true, |denied| denied.status != 0), "what it dropped still runs: {denied:?}");
    ensure!(runtimes.exec(&id, &["/usr/bin/true"])?.status == 0, "a listed program was denied");
    let event = cluster.audit_of_dropped()?;
    ensure!(event["workload"]["id"] == id.as_str(), "{event}");
    runtimes.remove(&id)?;
    runtimes.remove_pod(&pod)?;
    cluster.remove()
}
