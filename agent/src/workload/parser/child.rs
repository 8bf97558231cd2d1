//! The child: confines itself before it reads a byte, and answers once.

use std::{
    fs::File,
    io,
    net::{TcpListener, UdpSocket},
    os::{fd::AsFd as _, unix::net::UnixDatagram},
    process::Command,
    thread,
};

use plimsoll_rootfs::{Files, Options, RootfsError, databases, wire};
use plimsoll_sbom::{Sbom, Sha256};
use plimsoll_trust::Allowlist;
use rustix::{io::Errno, process::Pid};

use super::{
    Limits,
    confine::{confine, limit},
    frame::Side,
};

/// Problems that are told; the rest is counted.
const MAX_PROBLEMS: usize = 200;

/// Is the parser, on the socket that is standard input. `limits` come from the parent.
pub fn run() -> anyhow::Result<()> {
    confine()?;
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let mut side = Side::new(socket);
    let request = side.request()?;
    limit(request.limits)?;
    let mut documents = Vec::new();
    for length in &request.documents {
        documents.push(side.bytes(*length)?);
    }
    let tree = side.bytes(request.tree)?;
    match evidence(&documents, &tree, &mut side) {
        Ok((evidence, problems)) => side.done(&evidence, &problems)?,
        Err(why) => side.refuse(&why)?,
    }
    Ok(())
}

fn evidence(documents: &[Vec<u8>], tree: &[u8], side: &mut Side) -> Result<(Vec<u8>, Vec<String>), String> {
    let listing = wire::decode(tree).ok_or("the image's tree did not arrive")?;
    let mut problems = Vec::new();
    let sbom = one(documents, &mut problems)?;
    let (mut found, options) = (Vec::new(), Options::default());
    let databases = databases(&mut Asked(side), &listing, &options, &mut found).map_err(|error| chain(&error))?;
    problems.extend(found.iter().map(ToString::to_string));
    let inventory = plimsoll_sbom::inventory(&listing, &sbom, &databases);
    let evidence = Allowlist::of(&inventory, 0, None).encode().map_err(|error| chain(&error))?;
    let more = problems.len().saturating_sub(MAX_PROBLEMS);
    problems.truncate(MAX_PROBLEMS);
    if more > 0 {
        problems.push(format!("{more} more problems"));
    }
    Ok((evidence, problems))
}

/// One SBOM of all the documents: an image may have one for each of its packages.
fn one(documents: &[Vec<u8>], problems: &mut Vec<String>) -> Result<Sbom, String> {
    let limits = plimsoll_sbom::Limits::default();
    let mut all: Option<Sbom> = None;
    for (index, document) in documents.iter().enumerate() {
        match plimsoll_sbom::parse(document, &limits) {
            Ok(sbom) => all = Some(all.map_or_else(|| sbom.clone(), |first| joined(first, &sbom))),
            Err(error) if documents.len() == 1 => return Err(chain(&error)),
            Err(error) => problems.push(format!("SBOM {} of {}: {}", index + 1, documents.len(), chain(&error))),
        }
    }
    all.ok_or_else(|| format!("none of {} documents is an SBOM", documents.len()))
}

/// `first` with what `next` says besides; its digest is that of both digests.
fn joined(mut first: Sbom, next: &Sbom) -> Sbom {
    let offset = first.packages.len();
    first.packages.extend(next.packages.iter().cloned());
    first.files.extend(next.files.iter().cloned().map(|mut file| {
        file.package = file.package.map(|package| package + offset);
        file
    }));
    first.rejected.count += next.rejected.count;
    first.digest = Sha256::of(&[first.digest.0, next.digest.0].concat());
    first
}

/// Files of the image, as the parent opens them.
struct Asked<'s>(&'s mut Side);

impl Files for Asked<'_> {
    fn open(&mut self, path: &[u8]) -> Result<Option<File>, RootfsError> {
        self.0.open(path).map_err(|_ended| RootfsError::Io {
            action: "ask for",
            path: self.locate(path),
            source: Errno::PIPE,
        })
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Tries what a parser must not be able to do, before and after it is confined, and says how each attempt ended.
pub fn prove() -> anyhow::Result<Vec<(&'static str, String, String)>> {
    let parent = rustix::process::getppid().unwrap_or(Pid::INIT);
    let before = attempts(parent);
    limit(Limits { memory: 512 << 20, seconds: 20 })?;
    confine()?;
    let after = attempts(parent);
    Ok(before.into_iter().zip(after).map(|((name, before), (_, after))| (name, before, after)).collect())
}

fn attempts(parent: Pid) -> Vec<(&'static str, String)> {
    let word = |outcome: io::Result<()>| match outcome {
        Ok(()) => "done".to_owned(),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => "EPERM".to_owned(),
        Err(error) => error.to_string(),
    };
    vec![
        ("open a file", word(File::open("/etc/passwd").map(drop))),
        ("make a file in memory", word(file_in_memory())),
        ("list a directory", word(std::fs::read_dir("/").map(drop))),
        ("make a TCP socket", word(TcpListener::bind("127.0.0.1:0").map(drop))),
        ("make a UDP socket", word(UdpSocket::bind("127.0.0.1:0").map(drop))),
        ("make a local socket", word(UnixDatagram::unbound().map(drop))),
        ("start a program", word(Command::new("/bin/true").status().map(drop))),
        ("start a thread", word(thread::Builder::new().spawn(|| ()).and_then(joined_thread))),
        ("signal its parent", word(rustix::process::test_kill_process(parent).map_err(io::Error::from))),
        ("take 1 GiB of memory", word(reserve(1 << 30))),
    ]
}

fn file_in_memory() -> io::Result<()> {
    rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::CLOEXEC)?;
    Ok(())
}

fn joined_thread(thread: thread::JoinHandle<()>) -> io::Result<()> {
    thread.join().map_err(|_panicked| io::ErrorKind::Other.into())
}

fn reserve(bytes: usize) -> io::Result<()> {
    let mut memory: Vec<u8> = Vec::new();
    memory.try_reserve_exact(bytes).map_err(|_refused| io::Error::from_raw_os_error(libc::EPERM))
}
