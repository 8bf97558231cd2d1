//! `cargo xtask bench`: what enforcement costs, counted in instructions, so that two runs agree.

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use plimsoll_tests::vm::Kernel;

use crate::{build, guest::Guests, setup, vm, workspace::Workspace};

/// What the guest runs.
const COMMAND: [&str; 2] = ["plimsoll-guest-tests", "bench"];
const DEADLINE: Duration = Duration::from_mins(20);

pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    setup::run(workspace)?;
    build::run(workspace)?;
    let guests = Guests::complete(workspace)?;
    let outcome = guests.guest(Kernel::V6_12).icount(true).deadline(DEADLINE).run(&COMMAND)?;
    Ok(vm::exit_code(&outcome))
}
