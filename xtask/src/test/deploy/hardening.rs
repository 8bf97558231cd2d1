//! What no schema says: least privilege, selectors that select, ports that are there, and a reason beside every right.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::chart::{Rendered, find};

/// All that the agent may have. Another one is another threat model, so that it is to be written down here, too.
const CAPABILITIES: &[&str] =
    &["BPF", "DAC_READ_SEARCH", "KILL", "NET_ADMIN", "PERFMON", "SETGID", "SETUID", "SYS_ADMIN", "SYS_PTRACE"];
/// Sections of the agent's configuration that are off unless somebody wants them, and the renderings that do.
const SWITCHED: &[&str] = &["nri", "cri", "kubernetes"];
const ON: &[&str] = &["everything", "bare-metal.yaml"];

/// Answers how many containers and rules were looked at.
pub(super) fn check(renderings: &[Rendered], templates: &Path) -> Result<(usize, usize)> {
    let (mut containers, mut rules) = (0, 0);
    for rendering in renderings {
        let outcome = rendering.objects.iter().try_for_each(|object| {
            containers += pod(object)?;
            rules += role(object)?;
            Ok::<_, anyhow::Error>(())
        });
        outcome.with_context(|| rendering.name.clone())?;
        selectors(&rendering.objects).with_context(|| rendering.name.clone())?;
        sections(rendering)?;
    }
    for file in ["agent-daemonset.yaml", "agent-rbac.yaml"] {
        let text = fs::read_to_string(templates.join(file)).with_context(|| format!("cannot read {file}"))?;
        reasons(&text).with_context(|| file.to_owned())?;
    }
    Ok((containers, rules))
}

/// The containers of a workload; 0 if it is none.
fn pod(object: &Value) -> Result<usize> {
    let Some(spec) = object.pointer("/spec/template/spec") else { return Ok(0) };
    let agent = object["kind"] == "DaemonSet";
    ensure!(spec["hostNetwork"] != true, "a pod has the node's network");
    ensure!(agent || spec["hostPID"].is_null(), "the collector has the node's process ids");
    ensure!(
        agent || spec.pointer("/securityContext/runAsNonRoot") == Some(&Value::Bool(true)),
        "the collector may be root"
    );
    let paths = spec["volumes"].as_array().into_iter().flatten().filter_map(|volume| volume.pointer("/hostPath/path"));
    for path in paths {
        ensure!(agent, "the collector has {path} of the node");
        ensure!(path != "/" && path != "/etc" && path != "/var/run", "the agent has all of {path}");
    }
    let profile = spec.pointer("/securityContext/seccompProfile/type").and_then(Value::as_str);
    ensure!(matches!(profile, Some("RuntimeDefault" | "Localhost")), "a pod has no seccomp profile");
    let all = ["containers", "initContainers"].into_iter().filter_map(|list| spec[list].as_array()).flatten();
    let mut containers = 0;
    for container in all {
        self::container(container, spec).with_context(|| format!("container {}", container["name"]))?;
        containers += 1;
    }
    Ok(containers)
}

fn container(container: &Value, spec: &Value) -> Result<()> {
    let context = &container["securityContext"];
    ensure!(context["privileged"] != true, "it is privileged");
    ensure!(context["allowPrivilegeEscalation"] == false, "it may gain privileges");
    ensure!(context["readOnlyRootFilesystem"] == true, "its root file system can be written to");
    ensure!(context.pointer("/capabilities/drop/0").is_some_and(|first| first == "ALL"), "it keeps capabilities");
    for added in context.pointer("/capabilities/add").and_then(Value::as_array).into_iter().flatten() {
        let known = added.as_str().is_some_and(|name| CAPABILITIES.contains(&name));
        ensure!(known && container["name"] == "agent", "it has the capability {added}");
    }
    ensure!(container.pointer("/resources/limits/memory").is_some(), "its memory has no limit");
    let names =
        |list: &Value| -> Vec<Value> { list.as_array().into_iter().flatten().map(|one| one["name"].clone()).collect() };
    let volumes = names(&spec["volumes"]);
    for mount in container["volumeMounts"].as_array().into_iter().flatten() {
        let claimed = mount["name"] == "events";
        ensure!(claimed || volumes.contains(&mount["name"]), "it mounts {}, which no volume is", mount["name"]);
    }
    let ports = names(&container["ports"]);
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        if let Some(port) = container.pointer(&format!("/{probe}/httpGet/port")) {
            ensure!(ports.contains(port), "its {probe} asks port {port}, which it has not");
        }
    }
    Ok(())
}

