//! `cargo xtask check`: everything that can be said about the sources without running them.

use std::process::Command;

use anyhow::Result;

use crate::{build, docs, setup, step, workspace::Workspace};

/// Packages that compile for the kernel alone.
const KERNEL_PACKAGES: [&str; 2] = ["plimsoll-agent-ebpf", "plimsoll-tests-ebpf"];

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    setup::run_for_check(workspace)?;
    let mut format = Command::new("cargo");
    step::shown("formatting", format.current_dir(workspace.root()).args(["fmt", "--all", "--check"]))?;
    docs::read(workspace)?;
    let object = build::kernel_programs(workspace)?;
    let mut host = build::cargo(workspace, "clippy", &object);
    host.args(["--workspace", "--all-targets"]);
    for package in KERNEL_PACKAGES {
        host.args(["--exclude", package]);
    }
    step::shown("lints: this machine's programs", host.args(["--", "--deny", "warnings"]))?;
    let mut kernel = build::cargo_bpf(workspace, "clippy")?;
    step::shown("lints: kernel programs", kernel.args(["--", "--deny", "warnings"]))?;
    let mut deny = Command::new(workspace.tools().join("bin/cargo-deny"));
    deny.current_dir(workspace.root()).args(["--locked", "check", "licenses", "bans", "sources"]);
    step::shown("licences, sources and forbidden dependencies", &mut deny)
}
