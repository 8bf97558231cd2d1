//! Finds the overlay that is a container's root, and the layer directories below it, in a `mountinfo` file.

use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

/// Why a root filesystem cannot be enforced.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MountError {
    #[error("`{0}` is not a mount point, so its layers are unknown; Plimsoll enforces overlayfs roots only")]
    NotMounted(PathBuf),
    #[error("`{path}` is on `{filesystem}`; Plimsoll enforces overlayfs roots only (use the overlayfs snapshotter)")]
    NotOverlay { path: PathBuf, filesystem: String },
    #[error("the overlay on `{path}` uses `{option}`, with which a file's content need not come from its lower inode")]
    Unsupported { path: PathBuf, option: String },
    #[error("the overlay on `{0}` names no lower directories")]
    NoLayers(PathBuf),
    #[error("layer `{layer}` of `{path}` is relative and nothing says to what")]
    RelativeLayer { path: PathBuf, layer: PathBuf },
    #[error("line {line} of mountinfo cannot be understood")]
    Malformed { line: usize },
}

/// A container's root filesystem.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Overlay {
    /// `s_dev` of the overlay, in the kernel's encoding.
    pub dev: u32,
    /// Layer directories, topmost first.
    pub layers: Vec<PathBuf>,
    /// Where what the container writes goes; none if it can write nothing.
    #[serde(default)]
    pub upper: Option<PathBuf>,
}

/// Finds the overlay mounted at `root`. Of several mounts stacked there the last one counts.
pub fn overlay_at(mountinfo: &[u8], root: &Path) -> Result<Overlay, MountError> {
    let mut found = None;
    for (index, line) in mountinfo.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate() {
        let mount = Mount::parse(line).ok_or(MountError::Malformed { line: index + 1 })?;
        if mount.point == root {
            found = Some(mount);
        }
    }
    found.ok_or_else(|| MountError::NotMounted(root.to_owned()))?.overlay()
}

/// A mount below a container's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Below {
    /// Its filesystem, in the kernel's encoding.
    pub dev: u32,
    /// Which part of the filesystem is mounted.
    pub root: PathBuf,
    /// Where it is mounted, in the mount namespace that was asked.
    pub point: PathBuf,
    /// The same from the container's root.
    pub path: PathBuf,
}

/// The mounts below `root`, one for each mount point: of several stacked there, the last one.
pub fn mounts_below(mountinfo: &[u8], root: &Path) -> Result<Vec<Below>, MountError> {
    let mut below: Vec<Below> = Vec::new();
    for (index, line) in mountinfo.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate() {
        let mount = Mount::parse(line).ok_or(MountError::Malformed { line: index + 1 })?;
        let Ok(path) = mount.point.strip_prefix(root) else { continue };
        if path.as_os_str().is_empty() {
            continue;
        }
        let path = path.to_owned();
        below.retain(|earlier| earlier.path != path);
        below.push(Below { dev: mount.dev, root: mount.root, point: mount.point, path });
    }
    Ok(below)
}

struct Mount {
    dev: u32,
    root: PathBuf,
    point: PathBuf,
    filesystem: String,
    options: Vec<u8>,
}

impl Mount {
    /// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
    fn parse(line: &[u8]) -> Option<Self> {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let dash = fields.iter().position(|field| *field == b"-")?;
        let (major, minor) = std::str::from_utf8(fields.get(2)?).ok()?.split_once(':')?;
        Some(Self {
            dev: (major.parse::<u32>().ok()? << 20) | minor.parse::<u32>().ok()?,
            root: PathBuf::from(OsString::from_vec(unescape(fields.get(3)?))),
            point: PathBuf::from(OsString::from_vec(unescape(fields.get(4)?))),
            filesystem: String::from_utf8_lossy(fields.get(dash + 1)?).into_owned(),
            options: fields.get(dash + 3)?.to_vec(),
        })
    }

