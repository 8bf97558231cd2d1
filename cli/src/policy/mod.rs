//! `plimsoll policy`: what can be said about a policy without a node.

mod bundle;
mod cases;
mod check;
mod schema;

use std::process::ExitCode;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Check policy documents, and print every problem with its place and its remedy.
    ///
    /// Exit status: 0 all are right, 1 a document is wrong, 3 a file could not be read.
    Check(check::Arguments),
    /// Run the cases beside policies: what must be allowed, and what denied.
    ///
    /// Exit status: 0 all cases pass, 1 one does not, 3 a policy or its cases could not be read.
    Test(cases::Arguments),
    /// Print the JSON Schema of policies, for editors; it is published as docs/policy.schema.json.
    Schema,
    /// Sign policies together, or look into such a bundle.
    #[command(subcommand)]
    Bundle(bundle::Command),
}

pub(crate) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check(arguments) => check::run(arguments),
        Command::Test(arguments) => cases::run(arguments),
        Command::Schema => schema::run(),
        Command::Bundle(command) => bundle::run(command),
    }
}
