//! A collector, an agent with its policies, and a container under enforcement: set up once, used by many tests.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use anyhow::{Context as _, Result, anyhow};
use serde_json::Value;

use crate::{
    container::{ContainerSpec, image_digest},
    daemon::{Agent, Collector, Node, wait_for},
    technique::suites,
};

/// Where the tests keep agent and collector.
const DIRECTORY: &str = "/run/plimsoll-stage";
/// What Syft says of the test image.
pub(crate) const SBOM: &str = "/payload/image/sbom.syft.json";
/// The label by which the tests' policies select.
const LABEL: &str = "dev.plimsoll.label/suite";

/// A policy in `mode` for containers that carry the label `suite`.
pub(crate) fn policy(suite: &str, mode: &str) -> String {
    policy_with(suite, mode, "")
}

/// The same with more lines in its `spec`.
pub(crate) fn policy_with(suite: &str, mode: &str, spec: &str) -> String {
    format!(
        "apiVersion: plimsoll.dev/v1alpha1\nkind: EnforcementPolicy\nmetadata:\n  name: {suite}\nspec:\n  selector:\n    \
         labels:\n      suite: {suite}\n  mode: {mode}\n  evidence: package-digest\n{spec}"
    )
}

/// All that runs beside the containers.
pub(crate) struct Stage {
    pub(crate) collector: Collector,
    pub(crate) node: Node,
    pub(crate) agent: Agent,
}

/// The shared stage, for one test at a time. Set up by the first one.
pub(crate) fn stage() -> Result<MutexGuard<'static, Stage>> {
    static STAGE: OnceLock<Result<Mutex<Stage>, String>> = OnceLock::new();
    let stage = STAGE.get_or_init(|| set_up(true).map(Mutex::new).map_err(|error| format!("{error:#}")));
    match stage {
        Ok(stage) => Ok(stage.lock().unwrap_or_else(PoisonError::into_inner)),
        Err(error) => Err(anyhow!("the stage could not be set up: {error}")),
    }
}

/// A stage of its own, for whoever wants no reports of what is allowed.
pub(crate) fn set_up(report_executions: bool) -> Result<Stage> {
    let directory = Path::new(DIRECTORY);
    let settings = format!("reportExecutions: {report_executions}");
    let node = Node::new(directory, 0, &image_digest()?, Path::new(SBOM), &settings)?;
    for suite in suites() {
        node.write_policy(&format!("{}.yaml", suite.name), &policy_with(suite.name, "Enforce", suite.spec))?;
    }
    node.write_policy("stressed.yaml", &policy("stressed", "Enforce"))?;
    node.write_policy("monitored.yaml", &policy("monitored", "Monitor"))?;
    let writer = policy_with("cgroup-writer", "Enforce", "  hardening: {kernelFiles: Allow}\n");
    node.write_policy("cgroup-writer.yaml", &writer)?;
    for (name, text) in crate::tamper::policies() {
        node.write_policy(&format!("{name}.yaml"), &text)?;
    }
    let collector = Collector::start(directory)?;
    let agent = node.start_agent()?;
    Ok(Stage { collector, node, agent })
}

/// A container of the test image that an agent is told of, selected by its policy for `suite`.
pub(crate) fn spec_for(node: &Node, id: &str, suite: &str) -> Result<ContainerSpec> {
    let mut spec = ContainerSpec::of_test_image(id)?;
    spec.annotations.append(&mut BTreeMap::from([(LABEL.to_owned(), suite.to_owned())]));
    spec.hooks = true;
    spec.agent_socket = node.socket();
    Ok(spec)
}

impl Stage {
    /// A container of the test image that the agent is told of, selected by the policy for `suite`.
    pub(crate) fn spec(&self, id: &str, suite: &str) -> Result<ContainerSpec> {
        spec_for(&self.node, id, suite)
    }

    /// Ends agent and collector, and detaches the programs.
    pub(crate) fn remove(self) -> Result<()> {
        let Self { collector, node, mut agent } = self;
        agent.daemon.kill()?;
        drop(collector);
        node.detach()
    }

    /// How many denials and reports of them the kernel has counted: the sequence number of the last one.
    pub(crate) fn denials(&self) -> Result<u64> {
        let metrics = self.agent.metrics()?;
        let counters = metrics.lines().filter_map(|line| line.strip_prefix("plimsoll_kernel_counter_total{counter=\""));
        let counted = counters.filter_map(|line| line.split_once("\"} "));
        let denials = counted.filter(|(name, _)| name.ends_with("_denied") || name.ends_with("_audited"));
        denials.map(|(name, value)| value.parse::<u64>().with_context(|| format!("{name} is `{value}`"))).sum()
    }

    /// The newest events of `workload`, for messages.
    pub(crate) fn recent(&self, workload: &str) -> String {
        let events = self.collector.events(&format!("workload={workload}&verdict=deny"));
        events.map_or_else(|error| format!("{error:#}"), |events| brief(&events))
    }

    /// Waits for an event of `workload` after `sequence` that `matches`.
    pub(crate) fn event_after(
        &self,
        sequence: u64,
        workload: &str,
        query: &str,
        matches: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        wait_for("an event at the collector", || {
            let events = self.collector.events(&format!("workload={workload}&{query}"))?;
            let newer = |event: &&Value| event["kernel_sequence"].as_u64().is_some_and(|number| number > sequence);
            let found = events.iter().filter(newer).find(|event| matches(event)).cloned();
            found.with_context(|| format!("none matches among {}", brief(&events)))
        })
    }
}

/// Events on one line each, for messages.
fn brief(events: &[Value]) -> String {
    let line = |event: &Value| {
        format!(
            "\n  #{} {} {} {} {}",
            event["kernel_sequence"], event["hook"], event["verdict"], event["reason"], event["file"]["path"]
        )
    };
    events.iter().take(5).map(line).collect()
}
