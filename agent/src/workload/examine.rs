//! What the processes of a container have loaded already, against the allowlist they are under only now.
//!
//! The kernel decides when code is loaded; what was loaded before a policy was in force it never saw. `/proc/PID/maps` tells what is
//! executable in a process. Kernels to 6.7 show the real inode of an overlay's file there, later ones the overlay's device with the
//! lower file's inode number, which is the same as the real one where all layers are on one filesystem.

mod maps;
mod report;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
};

use plimsoll_abi::{Hook, Reason};
use plimsoll_policy::{Access, CompiledPolicy, FileObject, evaluate};
use plimsoll_sbom::InodeKey;
use prometheus_client::encoding::EncodeLabelValue;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, openat, openat2, statat};

use self::maps::{Mapped, Mapping};
use super::{
    Workload,
    cgroup::{self, CgroupError},
    mounts::Overlay,
    spec::within,
};

/// Bytes of one process's `maps`; the kernel allows 65530 mappings by default.
const MAX_MAPS: u64 = 64 << 20;
/// Deviations that are kept apart; those beyond are counted.
const MAX_DEVIATIONS: usize = 1000;

/// What is found of a mapping or a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelValue)]
pub enum Examined {
    /// The policy allows it.
    Listed,
    /// A file of the image that is not on the allowlist.
    NotListed,
    /// A file that the container has written or changed.
    Written,
    /// A file from elsewhere: a volume, a memory file.
    Foreign,
    /// Memory without a file.
    Anonymous,
    /// A mapping of a file that can differ from the file.
    Modified,
    /// The process does not show it.
    Unreadable,
}

/// Code that the policy does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deviation {
    /// The first process that has it.
    pub pid: u32,
    /// Whether it is mapped, or the program that the process was started with.
    pub hook: Hook,
    /// What is wrong with it.
    pub reason: Reason,
    /// The file, seen from the container, as the kernel wrote it; empty for memory.
    pub path: Vec<u8>,
    /// The file's device and number, as the kernel shows them.
    pub inode: InodeKey,
    /// In how many places it was found.
    pub times: u64,
}

/// All that is found in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Processes that were looked at.
    pub processes: usize,
    /// Programs and executable mappings, by what was found.
    pub counts: BTreeMap<Examined, u64>,
    /// One for each file and outcome, up to [`MAX_DEVIATIONS`].
    pub deviations: Vec<Deviation>,
}

/// Where a container's processes are.
#[derive(Debug)]
pub struct Place<'a> {
    /// Where the host's root is seen.
    pub host: &'a Path,
    /// Its cgroup.
    pub directory: Result<PathBuf, CgroupError>,
}

/// Which of a container's files has this path and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// The container wrote it.
    Upper,
    /// The image has it, on this device.
    Layer(u32),
    Elsewhere,
}

