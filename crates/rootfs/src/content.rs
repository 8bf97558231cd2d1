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
use plimsoll_sbom::{ExecFact, ExecKind, InodeKey, Sha256};
use rustix::{
    fs::{FileType, Stat, fstat},
    io::Errno,
};

use crate::{
    Options, Progress,
    error::RootfsError,
    layer::Layer,
    merge::{Entry, Kind},
};

const BUFFER: usize = 256 << 10;
/// Bytes that decide what a file is.
const HEAD: usize = 4;

/// A content to look into, under the first of its names.
struct Job<'a> {
    path: &'a [u8],
    layer: &'a Layer,
    size: u64,
    mode: u32,
    inode: InodeKey,
}

/// Fills in `exec` of every file. Returns the number of bytes hashed.
pub(crate) fn examine(layers: &[Layer], entries: &mut [Entry], options: &Options<'_>) -> Result<u64, RootfsError> {
    let jobs = jobs(layers, entries);
    let work = Work::new(&jobs, options);
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(jobs.len().max(1));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work.run());
        }
    });
    let hashed = work.bytes.load(Ordering::Relaxed);
    let facts = work.finish()?;
    for entry in entries {
        if let Kind::File(fact) = &mut entry.kind {
            fact.exec = facts.get(&fact.inode).cloned();
        }
    }
    Ok(hashed)
}

/// One job for each inode that is not empty, large ones first so that the threads end together.
fn jobs<'a>(layers: &'a [Layer], entries: &'a [Entry]) -> Vec<Job<'a>> {
    let mut by_inode = HashMap::new();
    for entry in entries {
        let (Kind::File(fact), Some(layer)) = (&entry.kind, layers.get(entry.layer)) else { continue };
        if fact.size > 0 {
            let job = || Job { path: &entry.path, layer, size: fact.size, mode: fact.mode, inode: fact.inode };
            by_inode.entry(fact.inode).or_insert_with(job);
        }
    }
    let mut jobs: Vec<_> = by_inode.into_values().collect();
    jobs.sort_by(|left, right| right.size.cmp(&left.size).then_with(|| left.path.cmp(right.path)));
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
    results: Mutex<Vec<Result<(InodeKey, ExecFact), RootfsError>>>,
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
                self.bytes.fetch_add(job.size, Ordering::Relaxed);
            }
            self.stop.fetch_or(result.is_err(), Ordering::Relaxed);
            if let Some(result) = result.map(|fact| fact.map(|fact| (job.inode, fact))).transpose() {
                self.results.lock().unwrap_or_else(PoisonError::into_inner).push(result);
            }
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

    fn finish(self) -> Result<HashMap<InodeKey, ExecFact>, RootfsError> {
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
        let Some(kind) = ExecKind::of(head.get(..length).unwrap_or_default(), self.mode) else { return Ok(None) };
        if self.size > max_bytes {
            let path = self.layer.locate(self.path);
            return Err(RootfsError::FileTooLarge { path, size: self.size, limit: max_bytes });
        }
        file.seek(SeekFrom::Start(0)).map_err(|error| self.io("read", errno(&error)))?;
        let fact = self.hash(&mut file, kind, buffer)?;
        let after = fstat(&file).map_err(|source| self.io("examine", source))?;
        let untouched = self.is_same(&after)? && times(&before) == times(&after);
        if untouched { Ok(Some(fact)) } else { Err(self.changed()) }
    }

    fn hash(&self, file: &mut File, kind: ExecKind, buffer: &mut [u8]) -> Result<ExecFact, RootfsError> {
        let (mut sha256, mut sha1, mut md5) = (sha2::Sha256::new(), sha1::Sha1::new(), md5::Md5::new());
        let mut left = self.size;
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
            && stat.st_mode & 0o7777 == self.mode
            && u64::try_from(stat.st_size) == Ok(self.size)
            && self.layer.inode_key(self.path, stat)? == self.inode)
    }

    fn io(&self, action: &'static str, source: Errno) -> RootfsError {
        RootfsError::Io { action, path: self.layer.locate(self.path), source }
    }

    fn changed(&self) -> RootfsError {
        RootfsError::Changed { path: self.layer.locate(self.path) }
    }
}

fn times(stat: &Stat) -> [i64; 4] {
    [stat.st_mtime, stat.st_mtime_nsec.cast_signed(), stat.st_ctime, stat.st_ctime_nsec.cast_signed()]
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