/// The rules of a role; 0 if it is none.
fn role(object: &Value) -> Result<usize> {
    let Some(rules) = object["rules"].as_array() else { return Ok(0) };
    for rule in rules {
        for list in ["apiGroups", "resources", "verbs"] {
            let words = rule[list].as_array().map_or(&[][..], Vec::as_slice);
            ensure!(
                !words.is_empty() && words.iter().all(|word| word != "*"),
                "a rule's {list} is everything or nothing"
            );
        }
        let has =
            |list: &str, word: &str| rule[list].as_array().is_some_and(|words| words.iter().any(|one| one == word));
        ensure!(!has("resources", "secrets") && !has("resources", "configmaps"), "a rule reads Secrets or ConfigMaps");
        let writes = ["create", "update", "patch", "delete"].iter().any(|verb| has("verbs", verb));
        let status = rule["resources"]
            .as_array()
            .into_iter()
            .flatten()
            .all(|one| one.as_str().is_some_and(|name| name.ends_with("/status")));
        ensure!(!writes || status, "a rule writes more than a status");
    }
    Ok(rules.len())
}

/// Whatever selects pods selects some of a workload.
fn selectors(objects: &[Value]) -> Result<()> {
    let labels: Vec<&Value> =
        objects.iter().filter_map(|object| object.pointer("/spec/template/metadata/labels")).collect();
    for object in objects {
        let places = ["/spec/selector/matchLabels", "/spec/podSelector/matchLabels", "/spec/selector"];
        let Some(wanted) = places.into_iter().find_map(|place| object.pointer(place)?.as_object()) else { continue };
        let matches = |pod: &&&Value| wanted.iter().all(|(name, value)| pod.get(name) == Some(value));
        ensure!(
            labels.iter().find(matches).is_some(),
            "{} {} selects nothing",
            object["kind"],
            object.pointer("/metadata/name").unwrap_or(&Value::Null)
        );
    }
    Ok(())
}

/// A section that is off is not there, and one that is on is.
fn sections(rendering: &Rendered) -> Result<()> {
    let config = find(&rendering.objects, "ConfigMap", "-agent").context("there is no configuration of the agent")?;
    let text = config.pointer("/data/agent.yaml").and_then(Value::as_str).context("it has no agent.yaml")?;
    let on = ON.contains(&rendering.name.as_str());
    for section in SWITCHED {
        let there = text.lines().any(|line| line.starts_with(&format!("{section}:")));
        ensure!(there == on, "{}: section `{section}` of the agent's configuration: {there}", rendering.name);
    }
    let role = find(&rendering.objects, "ClusterRole", "-agent").is_some();
    ensure!(role == on, "{}: rights at the API server: {role}", rendering.name);
    Ok(())
}

