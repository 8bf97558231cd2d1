use crate::workspace::Workspace;
pub(crate) fn run(_workspace: &Workspace) -> anyhow::Result<()> { Ok(()) }
