//! The configurations that the chart writes and the capabilities that it gives, as the programs themselves find them.
//!
//! For configurations both programs are started, and must fail: the agent because it is not root (root could load programs on this machine), the collector
//! because its certificate is not there. They say so only after they have understood the configuration.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::chart::{Rendered, find};
use crate::step;

/// What the agent says of a machine it may not use.
const NOT_ROOT: &str = "not running as root";
/// What the collector says of files that the cluster would mount.
const NO_CERTIFICATE: &str = "the files of `tls` cannot be used: cannot read `/etc/plimsoll-collector/";
const NOBODY: &str = "65534";
/// What it takes to become nobody.
const OF_THE_PARSER: &[&str] = &["setuid", "setgid"];

/// The programs.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) directory: PathBuf,
}

impl Programs {
    /// Answers how many configurations were understood.
    pub(super) fn check(&self, renderings: &[Rendered], scratch: &Path) -> Result<usize> {
        let mut understood = 0;
        for rendering in renderings {
            let agent =
                configuration(&rendering.objects, "-agent", "agent.yaml")?.context("no configuration of the agent")?;
            self.agent(&agent, scratch).with_context(|| rendering.name.clone())?;
            understood += 1;
            if let Some(collector) = configuration(&rendering.objects, "-collector", "collector.yaml")? {
                self.collector(&collector, scratch).with_context(|| rendering.name.clone())?;
                understood += 1;
            }
        }
        ensure!(self.agent("sbomSource: [image]\n", scratch).is_err(), "the agent takes a misspelt configuration");
        ensure!(
            self.collector("retention: { maxAge: 1 fortnight }\n", scratch).is_err(),
            "the collector takes nonsense"
        );
        Ok(understood)
    }

    /// With the capabilities that the chart gives the agent, its SBOM parser takes from itself everything that it should; with one less it
    /// cannot. Answers how many were needed.
    pub(super) fn parser(&self, objects: &[Value]) -> Result<usize> {
        let agent = find(objects, "DaemonSet", "-agent").context("there is no agent")?;
        let added = agent.pointer("/spec/template/spec/containers/0/securityContext/capabilities/add");
        let added = added.and_then(Value::as_array).context("the agent has no capabilities")?;
        let all: Vec<String> = added.iter().filter_map(Value::as_str).map(str::to_lowercase).collect();
        self.confine(&all)?;
        for missing in OF_THE_PARSER {
            let rest: Vec<String> = all.iter().filter(|name| name != missing).cloned().collect();
            ensure!(rest.len() + 1 == all.len(), "the chart does not give {missing}");
            ensure!(self.confine(&rest).is_err(), "the parser is confined without {missing}");
        }
        Ok(OF_THE_PARSER.len())
    }

    fn confine(&self, capabilities: &[String]) -> Result<()> {
        let set = format!("--bounding-set=-all,+{}", capabilities.join(",+"));
        let mut agent = Command::new("setpriv");
        agent.args(["--no-new-privs", &set, "--"]).arg(self.directory.join("plimsoll-agent"));
        step::quietly(agent.args(["sbom-parser", "--prove"]))
    }

    fn agent(&self, text: &str, scratch: &Path) -> Result<()> {
        let program = readable(&self.directory.join("plimsoll-agent"), scratch)?;
        let file = written(text, "admin", scratch)?;
        let mut agent = Command::new("setpriv");
        agent.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups", "--"]);
        fails_with(agent.arg(program).args(["run", "--config"]).arg(file), NOT_ROOT)
    }

    fn collector(&self, text: &str, scratch: &Path) -> Result<()> {
        let file = written(text, "grpc", scratch)?;
        let mut collector = Command::new(self.directory.join("plimsoll-collector"));
        collector.arg("--config").arg(file).arg("--database").arg(scratch.join("events.db"));
        fails_with(&mut collector, NO_CERTIFICATE)
    }
}

/// The file of a ConfigMap.
fn configuration(objects: &[Value], name: &str, file: &str) -> Result<Option<String>> {
    let Some(map) = find(objects, "ConfigMap", name) else { return Ok(None) };
    let text = map.get("data").and_then(|data| data.get(file)?.as_str());
    let text = text.with_context(|| format!("the ConfigMap ...{name} has no {file}"))?;
    Ok(Some(text.to_owned()))
}

/// A program where nobody may execute it, too.
fn readable(program: &Path, scratch: &Path) -> Result<PathBuf> {
    let copy = scratch.join("agent-of-nobody");
    if !copy.exists() {
        fs::copy(program, &copy).with_context(|| format!("cannot copy {}", program.display()))?;
    }
    Ok(copy)
}

/// The configuration with a listener that is free; nothing else is changed.
fn written(text: &str, listener: &str, scratch: &Path) -> Result<PathBuf> {
    let prefix = format!("{listener}:");
    let free = format!("{listener}: 127.0.0.1:0");
    let lines = text.lines().filter(|line| !line.starts_with(&prefix)).chain([free.as_str(), ""]);
    let own = lines.collect::<Vec<_>>().join("\n");
    let file = scratch.join(format!("{listener}.yaml"));
    fs::write(&file, own)?;
    Ok(file)
}

fn fails_with(command: &mut Command, words: &str) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() || !said.contains(words) {
        bail!("{command:?} ended with {} and does not say `{words}`:\n{said}", output.status);
    }
    Ok(())
}
