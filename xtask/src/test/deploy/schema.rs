//! Objects against the schemas of Kubernetes, and of operators as far as the chart uses them.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{chart::Rendered, tools::Tools};
use crate::{pins, step};

/// What operators' objects must have, since no schema of theirs is at hand.
const OF_OPERATORS: &[(&str, &str, &[&str])] = &[
    (
        "cert-manager.io/v1",
        "Certificate",
        &["/spec/secretName", "/spec/issuerRef/name", "/spec/issuerRef/kind", "/spec/dnsNames/0"],
    ),
    (
        "monitoring.coreos.com/v1",
        "PodMonitor",
        &["/spec/selector/matchLabels", "/spec/podMetricsEndpoints/0/port", "/spec/podMetricsEndpoints/0/interval"],
    ),
    (
        "monitoring.coreos.com/v1",
        "ServiceMonitor",
        &["/spec/selector/matchLabels", "/spec/endpoints/0/port", "/spec/endpoints/0/interval"],
    ),
    (
        "spire.spiffe.io/v1alpha1",
        "ClusterSPIFFEID",
        &["/spec/spiffeIDTemplate", "/spec/podSelector/matchLabels", "/spec/namespaceSelector/matchLabels"],
    ),
];

/// What was held against schemas.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) by_schema: usize,
    pub(super) by_hand: usize,
}

/// Every object of every rendering against each release of Kubernetes.
pub(super) fn check(tools: &Tools, renderings: &[Rendered], scratch: &Path) -> Result<Tally> {
    let mut tally = Tally::default();
    for rendering in renderings {
        let (operators, own): (Vec<_>, Vec<_>) =
            rendering.objects.iter().partition(|object| of_operator(object).is_some());
        for object in operators {
            structure(object).with_context(|| rendering.name.clone())?;
            tally.by_hand += 1;
        }
        for release in pins::DEPLOY_KUBERNETES {
            tally.by_schema += validate(tools, &own, release, scratch).with_context(|| rendering.name.clone())?;
        }
    }
    Ok(tally)
}

/// Unknown fields are errors. Answers how many objects there were.
fn validate(tools: &Tools, objects: &[&Value], release: &str, scratch: &Path) -> Result<usize> {
    let file = scratch.join("own.json");
    // JSON is YAML, and one object after the other a stream of it.
    let stream: Vec<String> = objects.iter().map(ToString::to_string).collect();
    fs::write(&file, stream.join("\n---\n"))?;
    let said =
        step::output(tools.kubernetes_validate().args(["--strict", "--kubernetes-version", release]).arg(&file))?;
    let passed = said.lines().filter(|line| line.starts_with("INFO") && line.contains(" passed for resource ")).count();
    ensure!(
        passed == objects.len(),
        "{passed} of {} objects have a schema in {release} and fit it:\n{said}",
        objects.len()
    );
    Ok(passed)
}

fn of_operator(object: &Value) -> Option<&'static [&'static str]> {
    let field = |name| object.get(name).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (field("apiVersion"), field("kind"));
    OF_OPERATORS.iter().find(|(of, is, _)| (*of, *is) == (version, kind)).map(|(_, _, fields)| *fields)
}

fn structure(object: &Value) -> Result<()> {
    for field in of_operator(object).unwrap_or_default() {
        match object.pointer(field) {
            None | Some(Value::Null) => bail!("{} has no {field}", object["kind"]),
            Some(Value::String(text)) if text.is_empty() => bail!("{} has an empty {field}", object["kind"]),
            Some(_) => {}
        }
    }
    Ok(())
}

/// That a wrong field, a wrong type and an unknown kind are noticed.
pub(super) fn prove(tools: &Tools, scratch: &Path) -> Result<()> {
    let object = |spec: &str| serde_json::from_str::<Value>(spec);
    for wrong in [
        r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"a"},"spec":{"port":[]}}"#,
        r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"a":1}}"#,
        r#"{"apiVersion":"v1","kind":"Servant","metadata":{"name":"a"}}"#,
    ] {
        ensure!(validate(tools, &[&object(wrong)?], "1.35", scratch).is_err(), "this passes: {wrong}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_operator_needs_must_be_there() {
        let mut object = json!({
            "apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor",
            "spec": { "selector": { "matchLabels": { "a": "b" } }, "podMetricsEndpoints": [{ "port": "metrics", "interval": "30s" }] },
        });
        structure(&object).unwrap();
        object["spec"]["podMetricsEndpoints"][0]["port"] = json!("");
        assert!(structure(&object).unwrap_err().to_string().contains("empty /spec/podMetricsEndpoints/0/port"));
        object["spec"]["podMetricsEndpoints"] = json!([]);
        assert!(structure(&object).unwrap_err().to_string().contains("no /spec/podMetricsEndpoints/0/port"));
    }
}
