//! What one agent's `/metrics` says of its node: OpenMetrics text, read as far as it is shown.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use plimsoll_abi::Stat;
use serde::Serialize;

use crate::collector;

/// Bytes of an agent's metrics; they are a few kilobytes.
const METRICS_BYTES: u64 = 1 << 20;

/// Asks one agent.
pub(super) struct Client {
    agent: ureq::Agent,
    url: String,
}

impl Client {
    pub(super) fn new(url: &str) -> Self {
        Self { agent: collector::agent(), url: url.trim_end_matches('/').to_owned() }
    }
}

/// One agent's numbers. Counters are since the node started, or the agent.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) agent: String,
    #[serde(skip)]
    at: SystemTime,
    /// A canary was really denied.
    pub(super) is_ready: bool,
    pub(super) workloads: u64,
    pub(super) listed_files: u64,
    /// Containers by what became of them: under a policy, without one, not started.
    pub(super) admitted: u64,
    pub(super) unselected: u64,
    pub(super) refused: u64,
    pub(super) checked: u64,
    pub(super) denied: u64,
    pub(super) audited: u64,
    /// Checks a second since the answer before; none after the first one.
    pub(super) checks_per_second: Option<u64>,
    /// By cause.
    pub(super) lost: BTreeMap<String, u64>,
    pub(super) queued: u64,
    pub(super) is_connected: bool,
}

impl Figures {
    pub(super) fn fetch(client: &Client, now: SystemTime) -> anyhow::Result<Self> {
        let url = &client.url;
        let mut response = client.agent.get(format!("{url}/metrics")).call().with_context(|| {
            format!("cannot reach the agent at `{url}`; is it running, and is --agent its `admin` address?")
        })?;
        let status = response.status();
        anyhow::ensure!(status.is_success(), "the agent at `{url}` did not give its metrics ({status})");
        let body = response.body_mut().with_config().limit(METRICS_BYTES).read_to_string();
        let text = body.with_context(|| format!("the answer of the agent at `{url}` broke off"))?;
        Self::read(url, &text, now).with_context(|| format!("`{url}` did not answer like an agent"))
    }

    /// Reads the text of `/metrics`.
    pub(super) fn read(agent: &str, text: &str, at: SystemTime) -> anyhow::Result<Self> {
        let series: BTreeMap<&str, u64> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '))
            .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
            .collect();
        let value = |name: &str| series.get(name).copied().unwrap_or(0);
        anyhow::ensure!(series.contains_key("plimsoll_workloads"), "it has no `plimsoll_workloads`");
        let kernel = |stat: &str| value(&format!("plimsoll_kernel_counter_total{{counter=\"{stat}\"}}"));
        let sum = |end: &str| {
            let all = Stat::ALL.iter().filter(|stat| stat.name().ends_with(end));
            all.fold(0_u64, |sum, stat| sum.saturating_add(kernel(stat.name())))
        };
        let admissions = |outcome| value(&format!("plimsoll_admissions_total{{outcome=\"{outcome}\"}}"));
        let mut lost: BTreeMap<String, u64> = series
            .iter()
            .filter_map(|(name, count)| {
                let cause = name.strip_prefix("plimsoll_exporter_lost_total{cause=\"")?.strip_suffix("\"}")?;
                Some((cause.replace('_', "-"), *count))
            })
            .collect();
        lost.insert("denial-ring".to_owned(), kernel(Stat::DenialsLost.name()));
        lost.insert("telemetry-ring".to_owned(), kernel(Stat::TelemetryLost.name()));
        lost.retain(|_, count| *count > 0);
        Ok(Self {
            agent: agent.to_owned(),
            at,
            is_ready: value("plimsoll_ready") == 1,
            workloads: value("plimsoll_workloads"),
            listed_files: value("plimsoll_allowlist_entries"),
            admitted: admissions("Admitted"),
            unselected: admissions("Unselected"),
            refused: admissions("Refused"),
            checked: sum("_checked"),
            denied: sum("_denied"),
            audited: sum("_audited"),
            checks_per_second: None,
            lost,
            queued: value("plimsoll_exporter_queued"),
            is_connected: value("plimsoll_exporter_connected") == 1,
        })
    }

    /// Learns how much was checked since an earlier answer. A counter that fell has begun anew.
    pub(super) fn follow(&mut self, earlier: Option<&Self>) {
        self.checks_per_second = earlier.and_then(|earlier| {
            let time = self.at.duration_since(earlier.at).ok().filter(|time| *time >= Duration::from_millis(1))?;
            let checks = u128::from(self.checked.checked_sub(earlier.checked)?);
            u64::try_from(checks.saturating_mul(1000).checked_div(time.as_millis())?).ok()
        });
    }
}
