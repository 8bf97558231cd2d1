//! `cargo xtask vm`: a guest to look around in.

use std::{io::IsTerminal as _, process::ExitCode, time::Duration};

use anyhow::{Result, ensure};
use plimsoll_tests::vm::{Guest, Kernel, Outcome};

use crate::{build, guest::Guests, setup, workspace::Workspace};

/// The kernel's `lsm=` list without `bpf`: Debian's own, less that.
pub(crate) const LSM_WITHOUT_BPF: &str = "lockdown,yama,loadpin,safesetid,integrity";

#[expect(clippy::struct_excessive_bools, reason = "they are switches of a command line")]
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Kernel to boot
    #[arg(long, default_value = "6.12")]
    kernel: Kernel,
    /// Leave `bpf` out of the kernel's list of security modules
    #[arg(long)]
    no_bpf: bool,
    /// Boot the root disk alone: no build, no test image, no programs of ours
    #[arg(long)]
    bare: bool,
    /// Boot the root disk that has containerd with CRI and NRI, and crun
    #[arg(long, conflicts_with = "bare")]
    runtimes: bool,
    /// Let the guest's clock count instructions, on one CPU
    #[arg(long)]
    icount: bool,
    /// Memory in MiB
    #[arg(long, default_value_t = 3072)]
    memory: u32,
    /// Seconds a command may take, boot included
    #[arg(long, default_value_t = 300)]
    deadline: u64,
    /// Command to run; an interactive shell if there is none
    #[arg(last = true)]
    command: Vec<String>,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<ExitCode> {
    setup::run(workspace)?;
    let guests = if arguments.bare {
        Guests::bare(workspace)?
    } else {
        build::run(workspace)?;
        if arguments.runtimes { Guests::with_runtimes(workspace)? } else { Guests::complete(workspace)? }
    };
    let guest = configure(&guests, arguments);
    let command: Vec<&str> = arguments.command.iter().map(String::as_str).collect();
    let outcome = if command.is_empty() {
        ensure!(std::io::stdin().is_terminal(), "a shell needs a terminal: give a command after `--`");
        println!("\nA shell in the guest follows; `exit` powers it off.\n");
        guest.interact(&command)?
    } else {
        guest.run(&command)?
    };
    Ok(exit_code(&outcome))
}

/// The status of a guest's command as this program's.
pub(crate) fn exit_code(outcome: &Outcome) -> ExitCode {
    // A status is at most 255: the shell in the guest says so.
    u8::try_from(outcome.status).map_or(ExitCode::FAILURE, ExitCode::from)
}

fn configure(guests: &Guests, arguments: &Arguments) -> Guest {
    guests
        .guest(arguments.kernel)
        .lsm(arguments.no_bpf.then_some(LSM_WITHOUT_BPF))
        .icount(arguments.icount)
        .memory(arguments.memory)
        .deadline(Duration::from_secs(arguments.deadline))
}
