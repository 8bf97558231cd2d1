//! What is really there, by plain means.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::roots::Root;
use crate::step;

/// Digests of one regular file, in hex.
#[derive(Debug, Clone)]
pub(super) struct Fact {
    pub(super) sha256: String,
    /// Only of files that could run.
    pub(super) weak: Option<Weak>,
}

#[derive(Debug, Clone)]
pub(super) struct Weak {
    pub(super) sha1: String,
    pub(super) md5: String,
}

#[derive(Debug)]
pub(super) struct Oracle {
    /// By absolute path in the image.
    pub(super) files: BTreeMap<String, Fact>,
}

impl Oracle {
    pub(super) fn consult(root: &Root) -> Result<Self> {
        let listing =
            step::output(Command::new("find").arg(".").args(["-xdev", "-type", "f"]).current_dir(&root.path))?;
        let runs: Vec<&str> = listing.lines().filter(|path| could_run(&root.path.join(path))).collect();
        let all: Vec<&str> = listing.lines().collect();
        let strong = digests("sha256sum", &root.path, &all)?;
        let (sha1, md5) = (digests("sha1sum", &root.path, &runs)?, digests("md5sum", &root.path, &runs)?);
        let fact = |(path, sha256): (String, String)| {
            let weak = sha1.get(&path).zip(md5.get(&path));
            let weak = weak.map(|(sha1, md5)| Weak { sha1: sha1.clone(), md5: md5.clone() });
            (path, Fact { sha256, weak })
        };
        let files: BTreeMap<_, _> = strong.into_iter().map(fact).collect();
        ensure!(
            files.len() == all.len(),
            "{} has files whose names `find` and `sha256sum` write differently",
            root.name
        );
        Ok(Self { files })
    }

    pub(super) fn could_run(&self) -> usize {
        self.files.values().filter(|fact| fact.weak.is_some()).count()
    }
}

/// ELF by magic number, a script by `#!`, or an x-bit on a file that is not empty.
fn could_run(path: &Path) -> bool {
    let mut head = [0; 4];
    let read = File::open(path).and_then(|mut file| file.read(&mut head)).unwrap_or_default();
    let mode = fs::metadata(path).map(|metadata| metadata.permissions().mode()).unwrap_or_default();
    head == *b"\x7fELF" || head.starts_with(b"#!") || (read > 0 && mode & 0o111 != 0)
}

/// Absolute path in the image to hex digits.
fn digests(program: &str, root: &Path, paths: &[&str]) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for some in paths.chunks(500) {
        for line in step::output(Command::new(program).args(some).current_dir(root))?.lines() {
            let (digits, path) = line.split_once("  ").with_context(|| format!("{program} printed `{line}`"))?;
            all.insert(path.trim_start_matches('.').to_owned(), digits.to_owned());
        }
    }
    Ok(all)
}
