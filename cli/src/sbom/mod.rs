//! `plimsoll sbom`: what a document can prove, and which files of an image it does prove.

mod allowlist;
mod compile;
mod coverage;
mod diff;
mod fetch;
mod image;
mod inspect;
mod schema;
mod source;
mod verify;

use std::{fs::File, io::Read, path::Path, process::ExitCode};

use anyhow::Context as _;
use plimsoll_sbom::{Limits, Sbom, SbomError};

pub(crate) use self::{
    allowlist::{OF_ANOTHER_IMAGE, is_of_another_image},
    image::{index, tree},
};
use crate::output::{print, printable};

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Say what an SBOM contains and what evidence it can give.
    Inspect(inspect::Arguments),
    /// List the files of an unpacked image that may run, and why; and those that may not.
    ///
    /// Exit status: 1 if a file's content contradicts what is declared, or if nothing at all may run. Files that nothing
    /// declares are common (package scripts, for one), and do not change it.
    Allowlist(allowlist::Arguments),
    /// Fetch what is attached to an image in its registry: SBOMs, attestations, compiled allowlists. Nothing is believed.
    ///
    /// Exit status: 3 if the registry cannot be asked, or has nothing.
    Fetch(Box<fetch::Arguments>),
    /// Say whose signatures an image's documents carry, and whether they are about that image.
    ///
    /// Without --key or --identity nobody is asked for, and unsigned documents pass. Exit status: 0 if a document is
    /// accepted, 1 if none is, 3 if none could be had.
    Verify(Box<verify::Arguments>),
    /// Compile an image's SBOM and files to a signed allowlist, which nodes use without parsing an SBOM.
    ///
    /// The list is the same to the byte for the same input; with an Ed25519 key the signed file is too. Files whose
    /// content is not as declared are named, and no list allows them. Exit status: 1 if no SBOM is accepted, or if the SBOM
    /// does not fit the image's files at all.
    Compile(Box<compile::Arguments>),
    /// Say how much of an unpacked image its SBOM covers, and what the gaps are.
    ///
    /// Exit status: 1 if a file's content contradicts what is declared, or if less than `--fail-under` is covered.
    Coverage(coverage::Arguments),
    /// Say what a rollout newly allows and forbids.
    ///
    /// Exit status: 0 if nothing changes about what may run, 1 if something does. Of documents that list packages alone, a
    /// package that changed counts as such a change.
    Diff(diff::Arguments),
    /// Print the JSON Schema of what another command's `--json` prints.
    Schema(schema::Arguments),
}

pub(crate) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Inspect(arguments) => inspect::run(arguments),
        Command::Allowlist(arguments) => allowlist::run(arguments),
        Command::Fetch(arguments) => fetch::run(arguments),
        Command::Verify(arguments) => verify::run(arguments),
        Command::Compile(arguments) => compile::run(arguments),
        Command::Coverage(arguments) => coverage::run(arguments),
        Command::Diff(arguments) => diff::run(arguments),
        Command::Schema(arguments) => schema::run(arguments),
    }
}

/// Reads a document; the inner error says what is wrong with it, the outer that it could not be read.
pub(crate) fn load(path: &Path) -> anyhow::Result<Result<Sbom, SbomError>> {
    let limits = Limits::default();
    let unreadable = || format!("cannot read `{}`", path.display());
    let file = File::open(path).with_context(unreadable)?;
    let size = file.metadata().with_context(unreadable)?.len();
    if let Ok(size) = usize::try_from(size)
        && size > limits.max_bytes
    {
        return Ok(Err(SbomError::TooLarge { size, limit: limits.max_bytes }));
    }
    let mut bytes = Vec::new();
    file.take(limits.max_bytes as u64 + 1).read_to_end(&mut bytes).with_context(unreadable)?;
    Ok(plimsoll_sbom::parse(&bytes, &limits))
}

/// Tells that a document is wrong.
pub(crate) fn refuse(path: &Path, error: &SbomError) -> ExitCode {
    eprintln!("plimsoll: {}: {error}", path.display());
    ExitCode::from(1)
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}

#[cfg(test)]
mod tests;
