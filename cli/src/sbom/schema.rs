//! JSON Schemas of what `--json` prints, made from the very types that are printed.

use std::process::ExitCode;

use schemars::{Schema, schema_for};

use super::{allowlist, compile, coverage, diff, fetch, inspect, print, verify};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The command whose output is described.
    command: Of,
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub(super) enum Of {
    Inspect,
    Allowlist,
    Coverage,
    Diff,
    Fetch,
    Verify,
    Compile,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    print(&(serde_json::to_string_pretty(&schema(arguments.command))? + "\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// JSON Schema, draft 2020-12.
pub(super) fn schema(of: Of) -> Schema {
    match of {
        Of::Inspect => schema_for!(inspect::Report<'_>),
        Of::Allowlist => schema_for!(allowlist::Report<'_>),
        Of::Coverage => schema_for!(coverage::Report<'_>),
        Of::Diff => schema_for!(diff::Report<'_>),
        Of::Fetch => schema_for!(fetch::Report),
        Of::Verify => schema_for!(verify::Report),
        Of::Compile => schema_for!(compile::Report),
    }
}
