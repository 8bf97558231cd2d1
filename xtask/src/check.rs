use crate::workspace::Workspace;
pub(crate) fn run(_workspace: &Workspace) -> anyhow::Result<()> { crate::setup::run_for_check(_workspace) }
