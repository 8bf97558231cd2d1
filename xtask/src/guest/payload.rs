use crate::workspace::Workspace;
pub(super) fn build(_workspace: &Workspace) -> anyhow::Result<std::path::PathBuf> { anyhow::bail!("not there yet") }
