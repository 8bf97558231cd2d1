//! kubectl against a server that answers discovery, and nothing else.
//!
//! `kubectl apply --dry-run=client` asks an API server which kinds there are, and whether each object is there already. No
//! kube-apiserver is in the registries that the build uses, so that this one stands in for it: it has the kinds of a cluster with the
//! operators that the chart can work with, and no object. Schemas are checked elsewhere.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{chart::Rendered, tools::Tools};
use crate::step;

/// Group, version, and kinds with their plural and whether they are in namespaces.
type Group = (&'static str, &'static str, &'static [(&'static str, &'static str, bool)]);

const GROUPS: &[Group] = &[
    (
        "",
        "v1",
        &[
            ("ConfigMap", "configmaps", true),
            ("Namespace", "namespaces", false),
            ("ResourceQuota", "resourcequotas", true),
            ("Service", "services", true),
            ("ServiceAccount", "serviceaccounts", true),
        ],
    ),
    ("apps", "v1", &[("DaemonSet", "daemonsets", true), ("StatefulSet", "statefulsets", true)]),
    ("autoscaling", "v2", &[("HorizontalPodAutoscaler", "horizontalpodautoscalers", true)]),
    ("networking.k8s.io", "v1", &[("NetworkPolicy", "networkpolicies", true)]),
    ("node.k8s.io", "v1", &[("RuntimeClass", "runtimeclasses", false)]),
    ("policy", "v1", &[("PodDisruptionBudget", "poddisruptionbudgets", true)]),
    (
        "rbac.authorization.k8s.io",
        "v1",
        &[("ClusterRole", "clusterroles", false), ("ClusterRoleBinding", "clusterrolebindings", false)],
    ),
    ("cert-manager.io", "v1", &[("Certificate", "certificates", true)]),
    (
        "monitoring.coreos.com",
        "v1",
        &[("PodMonitor", "podmonitors", true), ("ServiceMonitor", "servicemonitors", true)],
    ),
    ("spire.spiffe.io", "v1alpha1", &[("ClusterSPIFFEID", "clusterspiffeids", false)]),
];

/// How long a client may say nothing.
const PATIENCE: Duration = Duration::from_mins(1);

/// Has kubectl take every object of every rendering. Answers how many it took.
pub(super) fn check(tools: &Tools, renderings: &[Rendered], scratch: &Path) -> Result<usize> {
    let address = serve()?;
    let mut taken = 0;
    for rendering in renderings {
        let said = apply(tools, address, &rendering.text, scratch).with_context(|| rendering.name.clone())?;
        ensure!(
            said == rendering.objects.len(),
            "{}: kubectl took {said} of {} objects",
            rendering.name,
            rendering.objects.len()
        );
        taken += said;
    }
    let wrong = "apiVersion: apps/v1\nkind: DaemonSets\nmetadata: { name: a }\n";
    ensure!(apply(tools, address, wrong, scratch).is_err(), "kubectl takes a kind that there is not");
    Ok(taken)
}

fn apply(tools: &Tools, address: SocketAddr, text: &str, scratch: &Path) -> Result<usize> {
    let file = scratch.join("objects.yaml");
    std::fs::write(&file, text)?;
    let mut kubectl = tools.kubectl();
    kubectl.arg(format!("--server=http://{address}")).arg("--cache-dir").arg(scratch.join("cache"));
    kubectl.args(["apply", "--dry-run=client", "--validate=false", "--filename"]).arg(&file);
    kubectl.env("KUBECONFIG", "/dev/null").env("HOME", scratch);
    let said = step::output(&mut kubectl)?;
    Ok(said.lines().filter(|line| line.ends_with("created (dry run)")).count())
}

/// Answers discovery until this process ends.
fn serve() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on loopback")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // What goes wrong here, kubectl says.
            thread::spawn(move || drop(answer(stream)));
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::from(" ");
    while !line.trim().is_empty() {
        line.clear();
        reader.read_line(&mut line)?;
    }
    let path = first.split_whitespace().nth(1).unwrap_or_default();
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let (status, body) = match document(path) {
        Some(body) => ("200 OK", body),
        None => (
            "404 Not Found",
            json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
            }),
        ),
    };
    let body = body.to_string();
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    Ok(())
}

/// What a cluster says of its kinds, in the form that every release understands.
fn document(path: &str) -> Option<Value> {
    if path == "/api" {
        return Some(json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] }));
    }
    if path == "/apis" {
        let named = GROUPS.iter().filter(|(group, ..)| !group.is_empty());
        let groups: Vec<Value> = named
            .map(|(group, version, _)| {
                let version = json!({ "groupVersion": format!("{group}/{version}"), "version": version });
                json!({ "name": group, "versions": [version], "preferredVersion": version })
            })
            .collect();
        return Some(json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups }));
    }
    GROUPS.iter().find_map(|(group, version, kinds)| {
        let place = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        (place == path).then(|| {
            let name = if group.is_empty() { (*version).to_owned() } else { format!("{group}/{version}") };
            let resources: Vec<Value> = kinds.iter().map(resource).collect();
            json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources })
        })
    })
}

fn resource((kind, plural, namespaced): &(&str, &str, bool)) -> Value {
    json!({
        "name": plural, "singularName": kind.to_lowercase(), "namespaced": namespaced, "kind": kind,
        "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
    })
}
