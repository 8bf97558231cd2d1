//! `plimsoll policy schema`.

use std::process::ExitCode;

use crate::output::print;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Print the definitions for a Kubernetes API server instead, as YAML.
    #[arg(long)]
    crd: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if arguments.crd {
        let definitions = plimsoll_policy::crds().map(|(_, definition)| definition);
        print(&serde_yaml::to_string_multiple(&definitions)?)?;
    } else {
        print(&(serde_json::to_string_pretty(&plimsoll_policy::json_schema())? + "\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
