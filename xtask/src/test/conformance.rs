//! Tools of others that the collector is held against, and the tests that use them.

use std::process::Command;

use anyhow::Result;

use crate::{
    pins,
    step::{self, Step},
    workspace::Workspace,
};

/// Installs the tools, and runs the tests of the collector that need them.
pub(super) fn run(workspace: &Workspace) -> Result<()> {
    let environment = workspace.target().join("conformance");
    let installed = environment.join("installed");
    let wanted = pins::CONFORMANCE_PYTHON.join("\n");
    if std::fs::read_to_string(&installed).is_ok_and(|found| found == wanted) {
        step::found(&pins::CONFORMANCE_PYTHON.join(", "));
    } else {
        let step = Step::start(pins::CONFORMANCE_PYTHON.join(", "));
        step::quietly(Command::new("/usr/bin/python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
        let mut install = Command::new(environment.join("bin/pip"));
        step::quietly(
            install.args(["install", "--quiet", "--disable-pip-version-check"]).args(pins::CONFORMANCE_PYTHON),
        )?;
        std::fs::write(&installed, wanted)?;
        step.done("installed");
    }
    let mut test = Command::new("cargo");
    test.args(["test", "--package", "plimsoll-collector", "--test", "conformance", "--", "--nocapture"]);
    test.env("PLIMSOLL_CONFORMANCE", &environment).current_dir(workspace.root());
    step::shown("the collector against schemathesis, OCSF's schema and an OpenTelemetry receiver", &mut test)
}
