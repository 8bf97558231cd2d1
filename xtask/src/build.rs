//! `cargo xtask build`: kernel programs first, since the agent carries them; then everything that runs in user space.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};

use crate::{pins, step, workspace::Workspace};

/// Package and program of the kernel programs that the agent carries.
const KERNEL_PROGRAMS: &str = "plimsoll-agent-ebpf";
/// Package and program of those that run the same decision on demand.
const DECISION: &str = "plimsoll-tests-ebpf";
/// The kernel's instruction set, little-endian.
const TARGET: &str = "bpfel-unknown-none";
const PROFILE: &str = "bpf";
/// The agent's build script finds the kernel programs by this variable.
const OBJECT: &str = "PLIMSOLL_EBPF_OBJECT";

/// Builds all of it, in the release profile. Answers the kernel programs' file.
pub(crate) fn run(workspace: &Workspace) -> Result<PathBuf> {
    let object = kernel_programs(workspace)?;
    // In one go: apart, shared dependencies would be compiled once for each set of features.
    let mut programs = cargo(workspace, "build", &object);
    programs.args(["--release", "--bins", "--examples"]);
    for package in ["plimsoll-agent", "plimsoll-collector", "plimsoll-cli", "plimsoll-tests", "plimsoll-tests-decide"] {
        programs.args(["-p", package]);
    }
    step::shown("build the agent, the collector, the command line and the guests' tests", &mut programs)?;
    Ok(object)
}

/// Builds `plimsoll` alone. Answers its file.
pub(crate) fn command_line(workspace: &Workspace) -> Result<PathBuf> {
    let mut program = Command::new("cargo");
    program.current_dir(workspace.root()).args(["build", "--locked", "--release", "-p", "plimsoll-cli"]);
    step::shown("build the command line", &mut program)?;
    Ok(workspace.release().join("plimsoll"))
}

/// Builds the kernel programs. Answers their file.
pub(crate) fn kernel_programs(workspace: &Workspace) -> Result<PathBuf> {
    step::shown("build the kernel programs", &mut cargo_bpf(workspace, "build")?)?;
    object(workspace, KERNEL_PROGRAMS)
}

/// What runs `decide()` on this machine, with its arguments.
pub(crate) fn decision(workspace: &Workspace, arguments: &[&str]) -> Result<Command> {
    let mut run = Command::new(workspace.release().join("plimsoll-tests-decide"));
    run.arg("--object").arg(object(workspace, DECISION)?).args(arguments);
    Ok(run)
}

fn object(workspace: &Workspace, program: &str) -> Result<PathBuf> {
    let object = workspace.kernel_programs().join(TARGET).join(PROFILE).join(program);
    ensure!(object.is_file(), "{} is missing although it was built", object.display());
    Ok(object)
}

/// `cargo <subcommand>` for this machine's programs, with the kernel programs in `object`.
pub(crate) fn cargo(workspace: &Workspace, subcommand: &str, object: &Path) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(workspace.root()).args([subcommand, "--locked"]).env(OBJECT, object);
    cargo
}

/// `cargo <subcommand>` for the kernel programs. The compiler's flags are in `.cargo/config.toml`: `RUSTFLAGS` would replace them.
pub(crate) fn cargo_bpf(workspace: &Workspace, subcommand: &str) -> Result<Command> {
    let mut cargo = Command::new("rustup");
    cargo.args(["run", pins::BPF_TOOLCHAIN, "cargo", subcommand, "--locked", "-Z", "build-std=core"]);
    cargo
        .args(["--target", TARGET, "--profile", PROFILE, "-p", KERNEL_PROGRAMS, "-p", DECISION])
        .current_dir(workspace.root());
    cargo.env("PATH", workspace.path()?).env("CARGO_TARGET_DIR", workspace.kernel_programs());
    // `core`'s source and the kernel's registers are not for stable compilers; this one's version is known, so that is no risk.
    cargo.env("RUSTC_BOOTSTRAP", "1").env_remove("RUSTFLAGS");
    Ok(cargo)
}
