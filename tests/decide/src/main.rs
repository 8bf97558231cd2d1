//! Runs the kernel's `decide()` on this machine, without attaching anything: what it costs, and whether it agrees with
//! the reference evaluator.

mod agree;
mod agree_files;
mod answers;
mod bench;
mod network;
mod program;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Needs root, and a kernel that runs XDP programs on demand; no LSM.
#[derive(Parser)]
struct Arguments {
    /// The compiled `plimsoll-tests-ebpf`.
    #[arg(long)]
    object: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Nanoseconds of one decision against allowlists of several sizes, as a table.
    Bench,
    /// The same random cases through the kernel and through the reference evaluator.
    Agree {
        /// How many cases.
        #[arg(long, default_value_t = 20_000)]
        cases: u32,
        /// Where the random sequence starts.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut programs = program::Programs::load(&arguments.object)?;
    match arguments.command {
        Command::Bench => bench::run(&mut programs),
        Command::Agree { cases, seed } => {
            agree::run(&mut programs, cases, seed)?;
            network::run(&mut programs, cases, seed)?;
            answers::run(&mut programs, cases, seed)?;
            agree_files::run(&mut programs, cases, seed)
        }
    }
}
