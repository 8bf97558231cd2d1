//! One layer's directory, and the only way to open something in it.

use std::{
    ffi::OsStr,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

use plimsoll_sbom::InodeKey;
use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, Stat, flistxattr, fstat, major, minor, openat, openat2},
    io::Errno,
};

use crate::{cache, error::RootfsError};

/// Largest list of attribute names the kernel gives (`XATTR_LIST_MAX`).
const MAX_ATTRIBUTES: usize = 64 << 10;

pub(crate) struct Layer {
    path: PathBuf,
    root: OwnedFd,
}

/// What overlayfs wrote on a file or directory.
#[derive(Default)]
pub(crate) struct OverlayMarks {
    /// The directory hides those below it.
    pub(crate) opaque: bool,
    /// The directory may hold whiteouts that are empty files with an attribute.
    pub(crate) has_attribute_whiteouts: bool,
    /// The file is such a whiteout, if its directory says so too.
    pub(crate) whiteout: bool,
}

impl Layer {
    pub(crate) fn open(path: &Path) -> Result<Self, RootfsError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, path, flags, Mode::empty()).map_err(|source| RootfsError::Io {
            action: "open",
            path: path.to_owned(),
            source,
        })?;
        Ok(Self { path: path.to_owned(), root })
    }

    /// The layer's name in a cache.
    pub(crate) fn key(&self) -> Result<String, RootfsError> {
        let io = |source| RootfsError::Io { action: "examine", path: self.path.clone(), source };
        let stat = fstat(&self.root).map_err(io)?;
        Ok(cache::key(&self.path, stat.st_dev, stat.st_ino))
    }

    /// The path on the node, for messages.
    pub(crate) fn locate(&self, path: &[u8]) -> PathBuf {
        self.path.join(OsStr::from_bytes(path))
    }

    pub(crate) fn open_directory(&self, path: &[u8]) -> Result<OwnedFd, RootfsError> {
        self.open_at(path, OFlags::DIRECTORY)
    }

    /// `O_NONBLOCK`, lest a FIFO put in a file's place stops us.
    pub(crate) fn open_file(&self, path: &[u8]) -> Result<OwnedFd, RootfsError> {
        self.open_at(path, OFlags::NONBLOCK | OFlags::NOCTTY)
    }

    fn open_at(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, RootfsError> {
        let path_or_root = if path.is_empty() { b".".as_slice() } else { path };
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat2(&self.root, path_or_root, flags, Mode::empty(), resolve).map_err(|error| match error {
            Errno::XDEV => RootfsError::MountPoint { path: self.locate(path) },
            source => RootfsError::Io { action: "open", path: self.locate(path), source },
        })
    }

    /// Identity as the kernel's programs see it; user space encodes device numbers differently.
    pub(crate) fn inode_key(&self, path: &[u8], stat: &Stat) -> Result<InodeKey, RootfsError> {
        let (major, minor) = (major(stat.st_dev), minor(stat.st_dev));
        if major >= 1 << 12 || minor >= 1 << 20 {
            return Err(RootfsError::Device { path: self.locate(path), major, minor });
        }
        Ok(InodeKey { dev: major << 20 | minor, ino: stat.st_ino })
    }

    /// Reads overlayfs' attributes, and refuses those under which content lies elsewhere.
    pub(crate) fn overlay_marks(&self, path: &[u8], file: &OwnedFd) -> Result<OverlayMarks, RootfsError> {
        let io = |source| RootfsError::Io { action: "read attributes of", path: self.locate(path), source };
        let mut marks = OverlayMarks::default();
        for attribute in attribute_names(file).map_err(io)? {
            let name = attribute.strip_prefix("trusted.overlay.").or_else(|| attribute.strip_prefix("user.overlay."));
            match name {
                Some("redirect" | "metacopy") => {
                    return Err(RootfsError::OverlayFeature { path: self.locate(path), attribute });
                }
                Some("whiteout") => marks.whiteout = true,
                Some("opaque") => {
                    let value = opaque_value(file, &attribute).map_err(io)?;
                    marks.opaque |= value == Some(b'y');
                    marks.has_attribute_whiteouts |= value == Some(b'x');
                }
                _ => {}
            }
        }
        Ok(marks)
    }
}

fn attribute_names(file: &OwnedFd) -> Result<Vec<String>, Errno> {
    let mut buffer = vec![0; 1024];
    let length = match flistxattr(file, buffer.as_mut_slice()) {
        Err(Errno::RANGE) => {
            buffer.resize(MAX_ATTRIBUTES, 0);
            flistxattr(file, buffer.as_mut_slice())?
        }
        // The filesystem has no attributes.
        Err(Errno::OPNOTSUPP) => 0,
        other => other?,
    };
    let names = buffer.get(..length).unwrap_or_default().split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
}

fn opaque_value(file: &OwnedFd, attribute: &str) -> Result<Option<u8>, Errno> {
    let mut value = [0; 16];
    let length = rustix::fs::fgetxattr(file, attribute, &mut value[..])?;
    Ok(if length == 1 { value.first().copied() } else { None })
}
