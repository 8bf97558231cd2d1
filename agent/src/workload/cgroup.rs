//! Cgroups, and those and mount namespaces of processes, from `/proc`.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Cgroups that a container may have made before it is introduced.
pub const MAX_BELOW: usize = 1024;

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
    #[error("there are more than {bound} cgroups below `{directory}`")]
    TooMany { bound: usize, directory: PathBuf },
}

/// The directory of a process's cgroup, below `root`.
pub fn directory(root: &Path, pid: u32) -> Result<PathBuf, CgroupError> {
    let path = PathBuf::from(format!("/proc/{pid}/cgroup"));
    let text = fs::read_to_string(&path).map_err(|source| CgroupError::Read { path, source })?;
    let name = version_2_path(&text).ok_or(CgroupError::NotVersion2(pid))?;
    if name == "/" {
        return Err(CgroupError::Root(pid));
    }
    Ok(root.join(name.trim_start_matches('/')))
}

/// The id of a cgroup: the inode number of its directory.
pub fn id(directory: &Path) -> Result<u64, CgroupError> {
    match fs::metadata(directory) {
        Ok(metadata) => Ok(metadata.ino()),
        Err(source) => Err(CgroupError::Read { path: directory.to_owned(), source }),
    }
}

/// The cgroup that a runtime made for the container `id`, of whose cgroups `inside` is one: the outermost directory whose name has
/// the id in it. `inside` itself, if the runtime names cgroups otherwise.
pub fn of_container(root: &Path, inside: &Path, id: &str) -> PathBuf {
    let names_it = |path: &&Path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(id));
    let below = inside.ancestors().take_while(|path| path.starts_with(root) && *path != root);
    below.filter(names_it).last().unwrap_or(inside).to_owned()
}

/// All cgroups below one, at whatever depth; more than `bound` are an error.
pub fn below(directory: &Path, bound: usize) -> Result<Vec<PathBuf>, CgroupError> {
    let (mut found, mut waiting) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(next) = waiting.pop() {
        let failed = |source| CgroupError::Read { path: next.clone(), source };
        for entry in fs::read_dir(&next).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_dir() {
                found.push(entry.path());
                waiting.push(entry.path());
            }
        }
        if found.len() > bound {
            return Err(CgroupError::TooMany { bound, directory: directory.to_owned() });
        }
    }
    Ok(found)
}

/// Whether a process is in a cgroup itself.
pub fn has_processes(directory: &Path) -> Result<bool, CgroupError> {
    let path = directory.join("cgroup.procs");
    match fs::read(&path) {
        Ok(list) => Ok(!list.is_empty()),
        // A threaded cgroup lists its threads only.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(true),
        Err(source) => Err(CgroupError::Read { path, source }),
    }
}

/// The processes of a cgroup and of those below it. A cgroup that is removed meanwhile has none.
pub fn processes(directory: &Path) -> Result<Vec<u32>, CgroupError> {
    let mut all = Vec::new();
    for cgroup in below(directory, MAX_BELOW)?.iter().map(PathBuf::as_path).chain([directory]) {
        let path = cgroup.join("cgroup.procs");
        match fs::read_to_string(&path) {
            Ok(text) => all.extend(text.lines().filter_map(|line| line.parse::<u32>().ok())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(CgroupError::Read { path, source }),
        }
    }
    Ok(all)
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
    fn a_containers_cgroup_has_its_id_in_its_name() {
        let root = Path::new("/sys/fs/cgroup");
        let find =
            |inside: &str| of_container(root, &root.join(inside), "c0ffee").strip_prefix(root).unwrap().to_owned();
        assert_eq!(find("kubepods/podu1/c0ffee"), Path::new("kubepods/podu1/c0ffee"));
        assert_eq!(find("kubepods/podu1/c0ffee/init.scope"), Path::new("kubepods/podu1/c0ffee"));
        let nested = "pod.slice/cri-containerd-c0ffee.scope/mine/c0ffee-again";
        assert_eq!(
            find(nested),
            Path::new("pod.slice/cri-containerd-c0ffee.scope"),
            "what the container names is deeper"
        );
        assert_eq!(find("machine/other"), Path::new("machine/other"));
    }

    #[test]
    fn cgroups_below_and_their_processes_are_found() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(root.path().join("cgroup.procs"), "1\n2\n").unwrap();
        fs::write(inner.join("cgroup.procs"), "3\n").unwrap();
        assert_eq!(below(root.path(), MAX_BELOW).unwrap(), [root.path().join("a"), inner]);
        let mut processes = processes(root.path()).unwrap();
        processes.sort_unstable();
        assert_eq!(processes, [1, 2, 3], "a cgroup that goes meanwhile has none");
    }

    #[test]
    fn this_process_has_a_mount_namespace() {
        assert!(mount_namespace(std::process::id()).unwrap() > 0);
    }
}