    fn overlay(self) -> Result<Overlay, MountError> {
        if self.filesystem != "overlay" {
            return Err(MountError::NotOverlay { path: self.point, filesystem: self.filesystem });
        }
        let (mut layers, mut upper) = (Vec::new(), None);
        for option in split_unescaped(&self.options, b',') {
            let (name, value) = split_once(&option, b'=');
            match name {
                b"lowerdir" => layers = lower_directories(value),
                b"lowerdir+" => layers.push(path(value)),
                b"upperdir" => upper = Some(path(value)),
                b"metacopy" if value == b"on" => return Err(self.unsupported(&option)),
                b"datadir+" => return Err(self.unsupported(&option)),
                _ => {}
            }
        }
        // An empty name between two colons introduces data-only layers.
        if layers.iter().any(|layer| layer.as_os_str().is_empty()) {
            return Err(self.unsupported(b"lowerdir=...::..."));
        }
        if layers.is_empty() {
            return Err(MountError::NoLayers(self.point));
        }
        let layers = layers.into_iter().map(|layer| absolute(layer, upper.as_deref(), &self.point));
        let layers = layers.collect::<Result<_, _>>()?;
        // A relative one says nothing; layers that are relative to it were refused before.
        Ok(Overlay { dev: self.dev, layers, upper: upper.filter(|upper| upper.is_absolute()) })
    }

    fn unsupported(&self, option: &[u8]) -> MountError {
        MountError::Unsupported { path: self.point.clone(), option: String::from_utf8_lossy(option).into_owned() }
    }
}

/// containerd shortens long options: `lowerdir=2/fs:1/fs`, relative to the directory that holds the snapshots, which
/// is the one above the snapshot of `upperdir`.
fn absolute(layer: PathBuf, upper: Option<&Path>, root: &Path) -> Result<PathBuf, MountError> {
    if layer.is_absolute() {
        return Ok(layer);
    }
    match upper.filter(|upper| upper.is_absolute()).and_then(|upper| upper.parent()?.parent()) {
        Some(snapshots) => Ok(snapshots.join(layer)),
        None => Err(MountError::RelativeLayer { path: root.to_owned(), layer }),
    }
}

fn lower_directories(value: &[u8]) -> Vec<PathBuf> {
    split_unescaped(value, b':').iter().map(|layer| path(layer)).collect()
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}

fn split_once(bytes: &[u8], separator: u8) -> (&[u8], &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == separator);
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

/// Splits mount options after undoing mountinfo's `\040`; a backslash before the separator keeps it in the name, as
/// overlayfs wants it for colons and commas in directories.
fn split_unescaped(bytes: &[u8], separator: u8) -> Vec<Vec<u8>> {
    let unescaped = if separator == b',' { unescape(bytes) } else { bytes.to_vec() };
    let (mut parts, mut part, mut rest) = (Vec::new(), Vec::new(), unescaped.as_slice());
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (*byte, after.split_first()) {
            // Kept for the inner split, which takes it away.
            (b'\\', Some((escaped, beyond))) => {
                if separator == b',' && *escaped != b',' {
                    part.push(b'\\');
                }
                part.push(*escaped);
                rest = beyond;
            }
            (byte, _) if byte == separator => parts.push(std::mem::take(&mut part)),
            (byte, _) => part.push(byte),
        }
    }
    parts.push(part);
    parts
}

/// Undoes mountinfo's octal escapes of space, tab, newline and backslash.
fn unescape(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(bytes.len()), bytes);
    while let Some((byte, after)) = rest.split_first() {
        if let (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', beyond @ ..]) = (byte, after) {
            out.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
            rest = beyond;
        } else {
            out.push(*byte);
            rest = after;
        }
    }
    out
}

/// Whether device numbers of files on this filesystem are the ones the kernel programs see.
///
/// `statfs` magic numbers of filesystems whose `st_dev` is made up per subvolume, and of overlays on overlays.
pub fn unsupported_lower(path: &Path) -> std::io::Result<Option<&'static str>> {
    const BTRFS: i64 = 0x9123_683e;
    const BCACHEFS: i64 = 0xca45_1a4e;
    const ZFS: i64 = 0x2fc1_2fc1;
    const OVERLAY: i64 = 0x794c_7630;
    const FUSE: i64 = 0x6573_5546;
    let filesystem = rustix::fs::statfs(path)?;
    Ok(match filesystem.f_type {
        BTRFS => Some("btrfs"),
        BCACHEFS => Some("bcachefs"),
        ZFS => Some("zfs"),
        OVERLAY => Some("another overlay"),
        FUSE => Some("fuse"),
        _ => None,
    })
}

