//! What an image starts: its configuration, or what the command line says instead.

use std::path::Path;

use anyhow::{Context as _, ensure};
use plimsoll_sbom::ExecKind;
use serde::Deserialize;

use super::root::Root;
use crate::policy::check;

/// Bytes of an image's configuration.
const MAX_CONFIG: usize = 4 << 20;
/// Where programs are looked for if the image does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Programs that a container starts with, and what of its environment decides which files these need.
#[derive(Debug, Default)]
pub(super) struct Command {
    /// Paths in the image.
    pub(super) programs: Vec<Vec<u8>>,
    /// `LD_LIBRARY_PATH`.
    pub(super) library_path: Vec<u8>,
    /// `LD_PRELOAD`.
    pub(super) preload: Vec<u8>,
    path: String,
    directory: String,
}

/// The part of an image's configuration that is read; the names are the image specification's.
#[derive(Default, Deserialize)]
struct ImageConfig {
    config: Option<Run>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Run {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    working_dir: Option<String>,
}

/// Reads the image's configuration, and finds the programs. Those in `named` go before what the configuration starts.
pub(super) fn command(root: &Root<'_>, config: Option<&Path>, named: &[String]) -> anyhow::Result<Command> {
    let run = match config {
        Some(path) => read(path)?,
        None => Run::default(),
    };
    let variable = |name: &str| {
        let all = run.env.iter().flatten();
        all.filter_map(|one| one.strip_prefix(name)?.strip_prefix('=')).next_back().map(str::to_owned)
    };
    let mut command = Command {
        programs: Vec::new(),
        library_path: variable("LD_LIBRARY_PATH").unwrap_or_default().into_bytes(),
        preload: variable("LD_PRELOAD").unwrap_or_default().into_bytes(),
        path: variable("PATH").unwrap_or_else(|| PATH.to_owned()),
        directory: run.working_dir.clone().unwrap_or_default(),
    };
    let programs: Vec<Vec<u8>> = if named.is_empty() {
        command.of_image(root, &run)
    } else {
        named.iter().map(|word| command.find_or_keep(root, word)).collect()
    };
    ensure!(!programs.is_empty(), "the image starts nothing by itself; name its program with --entrypoint");
    command.programs = programs;
    Ok(command)
}

fn read(path: &Path) -> anyhow::Result<Run> {
    let text = check::read(path, MAX_CONFIG).with_context(|| format!("cannot read `{}`", path.display()))?;
    ensure!(text.len() <= MAX_CONFIG, "`{}` is larger than the limit of {MAX_CONFIG} bytes", path.display());
    let config: ImageConfig = serde_json::from_slice(&text).with_context(|| {
        format!("`{}` is not an image's configuration, as `crane config IMAGE` prints it", path.display())
    })?;
    config.config.with_context(|| format!("`{}` has no `config`, so it says nothing of the entrypoint", path.display()))
}

impl Command {
    /// The first word, and those that are programs too: a start script and `tini --` run what comes after them.
    fn of_image(&self, root: &Root<'_>, run: &Run) -> Vec<Vec<u8>> {
        let entrypoint = run.entrypoint.as_deref().unwrap_or_default();
        let words: Vec<(&String, bool)> = entrypoint
            .iter()
            .map(|word| (word, false))
            .chain(run.cmd.iter().flatten().enumerate().map(|(at, word)| (word, at == 0)))
            .collect();
        let Some(((first, _), rest)) = words.split_first() else { return Vec::new() };
        let mut programs = vec![self.find_or_keep(root, first)];
        let mut before = first.as_str();
        for (word, is_command) in rest {
            if *is_command || before == "--" || word.contains('/') {
                let found = self.find(root, word.as_bytes());
                programs.extend(found.filter(|path| is_program(root, path)));
            }
            before = word;
        }
        programs
    }

    fn find_or_keep(&self, root: &Root<'_>, word: &str) -> Vec<u8> {
        self.find(root, word.as_bytes()).unwrap_or_else(|| word.as_bytes().to_vec())
    }

    /// The path that a word leads to, as execvp(3) finds it.
    pub(super) fn find(&self, root: &Root<'_>, word: &[u8]) -> Option<Vec<u8>> {
        let below = |directory: &str| [directory.as_bytes(), b"/", word].concat();
        if word.starts_with(b"/") {
            return root.resolve(word).map(|_| word.to_vec());
        }
        let directories: Vec<&str> =
            if word.contains(&b'/') { vec![self.directory.as_str()] } else { self.path.split(':').collect() };
        directories.into_iter().map(below).find(|path| is_program(root, path))
    }
}

fn is_program(root: &Root<'_>, path: &[u8]) -> bool {
    let kind = root.resolve(path).and_then(|real| root.kind(&real));
    matches!(kind, Some(ExecKind::Elf | ExecKind::Script))
}
