//! Reading events, on all processors, into counts of what policies can tell apart.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Read},
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, sync_channel},
    },
    thread,
};

use plimsoll_policy::Origin;
use serde_json::value::RawValue;

use super::line::{Line, Workload};

/// Bytes handed to a thread at once.
const BLOCK: usize = 1 << 20;
/// Bytes of the longest line; an event has at most a few kilobytes.
const MAX_LINE: usize = 16 << 20;
/// Different events that each thread remembers, and counts of workloads for them; those beyond are counted as not decided.
const MAX_KINDS: usize = 500_000;
const MAX_COUNTS: usize = 4_000_000;

/// What was read.
#[derive(Default)]
pub(super) struct Stored {
    /// By what tells them apart.
    pub(super) kinds: HashMap<Vec<u8>, Kind>,
    /// Those that events name.
    pub(super) workloads: Vec<Workload>,
    counts: usize,
    /// Lines that are no event.
    pub(super) unreadable: u64,
    /// The first of them, with what is wrong.
    pub(super) first_unreadable: Option<String>,
    /// Events beyond [`MAX_KINDS`] and [`MAX_COUNTS`].
    pub(super) beyond: u64,
}

/// Events that no policy can tell apart, shown by the one whose path sorts first: threads see them in no order.
pub(super) struct Kind {
    /// By the workload's index in [`Stored::workloads`].
    pub(super) counts: HashMap<usize, u64>,
    pub(super) hook: String,
    pub(super) verdict: String,
    pub(super) reason: String,
    pub(super) path: String,
    pub(super) name_only: bool,
    pub(super) origin: Origin,
    pub(super) sha256: String,
    pub(super) package: String,
    pub(super) version: String,
    pub(super) evidence: String,
    pub(super) digest: String,
    pub(super) reference: String,
    /// The namespace and labels of all its workloads.
    pub(super) place: Place,
    pub(super) network: Option<(String, u16, String)>,
    pub(super) operation: String,
    pub(super) comm: String,
}

