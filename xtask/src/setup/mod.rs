//! Finds or installs all that building and testing need. Running it again installs nothing.

mod apt;
mod kernels;
mod toolchain;
mod tools;
pub(crate) mod wheels;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use plimsoll_tests::vm::{Accelerator, Kernel};

use crate::{
    step::{self, Step},
    workspace::Workspace,
};

/// How long a kernel may take to boot on KVM before KVM is held to be broken.
const KVM_DEADLINE: Duration = Duration::from_secs(8);

/// Everything but what only `check` needs.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    step::heading("setup");
    let started = Instant::now();
    ensure!(
        rustix::process::geteuid().is_root(),
        "setup installs Debian packages and makes file systems: run it as root"
    );
    let mut apt = apt::Apt::default();
    apt.install(crate::pins::HOST_PACKAGES)?;
    toolchain::link()?;
    tools::bpf_linker(workspace)?;
    tools::syft(workspace)?;
    for kernel in Kernel::ALL {
        kernels::install(workspace, &mut apt, kernel)?;
    }
    step::found(&format!("guests run on {}", accelerator(workspace)?.name()));
    println!("{:>10}  setup ({:.1} s)", "done", started.elapsed().as_secs_f64());
    Ok(())
}

/// Fetches a Debian package and unpacks it into a directory, which must be empty.
pub(crate) fn unpack(package: &str, directory: &Path) -> Result<()> {
    apt::Apt::unpack(package, directory)
}

/// What the corpus of SBOMs is made with.
pub(crate) fn run_for_corpus(workspace: &Workspace) -> Result<()> {
    step::heading("setup");
    ensure!(rustix::process::geteuid().is_root(), "root filesystems have files of several owners: run this as root");
    apt::Apt::default().install(crate::pins::CORPUS_PACKAGES)?;
    tools::syft(workspace)
}

/// What images of static programs are built with.
pub(crate) fn run_for_images(workspace: &Workspace) -> Result<()> {
    step::heading("setup");
    ensure!(
        rustix::process::geteuid().is_root(),
        "images have files of root, and their programs are tried in them: run this as root"
    );
    let mut apt = apt::Apt::default();
    apt.install(crate::pins::HOST_PACKAGES)?;
    apt.install(crate::pins::IMAGE_PACKAGES)?;
    toolchain::link()?;
    toolchain::add_target(crate::pins::IMAGE_TARGET)?;
    tools::bpf_linker(workspace)?;
    tools::syft(workspace)
}

/// What the fuzzers are built with. A nightly compiler is for the developer to choose.
pub(crate) fn run_for_fuzz(workspace: &Workspace) -> Result<()> {
    step::heading("setup");
    let nightly = step::output(std::process::Command::new("rustup").args(["run", "nightly", "rustc", "--version"]));
    ensure!(nightly.is_ok(), "fuzzers need a nightly compiler: rustup toolchain install nightly");
    tools::cargo_fuzz(workspace)
}

/// What `check` needs beside the rest.
pub(crate) fn run_for_check(workspace: &Workspace) -> Result<()> {
    run(workspace)?;
    tools::cargo_deny(workspace)
}

/// How guests run here: as an earlier probe found, or found now.
pub(crate) fn accelerator(workspace: &Workspace) -> Result<Accelerator> {
    let file = workspace.accelerator();
    if let Some(known) = Accelerator::remembered(&file) {
        return Ok(known);
    }
    let step = Step::start("trying KVM");
    let kernels = Kernel::ALL.map(|kernel| workspace.kernel(kernel));
    let answer = Accelerator::probe(&kernels, &workspace.scratch(), KVM_DEADLINE, &file)?;
    step.done(match answer {
        Accelerator::Kvm => "works",
        Accelerator::Emulated => "no use",
    });
    Ok(answer)
}
