//! Looks into files: which can run, and what their digests are. Every content is read once, however many names it has.

use std::{
    collections::HashMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    num::NonZero,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use md5::Digest as _;
use plimsoll_sbom::{ExecFact, ExecKind, FileFact, InodeKey, Sha256};
use rustix::{
    fs::{FileType, Stat, fstat},
    io::Errno,
};

use crate::{
    Options, Problem, Progress,
    cache::{Facts, Identity, Stamp},
    error::RootfsError,
    layer::Layer,
    merge::{Entry, Kind, stamp},
};

const BUFFER: usize = 256 << 10;
/// Bytes that decide what a file is.
const HEAD: usize = 4;

/// A content to look into, under the first of its names.
struct Job<'a> {
    path: &'a [u8],
    layer: &'a Layer,
    /// The layer's index.
    index: usize,
    identity: Identity,
    inode: InodeKey,
}

/// Fills in `exec` of every file. Returns the number of bytes hashed; what the cache knew is not among them.
pub(crate) fn examine(
    layers: &[Layer],
    entries: &mut [Entry],
    options: &Options<'_>,
    problems: &mut Vec<Problem>,
) -> Result<u64, RootfsError> {
    let mut known = Known::load(layers, options, problems)?;
    let (hashed, new) = {
        let jobs = jobs(layers, entries, &known);
        let work = Work::new(&jobs, options);
        let threads = thread::available_parallelism().map_or(1, NonZero::get).min(jobs.len().max(1));
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| work.run());
            }
        });
        (work.bytes.load(Ordering::Relaxed), work.finish()?)
    };
    known.take(new);
    for entry in entries {
        if let Kind::File(fact, stamp) = &mut entry.kind {
            fact.exec = known.get(entry.layer, identity(fact, *stamp)).cloned().flatten();
        }
    }
    known.keep(options, problems);
    Ok(hashed)
}

fn identity(fact: &FileFact, stamp: Stamp) -> Identity {
    Identity { ino: fact.inode.ino, size: fact.size, mode: fact.mode, stamp }
}

/// What is known of each layer's contents, by the layer's index.
struct Known {
    facts: Vec<Facts>,
    /// Of the layers in the cache; empty without one.
    keys: Vec<String>,
    /// Layers about which something new was found.
    changed: Vec<bool>,
}

impl Known {
    fn load(layers: &[Layer], options: &Options<'_>, problems: &mut Vec<Problem>) -> Result<Self, RootfsError> {
        let mut known =
            Self { facts: vec![Facts::new(); layers.len()], keys: Vec::new(), changed: vec![false; layers.len()] };
        let Some(cache) = options.cache else { return Ok(known) };
        for (layer, facts) in layers.iter().zip(&mut known.facts) {
            let key = layer.key()?;
            let (found, problem) = cache.load(&key);
            problems.extend(problem.map(Problem::LayerCache));
            *facts = found;
            known.keys.push(key);
        }
        Ok(known)
    }

    fn get(&self, layer: usize, identity: Identity) -> Option<&Option<ExecFact>> {
        self.facts.get(layer)?.get(&identity)
    }

    fn take(&mut self, new: Vec<Examined>) {
        for Examined { layer, identity, fact } in new {
            if let (Some(facts), Some(changed)) = (self.facts.get_mut(layer), self.changed.get_mut(layer)) {
                facts.insert(identity, fact);
                *changed = true;
            }
        }
    }

    /// A layer that cannot be kept is read again next time; nothing else is lost.
    fn keep(&self, options: &Options<'_>, problems: &mut Vec<Problem>) {
        let Some(cache) = options.cache else { return };
        for ((facts, key), changed) in self.facts.iter().zip(&self.keys).zip(&self.changed) {
            if *changed {
                problems.extend(cache.save(key, facts).err().map(Problem::LayerCache));
            }
        }
    }
}

/// What was found out about one content.
struct Examined {
    layer: usize,
    identity: Identity,
    fact: Option<ExecFact>,
}

/// One job for each inode of each layer that is not empty and not known, large ones first so that the threads end together.
fn jobs<'a>(layers: &'a [Layer], entries: &'a [Entry], known: &Known) -> Vec<Job<'a>> {
    let mut by_inode = HashMap::new();
    for entry in entries {
        let (Kind::File(fact, stamp), Some(layer)) = (&entry.kind, layers.get(entry.layer)) else { continue };
        let identity = identity(fact, *stamp);
        if fact.size > 0 && known.get(entry.layer, identity).is_none() {
            let job = || Job { path: &entry.path, layer, index: entry.layer, identity, inode: fact.inode };
            by_inode.entry((entry.layer, fact.inode)).or_insert_with(job);
        }
    }
    let mut jobs: Vec<_> = by_inode.into_values().collect();
    jobs.sort_by(|left, right| right.identity.size.cmp(&left.identity.size).then_with(|| left.path.cmp(right.path)));
    jobs
}

