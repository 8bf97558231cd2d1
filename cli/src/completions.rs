//! `plimsoll completions` and `plimsoll man`: made from the very definitions that the command line is read by.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context as _;

use crate::output::print;

#[derive(clap::Args)]
pub(crate) struct Shell {
    /// The shell; with bash, for one: `plimsoll completions bash > /etc/bash_completion.d/plimsoll`.
    shell: clap_complete::Shell,
}

#[derive(clap::Args)]
pub(crate) struct Pages {
    /// Where to write them, such as `/usr/local/share/man/man1`; it is made if it is not there.
    directory: PathBuf,
}

pub(crate) fn shell(arguments: &Shell, command: &mut clap::Command) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, command, "plimsoll", &mut text);
    print(&String::from_utf8(text)?)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn pages(arguments: &Pages, command: clap::Command) -> anyhow::Result<ExitCode> {
    let directory = &arguments.directory;
    let unwritable = || format!("cannot write to `{}`", directory.display());
    fs::create_dir_all(directory).with_context(unwritable)?;
    clap_mangen::generate_to(command, directory).with_context(unwritable)?;
    Ok(ExitCode::SUCCESS)
}
