//! Runs what documents show, in a directory that has what a fresh checkout has.

use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::commands::{self, Step};
use crate::workspace::Workspace;

/// Behind a block's language: the file that a reader is told to save it as.
const FILE: &str = "file=";
/// Top-level entries of a checkout that commands must not reach through a scratch directory.
const LEFT_OUT: [&str; 2] = ["target", ".git"];

/// A directory to run one document's commands in.
#[derive(Debug)]
pub(super) struct Session {
    scratch: tempfile::TempDir,
    checkout: PathBuf,
    path: OsString,
}

impl Session {
    /// A scratch directory with links to everything in the checkout, and the built programs on its `PATH`.
    pub(super) fn new(workspace: &Workspace) -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("docs-").tempdir_in(workspace.target())?;
        for entry in fs::read_dir(workspace.root()).context("cannot read the checkout")? {
            let entry = entry?;
            if !LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
                symlink(entry.path(), scratch.path().join(entry.file_name()))?;
            }
        }
        let inherited = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([workspace.release()].into_iter().chain(env::split_paths(&inherited)))?;
        Ok(Self { scratch, checkout: workspace.root().to_owned(), path })
    }

    pub(super) fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// Saves a block under the name that its `info` gives it. Answers the file, if there is one.
    pub(super) fn save(&self, info: &str, text: &str) -> Result<Option<PathBuf>> {
        let Some(name) = info.split_whitespace().find_map(|word| word.strip_prefix(FILE)) else { return Ok(None) };
        let path = self.directory().join(name);
        let folder = path.parent().context("a file is in a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        // The checkout's own folders are links here.
        let inside = fs::canonicalize(folder)?.starts_with(fs::canonicalize(self.directory())?);
        ensure!(inside, "`{name}` is in the checkout: a document's file needs a place of its own");
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Some(path))
    }

    /// Runs a command in the scratch directory.
    pub(super) fn run(&self, step: &Step) -> Result<()> {
        self.run_in(self.directory(), step)
    }

    /// Runs a command in the checkout itself, which a build needs.
    pub(super) fn run_in_checkout(&self, step: &Step) -> Result<()> {
        println!("$ {}", step.command);
        self.run_in(&self.checkout, step)
    }

    fn run_in(&self, directory: &Path, step: &Step) -> Result<()> {
        let (success, printed) = self.shell(directory, &step.command)?;
        let command = &step.command;
        ensure!(success, "`{command}` failed; it printed\n{printed}");
        match &step.output {
            Some(expected) if !commands::agree(expected, &printed) => {
                bail!("`{command}` did not print\n{expected}\nbut\n{printed}")
            }
            _ => Ok(()),
        }
    }

    /// That `command` has no subcommand and no option that its program does not know: it is asked for help behind them.
    pub(super) fn is_understood(&self, command: &str) -> Result<()> {
        let (success, printed) = self.shell(self.directory(), &format!("{command} --help"))?;
        ensure!(success, "`{command}` is not understood:\n{printed}");
        Ok(())
    }

    /// Both outputs in the order written, as on a terminal.
    fn shell(&self, directory: &Path, command: &str) -> Result<(bool, String)> {
        let mut shell = Command::new("bash");
        shell.args(["-c", &format!("exec 2>&1\n{command}")]).current_dir(directory).stdin(Stdio::null());
        shell.env("PATH", &self.path).env("LC_ALL", "C.UTF-8").env("COLUMNS", "100").env_remove("CARGO_TARGET_DIR");
        let output = shell.stderr(Stdio::null()).output().context("cannot run bash")?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
    }
}