/// Reads to the end.
pub(super) fn read(mut input: impl Read) -> io::Result<Stored> {
    let workers = thread::available_parallelism().map_or(2, usize::from);
    let (sender, receiver) = sync_channel::<Vec<u8>>(workers.saturating_mul(2));
    let receiver = Mutex::new(receiver);
    let known = Mutex::new(Workloads::default());
    thread::scope(|scope| {
        let running: Vec<_> = (0..workers).map(|_| scope.spawn(|| count(&receiver, &known))).collect();
        let mut rest = Vec::new();
        let outcome = loop {
            match block(&mut input, &mut rest) {
                Ok(Some(block)) => {
                    if sender.send(block).is_err() {
                        break Err(io::Error::other("the threads that read events have ended"));
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        drop(sender);
        let mut all = Stored::default();
        for worker in running {
            let found = worker.join().map_err(|_panic| io::Error::other("a thread that reads events has failed"))?;
            all.add(found);
        }
        outcome.map(|()| all)
    })
    .and_then(|mut all| {
        let known =
            known.into_inner().map_err(|_poisoned| io::Error::other("a thread that reads events has failed"))?;
        all.workloads = known.all;
        Ok(all)
    })
}

/// The next lines, whole; `rest` keeps the beginning of the line after them.
fn block(input: &mut impl Read, rest: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let mut block = std::mem::take(rest);
    loop {
        let before = block.len();
        input.by_ref().take(BLOCK as u64).read_to_end(&mut block)?;
        if block.len() == before {
            return Ok(Some(block).filter(|block| !block.is_empty()));
        }
        let end = block.get(before..).and_then(|new| new.iter().rposition(|byte| *byte == b'\n'));
        if let Some(end) = end {
            *rest = block.split_off(before.saturating_add(end).saturating_add(1));
            return Ok(Some(block));
        }
        if block.len() > MAX_LINE {
            return Err(io::Error::other(format!("a line is longer than the limit of {MAX_LINE} bytes")));
        }
    }
}

fn count(blocks: &Mutex<Receiver<Vec<u8>>>, known: &Mutex<Workloads>) -> Stored {
    let mut stored = Stored::default();
    let mut seen = Seen { known, by_text: HashMap::new() };
    let mut key = Vec::new();
    loop {
        let next = blocks.lock().map(|blocks| blocks.recv());
        let Ok(Ok(block)) = next else { return stored };
        for line in block.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            stored.take(line, &mut seen, &mut key);
        }
    }
}

impl Stored {
    fn take(&mut self, line: &[u8], seen: &mut Seen<'_>, key: &mut Vec<u8>) {
        let event: Line<'_> = match serde_json::from_slice(line) {
            Ok(event) => event,
            Err(error) => return self.refuse(line, &error),
        };
        let origin = event.file.as_ref().map(|file| &*file.origin).unwrap_or_default();
        let origin =
            Origin::NAMED.into_iter().find(|(name, _)| *name == origin).map_or(Origin::Unspecified, |named| named.1);
        let (workload, place) = match seen.workload(event.workload) {
            Ok(known) => known,
            Err(error) => return self.refuse(line, &error),
        };
        key_of(&event, origin, place, key);
        let room = self.counts < MAX_COUNTS;
        if let Some(kind) = self.kinds.get_mut(key.as_slice()) {
            if let Some(file) = event.file.as_ref().filter(|file| *file.path < *kind.path) {
                kind.show(&file.path, &file.sha256);
            }
            match kind.counts.get_mut(&workload) {
                Some(count) => *count = count.saturating_add(1),
                None if room => {
                    kind.counts.insert(workload, 1);
                    self.counts = self.counts.saturating_add(1);
                }
                None => self.beyond = self.beyond.saturating_add(1),
            }
        } else if room && self.kinds.len() < MAX_KINDS {
            let mut kind = Kind::of(&event, origin, seen.place(workload));
            kind.counts.insert(workload, 1);
            self.kinds.insert(key.clone(), kind);
            self.counts = self.counts.saturating_add(1);
        } else {
            self.beyond = self.beyond.saturating_add(1);
        }
    }

    fn refuse(&mut self, line: &[u8], error: &serde_json::Error) {
        self.unreadable = self.unreadable.saturating_add(1);
        let shown: String = String::from_utf8_lossy(line).chars().take(100).collect();
        self.first_unreadable.get_or_insert_with(|| format!("{error}: {shown}"));
    }

    fn add(&mut self, other: Self) {
        for (key, kind) in other.kinds {
            match self.kinds.get_mut(&key) {
                None => {
                    self.kinds.insert(key, kind);
                }
                Some(known) => {
                    if kind.path < known.path {
                        known.show(&kind.path, &kind.sha256);
                    }
                    for (workload, count) in kind.counts {
                        let sum = known.counts.entry(workload).or_default();
                        *sum = sum.saturating_add(count);
                    }
                }
            }
        }
        self.unreadable = self.unreadable.saturating_add(other.unreadable);
        self.beyond = self.beyond.saturating_add(other.beyond);
        self.first_unreadable = self.first_unreadable.take().or(other.first_unreadable);
    }
}

/// What policies can tell apart. Each text is preceded by its length, so that none can pass for two.
fn key_of(event: &Line<'_>, origin: Origin, place: usize, key: &mut Vec<u8>) {
    key.clear();
    let file = event.file.as_ref();
    let is_code = matches!(&*event.hook, "exec" | "map" | "protect");
    // The name of a file that is not the image's makes no difference to running it.
    let path =
        if is_code && matches!(origin, Origin::CopiedUp | Origin::Dropped | Origin::Foreign) { None } else { file };
    let network = event.network.as_ref();
    let comm = event.process.as_ref().filter(|_| event.hook == "script");
    let image = event.image.as_ref();
    for text in [
        &*event.hook,
        &*event.verdict,
        &*event.reason,
        path.map(|file| &*file.path).unwrap_or_default(),
        file.map(|file| &*file.origin).unwrap_or_default(),
        if file.is_some_and(|file| file.path_is_name_only) { "name" } else { "" },
        &*event.evidence,
        event.package.as_ref().map(|package| &*package.name).unwrap_or_default(),
        image.map(|image| &*image.digest).unwrap_or_default(),
        image.map(|image| &*image.reference).unwrap_or_default(),
        network.map(|network| &*network.address).unwrap_or_default(),
        network.map(|network| &*network.protocol).unwrap_or_default(),
        &*event.operation,
        comm.map(|process| &*process.comm).unwrap_or_default(),
    ] {
        key.extend_from_slice(&text.len().to_le_bytes());
        key.extend_from_slice(text.as_bytes());
    }
    key.extend_from_slice(&network.map_or(0, |network| network.port).to_le_bytes());
    key.extend_from_slice(&place.to_le_bytes());
}

/// Every workload that events name.
#[derive(Default)]
struct Workloads {
    all: Vec<Workload>,
    by_text: HashMap<String, usize>,
    /// By namespace and labels: nothing else of a workload makes a difference to policies.
    places: HashMap<Place, usize>,
}

/// What a thread knows of them.
struct Seen<'k> {
    known: &'k Mutex<Workloads>,
    by_text: HashMap<String, (usize, usize)>,
}

/// Namespace and labels.
pub(super) type Place = (String, BTreeMap<String, String>);

impl Seen<'_> {
    /// The workload's number, and its place's.
    fn workload(&mut self, text: Option<&RawValue>) -> serde_json::Result<(usize, usize)> {
        let text = text.map_or("{}", RawValue::get);
        if let Some(known) = self.by_text.get(text) {
            return Ok(*known);
        }
        let workload: Workload = serde_json::from_str(text)?;
        // A thread that failed here is told of when it is joined.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let next = known.places.len();
        let place = *known.places.entry((workload.namespace.clone(), workload.labels.clone())).or_insert(next);
        let number = if let Some(number) = known.by_text.get(text) {
            *number
        } else {
            let number = known.all.len();
            known.all.push(workload);
            known.by_text.insert(text.to_owned(), number);
            number
        };
        self.by_text.insert(text.to_owned(), (number, place));
        Ok((number, place))
    }

    fn place(&self, workload: usize) -> Place {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let workload = known.all.get(workload);
        workload.map(|workload| (workload.namespace.clone(), workload.labels.clone())).unwrap_or_default()
    }
}

impl Kind {
    fn show(&mut self, path: &str, sha256: &str) {
        path.clone_into(&mut self.path);
        sha256.clone_into(&mut self.sha256);
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.counts.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    fn of(event: &Line<'_>, origin: Origin, place: Place) -> Self {
        let file = event.file.as_ref();
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let network = event.network.as_ref();
        Self {
            counts: HashMap::new(),
            hook: event.hook.to_string(),
            verdict: event.verdict.to_string(),
            reason: event.reason.to_string(),
            path: text(file.map(|file| &*file.path)),
            name_only: file.is_some_and(|file| file.path_is_name_only),
            origin,
            sha256: text(file.map(|file| &*file.sha256)),
            package: text(event.package.as_ref().map(|package| &*package.name)),
            version: text(event.package.as_ref().map(|package| &*package.version)),
            evidence: event.evidence.to_string(),
            digest: text(event.image.as_ref().map(|image| &*image.digest)),
            reference: text(event.image.as_ref().map(|image| &*image.reference)),
            place,
            network: network.map(|it| (it.address.to_string(), it.port, it.protocol.to_string())),
            operation: event.operation.to_string(),
            comm: text(event.process.as_ref().map(|process| &*process.comm)),
        }
    }
}
