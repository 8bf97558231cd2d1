//! `cargo xtask`: what a developer types. Each command prepares what it needs, so none has to be run before another.

#![forbid(unsafe_code)]

mod bench;
mod build;
mod check;
mod corpus;
mod demo;
mod docs;
mod fuzz;
mod guest;
mod image;
mod package;
mod pins;
mod setup;
mod step;
mod test;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use workspace::Workspace;

/// Builds and tests Plimsoll. `demo` and `test` need nothing but cargo and apt on the machine.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find or install everything that building and testing need
    Setup,
    /// Build the kernel programs, then everything else
    Build,
    /// Formatting, lints (host and kernel programs), licences and dependencies
    Check,
    /// Show enforcement on a real image in a real kernel, step by step
    Demo,
    /// Measure what enforcement costs, or reading SBOMs, and write docs/benchmarks.md
    Bench(bench::Arguments),
    /// Check the documents: links, the commands and outputs they show, their policies
    Docs(docs::Arguments),
    /// Check real SBOMs by real generators, over real root filesystems, against an oracle
    Corpus,
    /// Fuzz the parsers of untrusted input, with a nightly compiler
    Fuzz(fuzz::Arguments),
    /// Make the images of the agent and the collector, without a container engine
    Image(package::Arguments),
    /// Run all tests: on this machine, then in guests on each kernel
    Test(test::Arguments),
    /// Boot a guest, and run a command or a shell in it
    Vm(vm::Arguments),
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let workspace = Workspace::find()?;
    match arguments.command {
        Command::Setup => setup::run(&workspace)?,
        Command::Build => {
            setup::run(&workspace)?;
            build::run(&workspace)?;
        }
        Command::Check => check::run(&workspace)?,
        Command::Demo => return demo::run(&workspace),
        Command::Bench(arguments) => return bench::run(&workspace, &arguments),
        Command::Docs(arguments) => return docs::run(&workspace, &arguments),
        Command::Corpus => return corpus::run(&workspace),
        Command::Fuzz(arguments) => return fuzz::run(&workspace, &arguments),
        Command::Image(arguments) => package::run(&workspace, &arguments)?,
        Command::Test(arguments) => return test::run(&workspace, &arguments),
        Command::Vm(arguments) => return vm::run(&workspace, &arguments),
    }
    Ok(ExitCode::SUCCESS)
}
