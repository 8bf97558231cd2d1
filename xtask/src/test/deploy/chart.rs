//! The chart as helm renders it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::tools::Tools;
use crate::step;

/// Every switch that renders something of its own.
const EVERYTHING: &str = "\
namespace: { create: true }
image: { pullSecrets: [registry], agentDigest: 'sha256:0000000000000000000000000000000000000000000000000000000000000000' }
agent:
  policies: { shop.yaml: 'a: b' }
  trustKeys: { release: '-----BEGIN PUBLIC KEY-----' }
  registryCredentials: registry
  hook: { directory: /home/kubernetes/bin/plimsoll }
  nri: { enabled: true, config: { hook: /usr/local/bin/plimsoll-agent } }
  cri: { enabled: true }
  kubernetes: { enabled: true, config: { policies: false } }
  tls: { source: spiffe, spiffe: { trustDomain: nodes.example, helperImage: 'helper:1' } }
  seccompProfile: { type: Localhost, localhostProfile: plimsoll-agent.json }
  podLabels: { a: b }
  podAnnotations: { a: b }
collector:
  replicas: 3
  store: { shared: true }
  autoscaling: { enabled: true }
  tls: { source: certManager, certManager: { issuerRef: { name: issuer } } }
  outputSecrets: [siem]
  outputs: { siem: { ocsf: { url: 'https://siem.example' } } }
  priorityClassName: high
networkPolicy:
  queriesFrom: [{ podSelector: {} }]
  agentEgress: [{ ports: [{ port: 443 }] }]
  collectorEgress: [{ ports: [{ port: 443 }] }]
monitoring: { podMonitor: true, serviceMonitor: true, labels: { release: prometheus } }
platform: { kind: gke }
";

/// As little as can be.
const LEAST: &str = "\
agent: { hook: { enabled: false }, existingPolicies: policies }
collector: { enabled: false }
networkPolicy: { metricsFrom: [] }
";

/// One rendering.
#[derive(Debug)]
pub(super) struct Rendered {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) objects: Vec<Value>,
}

/// The chart and helm.
#[derive(Debug)]
pub(super) struct Chart<'a> {
    pub(super) tools: &'a Tools,
    pub(super) directory: PathBuf,
}

impl Chart<'_> {
    /// The defaults, every example of `examples`, and the extremes.
    pub(super) fn all(&self, examples: &Path, scratch: &Path) -> Result<Vec<Rendered>> {
        let mut renderings = vec![self.render("defaults", &[])?];
        for path in files(examples)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            renderings.push(self.render(&name, &[path])?);
        }
        for (name, text) in [("everything", EVERYTHING), ("least", LEAST)] {
            let path = scratch.join(format!("{name}.yaml"));
            fs::write(&path, text)?;
            renderings.push(self.render(name, &[path])?);
        }
        Ok(renderings)
    }

    /// Renders with these files of values, and has helm's lint say nothing against it.
    fn render(&self, name: &str, values: &[PathBuf]) -> Result<Rendered> {
        let mut lint = self.tools.helm();
        lint.args(["lint", "--strict", "--quiet"]).arg(&self.directory);
        step::quietly(lint.args(values.iter().flat_map(|path| ["--values".as_ref(), path.as_os_str()])))
            .with_context(|| format!("helm lint with {name}"))?;
        let text = step::output(
            self.template(&["--no-hooks"]).args(values.iter().flat_map(|path| ["--values".as_ref(), path.as_os_str()])),
        )
        .with_context(|| format!("helm template with {name}"))?;
        let objects = parse(&text).with_context(|| format!("what helm renders with {name}"))?;
        Ok(Rendered { name: name.to_owned(), text, objects })
    }

    /// What helm says against these settings; an error if it renders them.
    pub(super) fn refusal(&self, settings: &[&str]) -> Result<String> {
        let mut template = self.template(&[]);
        template.args(settings.iter().flat_map(|setting| ["--set", setting]));
        let output = template.stdin(Stdio::null()).output().with_context(|| format!("cannot run {template:?}"))?;
        ensure!(!output.status.success(), "the chart takes {}", settings.join(","));
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// What deploy/manifests has.
    pub(super) fn manifests(&self) -> Result<String> {
        step::output(&mut self.template(&["--set", "namespace.create=true"]))
    }

    fn template(&self, more: &[&str]) -> std::process::Command {
        let mut template = self.tools.helm();
        template.args(["template", "plimsoll"]).arg(&self.directory).args(["--namespace", "plimsoll"]).args(more);
        template
    }
}

/// Objects of a stream of YAML.
pub(super) fn parse(text: &str) -> Result<Vec<Value>> {
    let objects: Vec<Value> = serde_yaml::from_multiple(text)?;
    Ok(objects.into_iter().filter(|object| !object.is_null()).collect())
}

/// The `*.yaml` of a directory, by name.
pub(super) fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    ensure!(!paths.is_empty(), "{} has no *.yaml", directory.display());
    Ok(paths)
}

/// The object of that kind whose name ends so.
pub(super) fn find<'a>(objects: &'a [Value], kind: &str, ending: &str) -> Option<&'a Value> {
    let named = |object: &&Value| {
        object.pointer("/metadata/name").and_then(Value::as_str).is_some_and(|name| name.ends_with(ending))
    };
    objects.iter().filter(|object| object.get("kind").and_then(Value::as_str) == Some(kind)).find(named)
}
