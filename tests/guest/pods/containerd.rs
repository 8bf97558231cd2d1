//! The real containerd as a process, with its CRI plugin and its NRI plugin.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::cri::Runtimes;
use crate::{
    container::image_digest,
    daemon::{Daemon, wait_for},
};

/// The test image's name in its archive.
pub(crate) const IMAGE: &str = "plimsoll.test/image:latest";
const ARCHIVE: &str = "/payload/image.tar";
const DIRECTORY: &str = "/run/plimsoll-containerd";
/// Where its CRI is.
pub(crate) const SOCKET: &str = "/run/plimsoll-containerd/containerd.sock";
/// Where the NRI plugin listens.
pub(crate) const NRI_SOCKET: &str = "/run/plimsoll-containerd/nri.sock";

/// containerd, stopped when it is dropped.
pub(crate) struct Containerd {
    daemon: Daemon,
    socket: PathBuf,
}

impl Containerd {
    /// Starts it with the test image imported. `hooks` are in every container of the handlers `hooked` and `crun`; the handler
    /// `plain` has none.
    pub(crate) fn start(hooks: &Value) -> Result<Self> {
        let directory = Path::new(DIRECTORY);
        fs::create_dir_all(directory)?;
        // The runtime copies them into pods, and the guest has none.
        for file in ["/etc/hosts", "/etc/resolv.conf"] {
            File::options().create(true).append(true).open(file)?;
        }
        let spec = specification(hooks)?;
        let config = directory.join("config.toml");
        fs::write(&config, configuration(&spec))?;
        let arguments = ["--config", config.to_str().context("the path is text")?];
        let mut daemon = Daemon::start("containerd", Path::new("/usr/bin/containerd"), &arguments, directory)?;
        wait_for("containerd", || {
            daemon.ensure_alive()?;
            Runtimes::connect(Path::new(SOCKET))?.version()
        })?;
        let containerd = Self { daemon, socket: SOCKET.into() };
        containerd.images(&["import", ARCHIVE])?;
        // As a registry would have named it: an image that was imported has no digest that CRI tells.
        let by_digest = format!("plimsoll.test/image@{}", image_digest()?);
        containerd.images(&["tag", "--force", IMAGE, &by_digest])?;
        Ok(containerd)
    }

    fn images(&self, arguments: &[&str]) -> Result<()> {
        let mut ctr = Command::new("ctr");
        ctr.args(["--address", SOCKET, "--namespace", "k8s.io", "images"]).args(arguments);
        let output = ctr.output().context("cannot run `ctr`")?;
        ensure!(output.status.success(), "{arguments:?}: {output:?}\n{}", self.daemon.log());
        Ok(())
    }

    /// A connection to its CRI.
    pub(crate) fn connect(&self) -> Result<Runtimes> {
        Runtimes::connect(&self.socket)
    }

    /// What it has said.
    pub(crate) fn log(&self) -> String {
        self.daemon.log()
    }
}

/// containerd's own base specification with `hooks` in it, as a file.
fn specification(hooks: &Value) -> Result<PathBuf> {
    let output = Command::new("ctr").args(["oci", "spec"]).output().context("cannot run `ctr oci spec`")?;
    let mut base: Value = serde_json::from_slice(&output.stdout).context("the base specification is no JSON")?;
    base["hooks"] = hooks.clone();
    let file = Path::new(DIRECTORY).join("base-spec.json");
    fs::write(&file, base.to_string())?;
    Ok(file)
}

fn configuration(specification: &Path) -> String {
    let cri = "plugins.\"io.containerd.grpc.v1.cri\"";
    let handler = |name: &str, program: &str, base: &str| {
        format!(
            "[{cri}.containerd.runtimes.{name}]\nruntime_type = \"io.containerd.runc.v2\"\n\
container_annotations = [\"dev.plimsoll.*\", \"dev.plimsoll.label/*\"]\n\
             base_runtime_spec = \"{base}\"\n[{cri}.containerd.runtimes.{name}.options]\nBinaryName = \"{program}\"\n"
        )
    };
    let base = specification.display().to_string();
    let handlers = [("plain", "runc", ""), ("hooked", "runc", &base), ("crun", "crun", &base)];
    let handlers = handlers.map(|(name, program, base)| handler(name, program, base)).concat();
    format!(
        "version = 2\nroot = \"/var/lib/containerd\"\nstate = \"/run/containerd\"\n[grpc]\naddress = \"{SOCKET}\"\n\
         [plugins.\"io.containerd.nri.v1.nri\"]\ndisable = false\nsocket_path = \"{NRI_SOCKET}\"\n\
         [{cri}]\nsandbox_image = \"{IMAGE}\"\n[{cri}.containerd]\ndefault_runtime_name = \"plain\"\n{handlers}"
    )
}

/// Hooks that introduce a container to the agent at `socket`.
pub(crate) fn hooks(socket: &Path) -> Value {
    let hook = |stage: &str| {
        json!({
            "path": "/payload/bin/plimsoll-agent",
            "args": ["plimsoll-agent", "run-hook", "--socket", socket, "--stage", stage],
        })
    };
    json!({"createRuntime": [hook("create-runtime")], "poststop": [hook("poststop")]})
}