/// What the threads share.
struct Work<'a> {
    jobs: &'a [Job<'a>],
    options: &'a Options<'a>,
    next: AtomicUsize,
    stop: AtomicBool,
    files: AtomicU64,
    bytes: AtomicU64,
    results: Mutex<Vec<Result<Examined, RootfsError>>>,
}

impl<'a> Work<'a> {
    fn new(jobs: &'a [Job<'a>], options: &'a Options<'a>) -> Self {
        Self {
            jobs,
            options,
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            results: Mutex::new(Vec::new()),
        }
    }

    /// Takes jobs until there are none, or one failed in any thread.
    fn run(&self) {
        let mut buffer = vec![0; BUFFER];
        while !self.stop.load(Ordering::Relaxed) {
            let Some(job) = self.jobs.get(self.next.fetch_add(1, Ordering::Relaxed)) else { break };
            let result = job.examine(&mut buffer, self.options.max_file_bytes);
            if let Ok(Some(_)) = &result {
                self.bytes.fetch_add(job.identity.size, Ordering::Relaxed);
            }
            self.stop.fetch_or(result.is_err(), Ordering::Relaxed);
            let examined = |fact| Examined { layer: job.index, identity: job.identity, fact };
            self.results.lock().unwrap_or_else(PoisonError::into_inner).push(result.map(examined));
            self.report();
        }
    }

    fn report(&self) {
        let files = self.files.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(progress) = self.options.progress {
            let total_files = u64::try_from(self.jobs.len()).unwrap_or(u64::MAX);
            progress(Progress { files, total_files, bytes: self.bytes.load(Ordering::Relaxed) });
        }
    }

    fn finish(self) -> Result<Vec<Examined>, RootfsError> {
        self.results.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().collect()
    }
}

impl Job<'_> {
    /// Decides by the first bytes; reads on only if the file can run.
    fn examine(&self, buffer: &mut [u8], max_bytes: u64) -> Result<Option<ExecFact>, RootfsError> {
        let descriptor = self.layer.open_file(self.path)?;
        let before = fstat(&descriptor).map_err(|source| self.io("examine", source))?;
        if !self.is_same(&before)? {
            return Err(self.changed());
        }
        self.layer.overlay_marks(self.path, &descriptor)?;
        let mut file = File::from(descriptor);
        let mut head = [0; HEAD];
        let length = self.read(&mut file, &mut head)?;
        let Some(kind) = ExecKind::of(head.get(..length).unwrap_or_default(), self.identity.mode) else {
            return Ok(None);
        };
        if self.identity.size > max_bytes {
            let path = self.layer.locate(self.path);
            return Err(RootfsError::FileTooLarge { path, size: self.identity.size, limit: max_bytes });
        }
        file.seek(SeekFrom::Start(0)).map_err(|error| self.io("read", errno(&error)))?;
        let fact = self.hash(&mut file, kind, buffer)?;
        let after = fstat(&file).map_err(|source| self.io("examine", source))?;
        let untouched = self.is_same(&after)?;
        if untouched { Ok(Some(fact)) } else { Err(self.changed()) }
    }

    fn hash(&self, file: &mut File, kind: ExecKind, buffer: &mut [u8]) -> Result<ExecFact, RootfsError> {
        let (mut sha256, mut sha1, mut md5) = (sha2::Sha256::new(), sha1::Sha1::new(), md5::Md5::new());
        let mut left = self.identity.size;
        loop {
            let length = self.read(file, buffer)?;
            let read = buffer.get(..length).unwrap_or_default();
            if read.is_empty() {
                break;
            }
            // Also ends the reading of a file that grows for ever.
            left = left.checked_sub(read.len() as u64).ok_or_else(|| self.changed())?;
            sha256.update(read);
            sha1.update(read);
            md5.update(read);
        }
        if left > 0 {
            return Err(self.changed());
        }
        Ok(ExecFact {
            kind,
            sha256: Sha256(sha256.finalize().into()),
            sha1: sha1.finalize().into(),
            md5: md5.finalize().into(),
        })
    }

    /// Fills `buffer` unless the file ends.
    fn read(&self, file: &mut File, buffer: &mut [u8]) -> Result<usize, RootfsError> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read(rest) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.io("read", errno(&error))),
            }
        }
        Ok(filled)
    }

    /// Whether the open file is the one the directory showed.
    fn is_same(&self, stat: &Stat) -> Result<bool, RootfsError> {
        Ok(FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && stat.st_mode & 0o7777 == self.identity.mode
            && u64::try_from(stat.st_size) == Ok(self.identity.size)
            && stamp(stat) == self.identity.stamp
            && self.layer.inode_key(self.path, stat)? == self.inode)
    }

    fn io(&self, action: &'static str, source: Errno) -> RootfsError {
        RootfsError::Io { action, path: self.layer.locate(self.path), source }
    }

    fn changed(&self) -> RootfsError {
        RootfsError::Changed { path: self.layer.locate(self.path) }
    }
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