/// Looks at every process of the container but those that are still the runtime's, among whose processes is `runtime`.
pub fn workload(place: &Place<'_>, workload: &Workload, runtime: u32) -> Findings {
    let judge = Judge {
        policy: &workload.policy,
        overlay: &workload.image.overlay,
        knows: |inode| workload.image.file(inode).is_some(),
        origin: |path: &[u8], ino| origin(place.host, &workload.image.overlay, path, ino),
    };
    let mut found = Findings::default();
    let processes = match &place.directory {
        Ok(directory) => cgroup::processes(directory).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match processes {
        Ok(processes) => {
            let outside = cgroup::mount_namespace(runtime).ok();
            for pid in processes {
                if cgroup::mount_namespace(pid).ok() != outside {
                    process(pid, &judge, &mut found);
                }
            }
        }
        Err(error) => {
            tracing::error!(workload = %workload.id, %error, "the container's processes cannot be found");
            found.unreadable(0);
        }
    }
    found
}

impl Findings {
    fn add(&mut self, found: Deviation) {
        let outcome = examined(found.reason);
        *self.counts.entry(outcome).or_default() += found.times;
        if outcome == Examined::Listed {
            return;
        }
        let same = |known: &&mut Deviation| known.reason == found.reason && known.path == found.path;
        if let Some(known) = self.deviations.iter_mut().find(same) {
            known.times += found.times;
        } else if self.deviations.len() < MAX_DEVIATIONS {
            self.deviations.push(found);
        }
    }

    fn unreadable(&mut self, pid: u32) {
        let (hook, reason, inode) = (Hook::Map, Reason::Unreadable, InodeKey { dev: 0, ino: 0 });
        self.add(Deviation { pid, hook, reason, path: Vec::new(), inode, times: 1 });
    }
}

fn process<K, O>(pid: u32, judge: &Judge<'_, K, O>, found: &mut Findings)
where
    K: Fn(InodeKey) -> bool,
    O: Fn(&[u8], u64) -> Origin,
{
    let text = read(&PathBuf::from(format!("/proc/{pid}/maps")));
    let text = match text {
        Ok(text) => text,
        // It has ended.
        Err(error) if is_gone(&error) => return,
        Err(error) => {
            tracing::warn!(pid, %error, "a process does not show what it has loaded");
            return found.unreadable(pid);
        }
    };
    found.processes += 1;
    for line in maps::lines(&text) {
        let Some(mapping) = line else {
            found.unreadable(pid);
            continue;
        };
        if let Some(reason) = judge.mapping(&mapping) {
            let (inode, path) = mapping.file();
            found.add(Deviation { pid, hook: Hook::Map, reason, path: path.to_vec(), inode, times: 1 });
        }
    }
    match program(pid) {
        Ok((inode, target)) => {
            let (path, deleted) = maps::without_mark(&target);
            let (_, reason) = evaluate(judge.policy, &Access::Exec(judge.file(inode, path, deleted)));
            found.add(Deviation { pid, hook: Hook::Exec, reason, path: path.to_vec(), inode, times: 1 });
        }
        Err(error) if is_gone(&error) => {}
        Err(error) => {
            tracing::warn!(pid, %error, "a process does not show which program it runs");
            found.unreadable(pid);
        }
    }
}

/// The program that a process runs, as [`Mapping::file`] has it; the path may have the mark of a removed file.
fn program(pid: u32) -> io::Result<(InodeKey, Vec<u8>)> {
    let link = format!("/proc/{pid}/exe");
    let (target, metadata) = (fs::read_link(&link)?, fs::metadata(&link)?);
    let (major, minor) = (rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
    Ok((InodeKey { dev: (major << 20) | minor, ino: metadata.ino() }, target.into_os_string().into_vec()))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_MAPS).read_to_end(&mut text)?;
    Ok(text)
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// What is known of a container's files.
struct Judge<'a, K, O> {
    policy: &'a CompiledPolicy,
    overlay: &'a Overlay,
    /// Whether the image has an executable file with this real inode.
    knows: K,
    origin: O,
}

impl<K, O> Judge<'_, K, O>
where
    K: Fn(InodeKey) -> bool,
    O: Fn(&[u8], u64) -> Origin,
{
    /// `None` if it is not executable, or the kernel's own.
    fn mapping(&self, mapping: &Mapping<'_>) -> Option<Reason> {
        if !mapping.executable {
            return None;
        }
        let file = match mapping.what {
            Mapped::Kernel => return None,
            Mapped::Memory => None,
            Mapped::File { inode, path, deleted } => Some(self.file(inode, path, deleted)),
        };
        let private_writable = mapping.private && mapping.writable;
        Some(evaluate(self.policy, &Access::Map { file, private_writable }).1)
    }

    /// Which file it really is, as the kernel's programs would name it.
    fn file(&self, inode: InodeKey, path: &[u8], deleted: bool) -> FileObject {
        let on_overlay = inode.dev == self.overlay.dev;
        if !on_overlay && (self.knows)(inode) {
            return FileObject::Lower(inode);
        }
        if deleted {
            return if on_overlay { FileObject::Written } else { FileObject::Foreign };
        }
        match (self.origin)(path, inode.ino) {
            Origin::Upper => FileObject::Written,
            Origin::Layer(dev) if on_overlay || dev == inode.dev => FileObject::Lower(InodeKey { dev, ino: inode.ino }),
            // A file of the overlay that is neither: what it was has been replaced since.
            Origin::Layer(_) | Origin::Elsewhere if on_overlay => FileObject::Written,
            Origin::Layer(_) | Origin::Elsewhere => FileObject::Foreign,
        }
    }
}

/// What is counted for a reason.
pub fn examined(reason: Reason) -> Examined {
    match reason {
        Reason::Listed => Examined::Listed,
        Reason::NotListed => Examined::NotListed,
        Reason::Written => Examined::Written,
        Reason::AnonymousExec => Examined::Anonymous,
        Reason::ModifiedCode => Examined::Modified,
        Reason::Foreign => Examined::Foreign,
        _ => Examined::Unreadable,
    }
}

/// Looks into the directories that the overlay is made of. The container can change what is in its own meanwhile, but not lead
/// the look-up out of it.
fn origin(host: &Path, overlay: &Overlay, path: &[u8], ino: u64) -> Origin {
    let relative = Path::new(std::ffi::OsStr::from_bytes(path.strip_prefix(b"/").unwrap_or(path)));
    if let Some(upper) = &overlay.upper
        && stat_below(&within(host, upper), relative).is_some()
    {
        return Origin::Upper;
    }
    let in_layer = |layer: &PathBuf| stat_below(&within(host, layer), relative).filter(|(_, found)| *found == ino);
    overlay.layers.iter().find_map(in_layer).map_or(Origin::Elsewhere, |(dev, _)| Origin::Layer(dev))
}

/// Device, in the kernel's encoding, and number of a file, no link on the way being followed.
fn stat_below(directory: &Path, relative: &Path) -> Option<(u32, u64)> {
    let directory = openat(CWD, directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let file = openat2(&directory, relative, flags, Mode::empty(), beneath).ok()?;
    let stat = statat(&file, c"", AtFlags::EMPTY_PATH).ok()?;
    Some(((rustix::fs::major(stat.st_dev) << 20) | rustix::fs::minor(stat.st_dev), stat.st_ino))
}

#[cfg(test)]
mod tests;
