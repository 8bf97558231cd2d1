//! `plimsoll policy`: what can be said about a policy without a node.

mod bundle;
mod cases;
mod check;
mod diff;
mod draft;
mod explain;
mod fmt;
mod import;
mod init;
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
    /// Bring policy documents into one layout: fields in the order of the reference, two spaces, no needless quotes.
    ///
    /// Comments stay with what they are about. Before a file is replaced, whole, the result is read again: it must mean the
    /// same and have the same comments; else the file stays as it is, which is said. Exit status: 0 all are formatted, 1 one
    /// is wrong or would lose something (with --check: or is not formatted), 3 a file could not be read or written.
    Fmt(fmt::Arguments),
    /// Run the cases beside policies: what must be allowed, and what denied.
    ///
    /// Exit status: 0 all cases pass, 1 one does not, 3 a policy or its cases could not be read.
    Test(cases::Arguments),
    /// Make policies out of those of other tools, and say line by line what has no counterpart. Nothing is dropped in silence.
    ///
    /// Exit status: 0 all was taken over, 1 something was left out (or there was nothing to take), 3 a file could not be read
    /// or is not of that tool.
    Import(Box<import::Arguments>),
    /// Make a policy to start from, out of an image's SBOM and what its entrypoint needs. Nothing is learnt.
    ///
    /// The policy accepts the strongest evidence that covers the entrypoint, its interpreters, and the libraries that the
    /// dynamic linker will load for it; those of these files that the SBOM does not list are allowed by path and content. What
    /// the SBOM misses is listed in comments. Exit status: 0 written, and all is covered; 1 written, but something could not
    /// be found or contradicts the SBOM (or an SBOM is wrong, and nothing was written); 3 something could not be read or
    /// written.
    Init(Box<init::Arguments>),
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
    Schema(schema::Arguments),
    /// Sign policies together, or look into such a bundle.
    #[command(subcommand)]
    Bundle(bundle::Command),
}

pub(crate) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check(arguments) => check::run(arguments),
        Command::Fmt(arguments) => fmt::run(arguments),
        Command::Test(arguments) => cases::run(arguments),
        Command::Import(arguments) => import::run(arguments),
        Command::Init(arguments) => init::run(arguments),
        Command::Diff(arguments) => diff::run(arguments),
        Command::Explain(arguments) => explain::run(arguments),
        Command::Simulate(arguments) => simulate::run(arguments),
        Command::Schema(arguments) => schema::run(arguments),
        Command::Bundle(command) => bundle::run(command),
    }
}