/// Every capability that is added and every rule has a comment right above it.
fn reasons(template: &str) -> Result<()> {
    let mut above = "";
    let mut reasoned = false;
    let mut adding = false;
    for (number, line) in (1..).zip(template.lines()) {
        let text = line.trim();
        let item = text.strip_prefix("- ");
        adding = text == "add:" || adding && (text.starts_with('#') || item.is_some());
        if text.starts_with("- apiGroups:") || adding && item.is_some() {
            // The parser's three share a sentence.
            let shared = adding && above.trim().starts_with("- ") && reasoned;
            if !above.trim().starts_with('#') && !shared {
                bail!("line {number}: `{text}` has no reason above it");
            }
            reasoned = matches!(text, "- SETUID" | "- SETGID");
        }
        above = line;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workload() -> Value {
        json!({ "kind": "DaemonSet", "spec": { "template": { "spec": {
            "securityContext": { "seccompProfile": { "type": "RuntimeDefault" } },
            "volumes": [{ "name": "bpf", "hostPath": { "path": "/sys/fs/bpf" } }],
            "containers": [{
                "name": "agent",
                "resources": { "limits": { "memory": "1Gi" } },
                "ports": [{ "name": "metrics", "containerPort": 9464 }],
                "livenessProbe": { "httpGet": { "port": "metrics" } },
                "volumeMounts": [{ "name": "bpf" }],
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                    "capabilities": { "drop": ["ALL"], "add": ["BPF"] },
                },
            }],
        } } } })
    }

    #[test]
    fn too_much_privilege_is_noticed() {
        assert_eq!(pod(&workload()).unwrap(), 1);
        let container = "/spec/template/spec/containers/0";
        for (place, value, words) in [
            ("/spec/template/spec/hostNetwork", json!(true), "node's network"),
            ("/spec/template/spec/securityContext/seccompProfile/type", json!("Unconfined"), "no seccomp profile"),
            ("/spec/template/spec/volumes/0/hostPath/path", json!("/"), "has all of"),
            ("/securityContext/privileged", json!(true), "is privileged"),
            ("/securityContext/allowPrivilegeEscalation", json!(true), "may gain privileges"),
            ("/securityContext/readOnlyRootFilesystem", json!(false), "can be written to"),
            ("/securityContext/capabilities/drop", json!(["NET_RAW"]), "keeps capabilities"),
            ("/securityContext/capabilities/add", json!(["SYS_MODULE"]), "has the capability"),
            ("/resources", json!({}), "memory has no limit"),
            ("/volumeMounts/0/name", json!("bfp"), "which no volume is"),
            ("/livenessProbe/httpGet/port", json!("metric"), "which it has not"),
        ] {
            let mut object = workload();
            let place = if place.starts_with("/spec") { place.to_owned() } else { format!("{container}{place}") };
            let (parent, name) = place.rsplit_once('/').unwrap();
            object.pointer_mut(parent).unwrap()[name] = value;
            let said = format!("{:#}", pod(&object).unwrap_err());
            assert!(said.contains(words), "{place}: {said}");
        }
        let mut collector = workload();
        collector["kind"] = json!("StatefulSet");
        assert!(pod(&collector).unwrap_err().to_string().contains("may be root"));
    }

    #[test]
    fn too_many_rights_are_noticed() {
        let rule = |resources: &str, verbs: &str| json!({ "rules": [{ "apiGroups": [""], "resources": [resources], "verbs": [verbs] }] });
        assert_eq!(role(&rule("pods", "watch")).unwrap(), 1);
        assert_eq!(role(&rule("policies/status", "patch")).unwrap(), 1);
        for (resources, verbs) in [("*", "get"), ("pods", "*"), ("secrets", "get"), ("pods", "delete")] {
            assert!(role(&rule(resources, verbs)).is_err(), "{verbs} {resources}");
        }
    }

    #[test]
    fn a_selector_that_selects_nothing_is_noticed() {
        let pods = json!({ "kind": "DaemonSet", "spec": { "template": { "metadata": { "labels": { "a": "b" } } } } });
        let service = |value: &str| json!({ "kind": "Service", "metadata": { "name": "s" }, "spec": { "selector": { "a": value } } });
        selectors(&[pods.clone(), service("b")]).unwrap();
        assert!(selectors(&[pods, service("c")]).unwrap_err().to_string().contains("selects nothing"));
    }

    #[test]
    fn a_right_without_a_reason_is_noticed() {
        let good = "add:\n  # Why.\n  - BPF\nrules:\n  # Why.\n  - apiGroups: [a]\n";
        reasons(good).unwrap();
        for wrong in ["add:\n  # Why.\n  - BPF\n  - PERFMON\n", "rules:\n  - apiGroups: [a]\n"] {
            assert!(reasons(wrong).unwrap_err().to_string().contains("no reason above it"), "{wrong}");
        }
    }
}
