//! Layers made on disk. Whiteouts and `trusted.*` attributes need root: without it these helpers panic.
#![allow(dead_code, clippy::allow_attributes, reason = "each test file uses its own part")]

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use plimsoll_rootfs::{Image, Options, RootfsError, index};
use plimsoll_sbom::{Listing, Node, Sha256};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, mknodat};
use tempfile::TempDir;

pub(crate) struct Layers {
    pub(crate) root: TempDir,
    pub(crate) paths: Vec<PathBuf>,
}

impl Layers {
    /// `count` empty layers, the top one first.
    pub(crate) fn new(count: usize) -> Self {
        let root = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (0..count).map(|layer| root.path().join(format!("layer{layer}"))).collect();
        for path in &paths {
            fs::create_dir(path).unwrap();
        }
        Self { root, paths }
    }

    pub(crate) fn at(&self, layer: usize, path: &str) -> PathBuf {
        self.paths[layer].join(path)
    }

    pub(crate) fn directory(&self, layer: usize, path: &str) {
        fs::create_dir_all(self.at(layer, path)).unwrap();
    }

    pub(crate) fn file(&self, layer: usize, path: &str, content: &[u8], mode: u32) {
        let path = self.place(layer, path);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn link(&self, layer: usize, path: &str, target: &str) {
        symlink(target, self.place(layer, path)).unwrap();
    }

    pub(crate) fn whiteout(&self, layer: usize, path: &str) {
        mknodat(CWD, self.place(layer, path), FileType::CharacterDevice, Mode::empty(), 0)
            .expect("whiteouts are devices, and only root can make them: run these tests as root");
    }

    pub(crate) fn mark(&self, layer: usize, path: &str, attribute: &str, value: &str) {
        lsetxattr(self.at(layer, path), attribute, value.as_bytes(), XattrFlags::empty())
            .expect("`trusted.` attributes are root's: run these tests as root");
    }

    pub(crate) fn index(&self) -> Result<Image, RootfsError> {
        index(&self.paths, &Options::default())
    }

    fn place(&self, layer: usize, path: &str) -> PathBuf {
        let path = self.at(layer, path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }
}

/// One line per node, contents by digest.
pub(crate) fn lines(listing: &Listing) -> Vec<String> {
    let line = |(path, node): (&[u8], &Node)| {
        let path = String::from_utf8_lossy(path).into_owned();
        match node {
            Node::Directory => format!("{path} directory"),
            Node::Symlink { target } => format!("{path} -> {}", String::from_utf8_lossy(target)),
            Node::Other => format!("{path} other"),
            Node::File(file) => match &file.exec {
                Some(exec) => format!("{path} {} {}", exec.kind, exec.sha256),
                None => format!("{path} data"),
            },
        }
    };
    listing.iter().map(line).collect()
}

/// What [`lines`] says of a script with this content.
pub(crate) fn script(path: &str, content: &[u8]) -> String {
    format!("{path} script {}", Sha256::of(content))
}

/// The same lines, taken from a directory by plain means.
pub(crate) fn walk(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            // The kernel shows the names of whiteouts in directories that only one layer has, and denies their existence.
            let metadata = match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                other => other.unwrap(),
            };
            let kind = metadata.file_type();
            if kind.is_dir() {
                lines.push(format!("{name} directory"));
                pending.push(path);
            } else if kind.is_symlink() {
                lines.push(format!("{name} -> {}", fs::read_link(&path).unwrap().display()));
            } else {
                lines.push(script(&name, &fs::read(&path).unwrap()));
            }
        }
    }
    lines.sort();
    lines
}
