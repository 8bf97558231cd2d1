//! `plimsoll unused`: which programs of an image ran in a window, which never did, and where nobody can tell.
//!
//! ```text
//! rootfs, SBOM ──> Inventory ──┐
//! collector, file ─> Observed ─┴─> Usage ─> table, JSON, OpenVEX, a proposed policy
//! ```

mod observed;
mod openvex;
mod propose;
mod text;
mod usage;

#[cfg(test)]
mod tests;

use std::{path::PathBuf, process::ExitCode};

use self::{observed::Observed, openvex::Vulnerability, usage::Usage};
use crate::{
    events::Source,
    output::print,
    policy::{Loaded, load},
    sbom,
};

/// Say which programs of an image ran, which never did, and where that is not known.
///
/// Every file of the image that could run is joined with the events that name it. An execution that was allowed is an event
/// only where agents report them (`reportExecutions: true`): a window without any answers UNKNOWN, and no file in it counts
/// as unused. Allowed loads of libraries leave no event anywhere, so that libraries are `unknown` unless a load was reported.
/// Whatever was lost, skipped or not yet heard of makes the answer INCOMPLETE: files are then `not seen`, never `never`.
///
///   plimsoll unused --rootfs DIR --sbom sbom.json --image registry.example/shop/web:1 --since 30d
///   plimsoll unused ... --format openvex --vulnerability CVE-2023-38545=curl --policy policies/
///   plimsoll unused ... --format policy > slim.yaml     # in Monitor; look at its events before you enforce it
///
/// Exit status: 0 the answer is complete, 1 it is incomplete or unknown, or a document is wrong, 3 something could not be
/// read or reached.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// The image's unpacked root filesystem.
    #[arg(long, value_name = "DIR")]
    rootfs: PathBuf,
    /// The image's SBOM.
    #[arg(long, value_name = "FILE")]
    sbom: PathBuf,
    /// The image as events name it: its digest (`sha256:...`) or its reference.
    #[arg(long, value_name = "IMAGE")]
    image: String,
    #[command(flatten)]
    source: Source,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// The same as `--format json`.
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// The same as `--format policy`.
    #[arg(long, conflicts_with_all = ["format", "json"])]
    propose_policy: bool,
    /// Show every file, not packages alone.
    #[arg(long)]
    files: bool,
    /// For OpenVEX: a vulnerability, and the package that has it; may be given several times.
    #[arg(long, value_name = "ID=PACKAGE", value_parser = Vulnerability::parse)]
    vulnerability: Vec<Vulnerability>,
    /// For OpenVEX: policies in force; what one of them forbids in `Enforce` is said to be not affected.
    #[arg(long, value_name = "FILE")]
    policy: Vec<PathBuf>,
    /// For OpenVEX: the namespace that selects one of the policies.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// For OpenVEX: who says so.
    #[arg(long, value_name = "NAME", default_value = "plimsoll unused")]
    author: String,
}

/// How the answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
    Openvex,
    Policy,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let document = match sbom::load(&arguments.sbom)? {
        Ok(document) => document,
        Err(error) => return Ok(sbom::refuse(&arguments.sbom, &error)),
    };
    let policies = match arguments.policy.as_slice() {
        [] => Vec::new(),
        paths => match load(paths)? {
            Loaded::Policies(policies) => policies,
            Loaded::Refused(code) => return Ok(code),
        },
    };
    let image = sbom::index(&arguments.rootfs)?;
    let inventory = plimsoll_sbom::inventory(&image.listing, &document, &image.databases);
    let mut observed = Observed::of(&arguments.image);
    let reading = arguments.source.read(observed.filter(), |event| observed.take(event))?;
    let usage = Usage::new(&inventory, &observed, &reading);
    let text = match arguments.format() {
        Format::Table => text::table(&usage, arguments.files)?,
        Format::Json => serde_json::to_string_pretty(&usage)? + "\n",
        Format::Policy => match propose::policy(&usage, &inventory)? {
            Ok(policy) => policy,
            Err(why) => {
                eprintln!("plimsoll: {why}");
                return Ok(ExitCode::FAILURE);
            }
        },
        Format::Openvex => {
            let forbids = openvex::Forbidden::new(
                &policies,
                arguments.namespace.as_deref(),
                &usage,
                (&inventory, &image.databases),
            )?;
            let document = openvex::document(&usage, &arguments.vulnerability, &forbids, &arguments.author)?;
            serde_json::to_string_pretty(&document)? + "\n"
        }
    };
    print(&text)?;
    Ok(if usage.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Arguments {
    fn format(&self) -> Format {
        match (self.json, self.propose_policy) {
            (true, _) => Format::Json,
            (_, true) => Format::Policy,
            _ => self.format,
        }
    }
}
