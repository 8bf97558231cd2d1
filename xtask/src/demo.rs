use crate::workspace::Workspace;
pub(crate) fn run(_workspace: &Workspace) -> anyhow::Result<std::process::ExitCode> { anyhow::bail!("not there yet") }
