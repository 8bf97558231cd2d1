//! `plimsoll-node`: what the agent's pod does before it is the agent.
//!
//! An agent in a pod is a stranger on its node in three ways, none of which a pod's specification can mend: the container runtime
//! cannot execute the hook from an image, the runtime puts the pod into a cgroup namespace of its own, and the configuration that
//! all pods share cannot name the node.

#![forbid(unsafe_code)]

mod config;
mod install;
mod namespace;

use std::{
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};

/// What the agent's pod does before it is the agent.
#[derive(Debug, Parser)]
#[command(name = "plimsoll-node", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Put a program into a directory of the node, in place of the one that is there, by one rename.
    Install {
        /// The directory; made if it is not there.
        #[arg(long)]
        to: PathBuf,
        /// The program.
        program: PathBuf,
    },
    /// Enter the node's cgroup namespace, add the node's name to the configuration, and become the agent.
    Run {
        /// The node's name, as its certificate has it.
        #[arg(long)]
        node: String,
        /// The configuration that all nodes share, without `node`.
        #[arg(long)]
        config: PathBuf,
        /// Where the node's own goes.
        #[arg(long)]
        write: PathBuf,
        /// A process's cgroup namespace.
        #[arg(long, default_value = "/proc/1/ns/cgroup")]
        cgroup_namespace: PathBuf,
        /// The agent; it is called with `run --config` and the file.
        agent: PathBuf,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Action::Install { to, program } => install::install(&program, &to),
        Action::Run { node, config, write, cgroup_namespace, agent } => {
            run(&node, &config, &write, &cgroup_namespace, &agent)
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("plimsoll-node: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Comes back only if it fails.
fn run(node: &str, config: &Path, write: &Path, cgroups: &Path, agent: &Path) -> anyhow::Result<()> {
    config::write(config, node, write)?;
    namespace::enter(cgroups)?;
    let error = Command::new(agent).arg("run").arg("--config").arg(write).exec();
    Err(error).with_context(|| format!("cannot execute {}", agent.display()))
}
