//! `plimsoll`: what a person types. It reads files and asks the collector; it never touches the kernel itself.
#![forbid(unsafe_code)]

mod collector;
mod completions;
mod doctor;
mod events;
mod output;
mod policy;
mod sbom;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

/// An image's SBOM decides what its container may run. This tool checks nodes, policies and SBOMs, and reads events.
///
/// Exit status: 0 all well, 1 a check failed or a document is wrong, 2 the command line is wrong, 3 something could
/// not be reached or read.
#[derive(Parser)]
#[command(name = "plimsoll", version, about, long_about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say whether this node can enforce, and what to do where it cannot.
    Doctor(doctor::Arguments),
    /// Work with enforcement policies.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Look into SBOMs, and at the allowlist an image's SBOM leads to.
    #[command(subcommand)]
    Sbom(sbom::Command),
    /// Print events stored by a collector.
    Events(events::Arguments),
    /// Print what a shell needs to complete this command.
    Completions(completions::Shell),
    /// Write manual pages, one for each command.
    Man(completions::Pages),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Policy(command) => policy::run(&command),
        Command::Sbom(command) => sbom::run(&command),
        Command::Events(arguments) => events::run(&arguments),
        Command::Completions(arguments) => completions::shell(&arguments, &mut Arguments::command()),
        Command::Man(arguments) => completions::pages(&arguments, Arguments::command()),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("plimsoll: {error:#}");
        ExitCode::from(code(&error))
    })
}

/// A registry that gives other content than asked for has answered: a check failed.
fn code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref() {
        Some(plimsoll_registry::RegistryError::OtherContent { .. }) => 1,
        _ => 3,
    }
}
