//! Which volumes a container has, as file rules need to know them: the inode that each mount begins with.

use std::{
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use plimsoll_abi::{MAX_MOUNT_DEPTH, MAX_VOLUMES};
use plimsoll_policy::CompiledPolicy;

use super::mounts::{Below, MountError, mounts_below};
use crate::enforcer::Mounted;

/// Why a container's volumes are not known.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error("cannot read the mounts of process {pid}")]
    MountInfo {
        pid: u32,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error("cannot look at the container's mount `{path}`")]
    Stat {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the container has more than {MAX_VOLUMES} mounts, the limit for file rules")]
    TooMany,
    #[error("mount point `{0}` has more than {MAX_MOUNT_DEPTH} parts, the limit for file rules")]
    TooDeep(PathBuf),
    #[error(
        "the policy has file rules, and the container's mounts are not there yet: its runtime runs `createRuntime` hooks \
         before it mounts; use runc"
    )]
    NoneYet,
    #[error(
        "`{first}` and `{second}` are the same directory of the container, mounted twice, and the policy's file rules \
         treat them differently; mount it once, or give both the same rules with a rule for a directory above both"
    )]
    TwoNames { first: String, second: String },
}

/// Refuses file rules that cannot hold for these volumes, or of which it would be unclear what they name.
pub fn can_be_named(policy: &CompiledPolicy, volumes: &[Mounted]) -> Result<(), VolumeError> {
    if policy.files.is_empty() {
        return Ok(());
    }
    // Every container has some mounts, if only `/proc`.
    if volumes.is_empty() {
        return Err(VolumeError::NoneYet);
    }
    let names = volumes.iter().flat_map(|volume| volume.also.iter().map(|other| (text(&volume.path), text(other))));
    match names.into_iter().find(|(first, second)| !policy.rules_are_alike(first, second)) {
        Some((first, second)) => Err(VolumeError::TwoNames { first, second }),
        None => Ok(()),
    }
}

/// The volumes of the container whose first process is `pid`, which has its mounts but is not yet confined to `root`, an
/// overlay with device number `overlay`.
pub fn volumes(pid: u32, root: &Path, overlay: u32) -> Result<Vec<Mounted>, VolumeError> {
    let mountinfo =
        fs::read(format!("/proc/{pid}/mountinfo")).map_err(|source| VolumeError::MountInfo { pid, source })?;
    let below = mounts_below(&mountinfo, root)?;
    if below.len() > MAX_VOLUMES {
        return Err(VolumeError::TooMany);
    }
    let seen = PathBuf::from(format!("/proc/{pid}/root"));
    let mut volumes = Vec::new();
    for mount in &below {
        if mount.path.components().count() > MAX_MOUNT_DEPTH {
            return Err(VolumeError::TooDeep(mount.path.clone()));
        }
        let point = seen.join(mount.point.strip_prefix("/").unwrap_or(&mount.point));
        let ino = match fs::symlink_metadata(&point) {
            Ok(metadata) => metadata.ino(),
            // Hidden below another mount: nothing leads there.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
            Err(source) => return Err(VolumeError::Stat { path: mount.path.clone(), source }),
        };
        volumes.push(Mounted {
            dev: mount.dev,
            ino,
            path: bytes(&mount.path),
            also: other_names(mount, &below, overlay),
        });
    }
    Ok(volumes)
}

/// By which other paths the container sees the directory that `mount` begins with.
fn other_names(mount: &Below, all: &[Below], overlay: u32) -> Vec<Vec<u8>> {
    let on_root = (mount.dev == overlay).then(|| bytes(mount.root.strip_prefix("/").unwrap_or(&mount.root)));
    let on_others = all.iter().filter(|other| other.dev == mount.dev).filter_map(|other| {
        let rest = mount.root.strip_prefix(&other.root).ok()?;
        // Put together from its components: joining an empty rest would leave a slash at the end.
        Some(bytes(&other.path.components().chain(rest.components()).collect::<PathBuf>()))
    });
    let own = bytes(&mount.path);
    on_root.into_iter().chain(on_others).filter(|name| *name != own).collect()
}

/// A path that is relative to the container's root, from that root.
fn bytes(path: &Path) -> Vec<u8> {
    [b"/", path.as_os_str().as_bytes()].concat()
}

fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(dev: u32, root: &str, path: &str) -> Below {
        Below { dev, root: root.into(), point: Path::new("/r").join(path), path: path.into() }
    }

    #[test]
    fn a_directory_that_is_mounted_twice_has_two_names() {
        let all = [
            mount(1, "/v", "data"),
            mount(1, "/v/sub", "part"),
            mount(1, "/w", "other"),
            mount(2, "/", "proc"),
            mount(2, "/sys", "proc/sys"),
            mount(9, "/opt", "mnt"),
        ];
        let names =
            |index: usize| -> Vec<String> { other_names(&all[index], &all, 9).iter().map(|name| text(name)).collect() };
        assert_eq!(names(1), ["/data/sub"]);
        assert_eq!(names(5), ["/opt"]);
        for index in [0, 2, 3, 4] {
            assert!(names(index).is_empty(), "{index}: {:?}", names(index));
        }
    }
}
