//! `plimsoll policy`: what can be said about a policy without a node.

mod bundle;
mod cases;
mod check;
mod diff;
mod explain;
mod schema;
mod simulate;

use std::process::ExitCode;

pub(crate) use self::check::{Loaded, load, read};

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
    /// Say what an edit changes about what is decided. Reasons, comments and what is written out though it is the default do not.
    ///
    /// Exit status: 0 nothing, 1 something (or a policy is wrong, which is said), 3 a policy could not be read.
    Diff(diff::Arguments),
    /// Say which policy and rule decide about files of an image, from the SBOM's entry to the verdict.
    ///
    /// Exit status: 0 all may run or be loaded, 1 one may not, 3 something could not be read.
    Explain(explain::Arguments),
    /// Say what policies would have done with stored events, before they are rolled out.
    ///
    /// Exit status: 0 nothing would be denied or reported, 1 something would, 3 a policy or an event could not be read.
    Simulate(simulate::Arguments),
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
        Command::Diff(arguments) => diff::run(arguments),
        Command::Explain(arguments) => explain::run(arguments),
        Command::Simulate(arguments) => simulate::run(arguments),
        Command::Schema => schema::run(),
        Command::Bundle(command) => bundle::run(command),
    }
}