/// Shows a path in messages; only for paths that came as bytes.
pub(crate) fn display(path: &Path) -> String {
    String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(point: &str, filesystem: &str, options: &str) -> String {
        format!("36 35 0:47 / {point} rw,relatime shared:1 - {filesystem} source {options}\n")
    }

    fn find(text: &str) -> Result<Overlay, MountError> {
        overlay_at(text.as_bytes(), Path::new("/run/c/rootfs"))
    }

    #[test]
    fn lower_directories_come_topmost_first() {
        let text = line("/other", "ext4", "rw")
            + &line("/run/c/rootfs", "overlay", "rw,lowerdir=/l/2:/l/1,upperdir=/u,workdir=/w");
        let expected = Overlay { dev: 47, layers: vec!["/l/2".into(), "/l/1".into()], upper: Some("/u".into()) };
        assert_eq!(find(&text).unwrap(), expected);
    }

    #[test]
    fn volumes_are_the_mounts_below_the_root() {
        let text = line("/run/c/rootfs", "overlay", "lowerdir=/l")
            + &line("/run/c/rootfs/data", "ext4", "rw")
            + &line("/run/c/rootfs/data", "tmpfs", "rw").replace("0:47", "0:48")
            + &line("/run/c/rootfs2/data", "tmpfs", "rw")
            + &line("/", "ext4", "rw");
        let found = mounts_below(text.as_bytes(), Path::new("/run/c/rootfs")).unwrap();
        assert_eq!(
            found,
            [Below { dev: 48, root: "/".into(), point: "/run/c/rootfs/data".into(), path: "data".into() }]
        );
    }

    #[test]
    fn device_numbers_use_the_kernels_encoding() {
        let text = line("/run/c/rootfs", "overlay", "lowerdir=/l").replace("0:47", "8:3");
        assert_eq!(find(&text).unwrap().dev, (8 << 20) | 3);
    }

    #[test]
    fn the_last_of_stacked_mounts_counts() {
        let text = line("/run/c/rootfs", "ext4", "rw") + &line("/run/c/rootfs", "overlay", "lowerdir=/l");
        assert_eq!(find(&text).unwrap().layers, [PathBuf::from("/l")]);
    }

    #[test]
    fn escaped_names_are_undone() {
        let text = line("/run/c/rootfs", "overlay", r"lowerdir=/a\134:b:/c\040d,upperdir=/u");
        assert_eq!(find(&text).unwrap().layers, [PathBuf::from("/a:b"), PathBuf::from("/c d")]);
    }

    #[test]
    fn containerds_short_names_are_completed() {
        let text =
            line("/run/c/rootfs", "overlay", "lowerdir=2/fs:1/fs,upperdir=/snapshots/3/fs,workdir=/snapshots/3/work");
        assert_eq!(find(&text).unwrap().layers, [PathBuf::from("/snapshots/2/fs"), PathBuf::from("/snapshots/1/fs")]);
    }

    #[test]
    fn a_relative_layer_without_upper_is_refused() {
        let error = find(&line("/run/c/rootfs", "overlay", "lowerdir=2/fs")).unwrap_err();
        assert!(matches!(error, MountError::RelativeLayer { .. }), "{error}");
    }

    #[test]
    fn content_from_elsewhere_is_refused() {
        for options in ["lowerdir=/l,metacopy=on", "lowerdir=/l::/data", "lowerdir+=/l,datadir+=/data"] {
            let error = find(&line("/run/c/rootfs", "overlay", options)).unwrap_err();
            assert!(matches!(error, MountError::Unsupported { .. }), "{options}: {error}");
        }
    }

    #[test]
    fn other_roots_are_refused_by_name() {
        assert!(matches!(find(&line("/elsewhere", "overlay", "lowerdir=/l")), Err(MountError::NotMounted(_))));
        assert!(matches!(find(&line("/run/c/rootfs", "btrfs", "rw")), Err(MountError::NotOverlay { .. })));
        assert!(matches!(find("36 35\n"), Err(MountError::Malformed { line: 1 })));
    }
}
