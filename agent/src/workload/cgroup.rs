//! Cgroups, and those and mount namespaces of processes, from `/proc`.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Why a process cannot be placed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    #[error("cannot read `{path}`")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot make the cgroup `{path}`")]
    Create {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("process {0} is not in a version 2 cgroup; Plimsoll needs a host that uses cgroup v2 alone")]
    NotVersion2(u32),
    #[error("process {0} is in the root cgroup, which is not a container's")]
    Root(u32),
    #[error("`{0}` does not name a mount namespace")]
    Namespace(PathBuf),
}

/// A cgroup, and those below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// The inode number of its directory.
    pub id: u64,
    /// Its directory.
    pub directory: PathBuf,
}

impl Cgroup {
    /// The cgroup that a directory is.
    pub fn at(directory: PathBuf) -> Result<Self, CgroupError> {
        match fs::metadata(&directory) {
            Ok(metadata) => Ok(Self { id: metadata.ino(), directory }),
            Err(source) => Err(CgroupError::Read { path: directory, source }),
        }
    }

    /// Whether a process is in it itself.
    pub fn has_processes(&self) -> Result<bool, CgroupError> {
        let path = self.directory.join("cgroup.procs");
        match fs::read(&path) {
            Ok(list) => Ok(!list.is_empty()),
            // A threaded cgroup lists its threads only.
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(true),
            Err(source) => Err(CgroupError::Read { path, source }),
        }
    }

    /// All cgroups below it, parents first. One that vanishes meanwhile is left out.
    pub fn descendants(&self) -> Result<Vec<Self>, CgroupError> {
        let (mut found, mut next) = (Vec::new(), vec![self.directory.clone()]);
        while let Some(directory) = next.pop() {
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(CgroupError::Read { path: directory, source }),
            };
            for entry in entries.flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    next.push(entry.path());
                    found.extend(Self::at(entry.path()).ok());
                }
            }
        }
        Ok(found)
    }
}

/// A process's cgroup.
pub fn of_process(root: &Path, pid: u32) -> Result<Cgroup, CgroupError> {
    let path = PathBuf::from(format!("/proc/{pid}/cgroup"));
    let text = fs::read_to_string(&path).map_err(|source| CgroupError::Read { path, source })?;
    let name = version_2_path(&text).ok_or(CgroupError::NotVersion2(pid))?;
    if name == "/" {
        return Err(CgroupError::Root(pid));
    }
    Cgroup::at(root.join(name.trim_start_matches('/')))
}

fn version_2_path(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// The inode number of a process's mount namespace.
pub fn mount_namespace(pid: u32) -> Result<u32, CgroupError> {
    let path = PathBuf::from(format!("/proc/{pid}/ns/mnt"));
    let link = fs::read_link(&path).map_err(|source| CgroupError::Read { path: path.clone(), source })?;
    let number = link.to_str().and_then(|text| text.strip_prefix("mnt:[")?.strip_suffix(']')?.parse().ok());
    number.ok_or(CgroupError::Namespace(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_hosts_have_the_version_2_line_among_others() {
        assert_eq!(version_2_path("12:pids:/a\n0::/b\n"), Some("/b"));
        assert_eq!(version_2_path("12:pids:/a\n"), None);
    }

    #[test]
    fn this_process_has_a_mount_namespace() {
        assert!(mount_namespace(std::process::id()).unwrap() > 0);
    }
}
