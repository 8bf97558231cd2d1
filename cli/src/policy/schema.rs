//! `plimsoll policy schema`.

use std::process::ExitCode;

use crate::output::print;

pub(super) fn run() -> anyhow::Result<ExitCode> {
    print(&(serde_json::to_string_pretty(&plimsoll_policy::json_schema())? + "\n"))?;
    Ok(ExitCode::SUCCESS)
}
