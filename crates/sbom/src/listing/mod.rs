//! The merged tree of an image's layers, in memory. Symbolic links are followed here and nowhere else, so a link in an
//! image can never lead to a file of the node.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    digest::Sha256,
    path::{InvalidPath, components, display_path, normalise},
};

/// Symbolic links followed in one resolution, as in the kernel.
const MAX_LINKS: usize = 40;

/// A file's identity on the node: the lower filesystem's, which overlayfs shows through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct InodeKey {
    /// Device, in the kernel's encoding: `major << 20 | minor`.
    pub dev: u32,
    /// Inode number.
    pub ino: u64,
}

/// What lies at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A regular file.
    File(FileFact),
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// The link's text, as bytes.
        target: Vec<u8>,
    },
    /// A device, FIFO or socket.
    Other,
}

/// A regular file of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFact {
    /// Bytes.
    pub size: u64,
    /// Permission bits, set-id and sticky bits included (`0o7777`).
    pub mode: u32,
    /// Identity on the lower filesystem.
    pub inode: InodeKey,
    /// Present if the file is exec-capable: ELF magic, `#!`, or an x-bit on a file that is not empty.
    pub exec: Option<ExecFact>,
}

/// The content of an exec-capable file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecFact {
    /// How it would run.
    pub kind: ExecKind,
    /// Its identity.
    pub sha256: Sha256,
    /// Only to compare with what apk and weak SBOMs list.
    pub sha1: [u8; 20],
    /// Only to compare with what dpkg and weak SBOMs list.
    pub md5: [u8; 16],
}

/// How an exec-capable file would run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ExecKind {
    /// Starts with the ELF magic number.
    Elf,
    /// Starts with `#!`.
    Script,
    /// Has an x-bit, and neither of these.
    Other,
}

impl ExecKind {
    /// Decides by a file's first four bytes (fewer if it is shorter) and its mode.
    ///
    /// `None` if the file is not exec-capable.
    pub fn of(head: &[u8], mode: u32) -> Option<Self> {
        if head.starts_with(b"\x7fELF") {
            Some(Self::Elf)
        } else if head.starts_with(b"#!") {
            Some(Self::Script)
        } else if !head.is_empty() && mode & 0o111 != 0 {
            Some(Self::Other)
        } else {
            None
        }
    }
}

impl fmt::Display for ExecKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Elf => "elf",
            Self::Script => "script",
            Self::Other => "other",
        })
    }
}

/// A node that does not fit into the tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListingError {
    /// The path cannot be in an image.
    #[error("`{path}`: {source}")]
    Path {
        /// The path, as shown to people.
        path: String,
        /// What is wrong with it.
        source: InvalidPath,
    },
    /// The path has a node already.
    #[error("`{path}` is in the tree twice")]
    Duplicate {
        /// The path, as shown to people.
        path: String,
    },
    /// A component above is a file or a link.
    #[error("`{path}` lies below something that is not a directory")]
    NotADirectory {
        /// The path, as shown to people.
        path: String,
    },
}

/// Path -> [`Node`]. Paths are bytes relative to the image's root, without a leading slash; every spelling is accepted.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    nodes: BTreeMap<Box<[u8]>, Node>,
}

impl Listing {
    /// A tree with nothing but its root.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `node` at `path`; directories above it that are missing come into being.
    pub fn insert(&mut self, path: impl AsRef<[u8]>, node: Node) -> Result<(), ListingError> {
        let shown = || display_path(path.as_ref());
        let path = normalise(path.as_ref()).map_err(|source| ListingError::Path { path: shown(), source })?;
        for (end, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            let parent = path.get(..end).unwrap_or_default();
            match self.nodes.get(parent) {
                Some(Node::Directory) => {}
                Some(_) => return Err(ListingError::NotADirectory { path: shown() }),
                None => {
                    self.nodes.insert(parent.into(), Node::Directory);
                }
            }
        }
        match self.node(&path) {
            Some(Node::Directory) if node == Node::Directory => Ok(()),
            Some(_) => Err(ListingError::Duplicate { path: shown() }),
            None => {
                self.nodes.insert(path.into(), node);
                Ok(())
            }
        }
    }

    /// The node at exactly this path; no symbolic link is followed.
    pub fn get(&self, path: impl AsRef<[u8]>) -> Option<&Node> {
        match normalise(path.as_ref()) {
            Ok(path) => self.node(&path),
            Err(_) => None,
        }
    }

    /// The path, free of symbolic links, that `path` leads to inside this tree. `None` if it leads nowhere: a missing
    /// component, a file used as a directory, or more than 40 links. `..` at the root stays there, as in a chroot.
    pub fn resolve(&self, path: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        self.walk(path.as_ref(), true)
    }

    /// As [`Listing::resolve`], but the last component is not followed: where the entry itself lies. This is how a
    /// package's `bin/ls` is found as `usr/bin/ls`, while an entry that names a link stays a link.
    pub fn locate(&self, path: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        self.walk(path.as_ref(), false)
    }

    /// Every node below the root, sorted by the paths' bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Node)> {
        self.nodes.iter().map(|(path, node)| (&**path, node))
    }

    /// Names in the directory at `path`, which must be free of symbolic links. Empty if there is no such directory.
    pub fn names<'a>(&'a self, path: &[u8]) -> impl Iterator<Item = (&'a [u8], &'a Node)> + use<'a> {
        let mut prefix = path.to_vec();
        if !prefix.is_empty() {
            prefix.push(b'/');
        }
        let start = prefix.clone().into_boxed_slice();
        self.nodes
            .range(start..)
            .map_while(move |(path, node)| path.strip_prefix(prefix.as_slice()).map(|name| (name, node)))
            .filter(|(name, _)| !name.contains(&b'/'))
    }

    /// Nodes below the root.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is nothing but the root.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    fn node(&self, path: &[u8]) -> Option<&Node> {
        if path.is_empty() { Some(&Node::Directory) } else { self.nodes.get(path) }
    }

    fn walk(&self, path: &[u8], follow_last: bool) -> Option<Vec<u8>> {
        let mut pending: Vec<&[u8]> = components(path).rev().collect();
        let mut here: Vec<u8> = Vec::with_capacity(path.len());
        let mut links = 0;
        while let Some(component) = pending.pop() {
            if component == b".." {
                here.truncate(parent_len(&here));
                continue;
            }
            let parent = here.len();
            if parent > 0 {
                here.push(b'/');
            }
            here.extend_from_slice(component);
            match self.node(&here)? {
                Node::Symlink { target } if follow_last || !pending.is_empty() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return None;
                    }
                    here.truncate(if target.first() == Some(&b'/') { 0 } else { parent });
                    pending.extend(components(target).rev());
                }
                Node::Directory => {}
                Node::File(_) | Node::Other | Node::Symlink { .. } if pending.is_empty() => {}
                Node::File(_) | Node::Other | Node::Symlink { .. } => return None,
            }
        }
        Some(here)
    }
}

fn parent_len(path: &[u8]) -> usize {
    path.iter().rposition(|byte| *byte == b'/').unwrap_or(0)
}

#[cfg(test)]
mod tests;
