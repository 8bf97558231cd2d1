//! `plimsoll policy`: what can be said about a policy without a node.

mod bundle;
mod check;

use std::process::ExitCode;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Check policy documents, and print every problem with its place and its remedy.
    ///
    /// Exit status: 0 all are right, 1 a document is wrong, 3 a file could not be read.
    Check(check::Arguments),
    /// Sign policies together, or look into such a bundle.
    #[command(subcommand)]
    Bundle(bundle::Command),
}

pub(crate) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check(arguments) => check::run(arguments),
        Command::Bundle(command) => bundle::run(command),
    }
}
