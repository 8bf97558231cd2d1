//! Merges layers as overlayfs does: the topmost entry of a name wins, directories of one name join, a whiteout hides
//! what lies below it, and an opaque directory hides the directories below it.

use std::{
    collections::{BTreeMap, btree_map},
    os::fd::OwnedFd,
};

use plimsoll_sbom::FileFact;
use rustix::fs::{AtFlags, Dir, FileType, Stat, major, minor, readlinkat, statat};

use crate::{
    cache::Stamp,
    error::RootfsError,
    layer::{Layer, OverlayMarks},
};

/// A node of the merged tree.
pub(crate) struct Entry {
    /// Relative to the image's root.
    pub(crate) path: Vec<u8>,
    /// Index of the layer that shows it.
    pub(crate) layer: usize,
    pub(crate) kind: Kind,
}

pub(crate) enum Kind {
    Directory,
    /// `exec` is filled in later.
    File(FileFact, Stamp),
    Symlink(Vec<u8>),
    Other,
}

/// A directory still to be merged: the layers that have it, top first.
struct Pending {
    path: Vec<u8>,
    layers: Vec<usize>,
}

/// What a name stands for, as far down as the layers were read.
enum Found {
    Whiteout,
    Node {
        layer: usize,
        kind: Kind,
    },
    /// `open` until something that is no directory lies below.
    Directory {
        layers: Vec<usize>,
        open: bool,
    },
}

/// Every node of the merged tree, sorted by path, contents not yet examined.
pub(crate) fn merge(layers: &[Layer], max_nodes: usize) -> Result<Vec<Entry>, RootfsError> {
    let mut entries = Vec::new();
    let mut pending = vec![Pending { path: Vec::new(), layers: (0..layers.len()).collect() }];
    while let Some(directory) = pending.pop() {
        for (name, found) in merge_directory(layers, &directory, max_nodes)? {
            let path = child(&directory.path, &name);
            match found {
                Found::Whiteout => {}
                Found::Node { layer, kind } => entries.push(Entry { path, layer, kind }),
                Found::Directory { layers, .. } => {
                    let layer = layers.first().copied().unwrap_or_default();
                    entries.push(Entry { path: path.clone(), layer, kind: Kind::Directory });
                    pending.push(Pending { path, layers });
                }
            }
            if entries.len() > max_nodes {
                return Err(RootfsError::TooManyNodes { limit: max_nodes });
            }
        }
    }
    entries.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(entries)
}

fn merge_directory(
    layers: &[Layer],
    directory: &Pending,
    max_nodes: usize,
) -> Result<BTreeMap<Vec<u8>, Found>, RootfsError> {
    let mut names = BTreeMap::new();
    for (index, layer) in directory.layers.iter().filter_map(|&index| Some((index, layers.get(index)?))) {
        let file = layer.open_directory(&directory.path)?;
        let marks = layer.overlay_marks(&directory.path, &file)?;
        let reader = Reader { layer, index, directory: &directory.path, file, marks };
        reader.read(&mut names, max_nodes)?;
        // Roots are always merged: overlayfs does not look at their marks.
        if reader.marks.opaque && !directory.path.is_empty() {
            break;
        }
    }
    Ok(names)
}

/// One layer's part of a directory.
struct Reader<'a> {
    layer: &'a Layer,
    index: usize,
    directory: &'a [u8],
    file: OwnedFd,
    marks: OverlayMarks,
}

impl Reader<'_> {
    fn read(&self, names: &mut BTreeMap<Vec<u8>, Found>, max_nodes: usize) -> Result<(), RootfsError> {
        let io = |source| RootfsError::Io { action: "read", path: self.layer.locate(self.directory), source };
        for entry in Dir::read_from(&self.file).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            self.take(name, names)?;
            if names.len() > max_nodes {
                return Err(RootfsError::TooManyNodes { limit: max_nodes });
            }
        }
        Ok(())
    }

    fn take(&self, name: &[u8], names: &mut BTreeMap<Vec<u8>, Found>) -> Result<(), RootfsError> {
        match names.entry(name.to_vec()) {
            btree_map::Entry::Vacant(vacant) => {
                vacant.insert(self.found(name)?);
            }
            btree_map::Entry::Occupied(mut occupied) => {
                if let Found::Directory { layers, open } = occupied.get_mut()
                    && *open
                {
                    match self.found(name)? {
                        Found::Directory { layers: this, .. } => layers.extend(this),
                        Found::Whiteout | Found::Node { .. } => *open = false,
                    }
                }
            }
        }
        Ok(())
    }

    fn found(&self, name: &[u8]) -> Result<Found, RootfsError> {
        let path = child(self.directory, name);
        let io = |source| RootfsError::Io { action: "examine", path: self.layer.locate(&path), source };
        let stat = statat(&self.file, name, AtFlags::SYMLINK_NOFOLLOW).map_err(io)?;
        let node = |kind| Ok(Found::Node { layer: self.index, kind });
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Ok(Found::Directory { layers: vec![self.index], open: true }),
            FileType::Symlink => {
                node(Kind::Symlink(readlinkat(&self.file, name, Vec::new()).map_err(io)?.into_bytes()))
            }
            FileType::CharacterDevice if is_device_zero(&stat) => Ok(Found::Whiteout),
            FileType::RegularFile if self.is_attribute_whiteout(&path, &stat)? => Ok(Found::Whiteout),
            FileType::RegularFile => {
                let size = u64::try_from(stat.st_size).unwrap_or_default();
                let inode = self.layer.inode_key(&path, &stat)?;
                node(Kind::File(FileFact { size, mode: stat.st_mode & 0o7777, inode, exec: None }, stamp(&stat)))
            }
            _ => node(Kind::Other),
        }
    }

    fn is_attribute_whiteout(&self, path: &[u8], stat: &Stat) -> Result<bool, RootfsError> {
        if !self.marks.has_attribute_whiteouts || stat.st_size != 0 {
            return Ok(false);
        }
        let file = self.layer.open_file(path)?;
        Ok(self.layer.overlay_marks(path, &file)?.whiteout)
    }
}

/// When content and inode were last changed.
pub(crate) fn stamp(stat: &Stat) -> Stamp {
    [stat.st_mtime, stat.st_mtime_nsec.cast_signed(), stat.st_ctime, stat.st_ctime_nsec.cast_signed()]
}

fn is_device_zero(stat: &Stat) -> bool {
    major(stat.st_rdev) == 0 && minor(stat.st_rdev) == 0
}

fn child(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}
