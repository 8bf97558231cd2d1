//! Settings that do not go together, and what the chart says of each.

use anyhow::{Result, ensure};

use super::chart::Chart;

/// Settings, and a part of what is said that tells a way out.
const REFUSED: &[(&[&str], &str)] = &[
    (&["collector.replicas=2"], "collector.store.shared: true"),
    (&["collector.autoscaling.enabled=true"], "collector.store.shared: true"),
    (
        &["collector.store.shared=true", "collector.autoscaling.enabled=true", "collector.autoscaling.minReplicas=9"],
        "more than maxReplicas",
    ),
    (&["collector.externalEndpoint=https://a.example:7443"], "set collector.enabled: false"),
    (&["networkPolicy.enabled=false"], "collector.allowOpenQueries: true"),
    (&["collector.tls.source=certManager"], "issuerRef.name"),
    (&["collector.tls.trustDomains=null"], "names no trust domain"),
    (&["agent.config.node=a"], "agent.config.node is the chart's to set"),
    (&["agent.config.nri.socket=/a"], "agent.config.nri is the chart's to set"),
    (&["collector.config.grpc=0.0.0.0:1"], "collector.config.grpc is the chart's to set"),
    (&["agent.policies.a\\.yaml=b", "agent.existingPolicies=c"], "leave one empty"),
    (&["agent.tls.source=spiffe"], "set agent.tls.spiffe.trustDomain"),
    (
        &["agent.tls.source=spiffe", "agent.tls.spiffe.trustDomain=other.example", "agent.tls.spiffe.helperImage=a"],
        "would turn every agent away",
    ),
    (&["platform.serverless=true"], "Use GKE Standard, EKS managed nodes or AKS node pools"),
    (&["platform.kind=gke"], "use a directory below /home/kubernetes/bin"),
    // The schema's.
    (&["collector.replica=2"], "'replica' not allowed"),
    (&["agent.maxUnavailable=0"], "/agent/maxUnavailable"),
    (&["agent.policies.readme=b"], "'readme' does not match"),
    (&["agent.trustKeys.release=private"], "/agent/trustKeys/release"),
    (&["agent.hook.directory=relative"], "/agent/hook/directory"),
    (&["agent.privileged=true"], "'privileged' not allowed"),
    (&["collector.externalEndpoint=http://a.example"], "/collector/externalEndpoint"),
    (&["image.agentDigest=latest"], "/image/agentDigest"),
    (&["platform.kind=autopilot"], "/platform/kind"),
];

/// Answers how many were refused.
pub(super) fn check(chart: &Chart<'_>) -> Result<usize> {
    for (settings, words) in REFUSED {
        let said = chart.refusal(settings)?;
        ensure!(said.contains(words), "{} is refused, but not with `{words}`:\n{said}", settings.join(","));
    }
    Ok(REFUSED.len())
}
