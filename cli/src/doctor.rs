//! `plimsoll doctor`: the node's checks, run by the agent's own program, since only that may touch the kernel.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::Context as _;

/// Say whether this node can enforce, and what to do where it cannot. Needs root.
///
/// The last check is a real denial: a private program is run in a private cgroup, first without a policy, then with
/// one that allows nothing. Exit status: 0 the node can enforce, 1 it cannot, 3 the agent's program was not found.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The agent's program; looked for beside this one, then on the PATH.
    #[arg(long, env = "PLIMSOLL_AGENT")]
    agent: Option<PathBuf>,
    /// One JSON object per line.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let agent = arguments.agent.clone().unwrap_or_else(beside_this_program);
    let output = Command::new(&agent)
        .arg("preflight")
        .args(arguments.json.then_some("--json"))
        .output()
        .with_context(|| format!("cannot run `{}`; name the agent's program with --agent", agent.display()))?;
    let mut out = std::io::stdout().lock();
    out.write_all(&output.stdout)?;
    std::io::stderr().write_all(&output.stderr)?;
    if arguments.json {
        return Ok(if output.status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if output.status.success() {
        writeln!(out, "this node can enforce")?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "this node cannot enforce")?;
    Ok(ExitCode::FAILURE)
}

fn beside_this_program() -> PathBuf {
    const NAME: &str = "plimsoll-agent";
    let beside = std::env::current_exe().ok().map(|program| program.with_file_name(NAME));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(NAME))
}
