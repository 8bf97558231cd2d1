use crate::workspace::Workspace;
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}
pub(crate) fn run(_workspace: &Workspace, _: &Arguments) -> anyhow::Result<std::process::ExitCode> { anyhow::bail!("not there yet") }
