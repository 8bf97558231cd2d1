//! Has SBOMs and package databases parsed by a child process that can do nothing else: no file to open, no socket, no
//! other program, bounded memory and time. It is sent the image's tree and the documents, and asks for the files it wants
//! to look into; it is given those of the image, open for reading, and no others. What comes back is evidence by path
//! and digest, which is then bound to the inodes that this process hashed itself.

pub mod child;
mod confine;
mod frame;

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use plimsoll_rootfs::{Files, Tree, wire};
use plimsoll_trust::{Allowlist, AllowlistError};
use serde::{Deserialize, Serialize};

pub use confine::{ConfineError, Limits};
use frame::{Answer, FrameError, Message, Parent};

/// What the program that is started is told to be.
pub const ARGUMENT: &str = "sbom-parser";
/// Files the child may ask for. An image has one for each ELF file without an owner, and some thousands of records.
const MAX_REQUESTS: usize = 1_000_000;

/// Why a document gave no evidence.
#[derive(Debug, thiserror::Error)]
pub enum ParserError {
    #[error("the SBOM parser cannot be started")]
    Start(#[source] io::Error),
    #[error("the SBOM was refused: {0}")]
    Refused(String),
    #[error("the SBOM parser did not finish within {0} s (`parser.timeoutSeconds`)")]
    Slow(u64),
    #[error(
        "the SBOM parser ended without an answer ({0}); if the document is right, it may need more than \
         `parser.memoryBytes`"
    )]
    Ended(String),
    #[error("the SBOM parser gave an answer that makes no sense")]
    Answer(#[from] FrameError),
    #[error("the SBOM parser gave evidence that makes no sense")]
    Evidence(#[from] AllowlistError),
    #[error("cannot read the image's layers")]
    Rootfs(#[from] plimsoll_rootfs::RootfsError),
}

/// What the child is asked to do, before the documents and the tree that follow.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    limits: Limits,
    /// Bytes of each document.
    documents: Vec<u64>,
    /// Bytes of the tree.
    tree: u64,
}

/// Evidence, and what is worth telling a person.
#[derive(Debug)]
pub struct Parsed {
    /// The evidence, bound to nothing yet.
    pub evidence: Allowlist,
    /// Documents and databases that were passed over, and why.
    pub problems: Vec<String>,
}

/// Starts parsers.
#[derive(Clone, Debug)]
pub struct Parser {
    program: PathBuf,
    limits: Limits,
}

impl Parser {
    /// `program` is this agent's own, as the caller finds it.
    pub fn new(program: PathBuf, limits: Limits) -> Self {
        Self { program, limits }
    }

    /// Parses the documents of one image. Of several, those that are no SBOM are passed over; a single one must be right.
    pub fn parse(&self, documents: &[Vec<u8>], tree: &Tree) -> Result<Parsed, ParserError> {
        let deadline = Instant::now() + Duration::from_secs(self.limits.seconds);
        let (mut parent, child) = self.start()?;
        let mut child = Killed(child);
        let outcome = self.converse(&mut parent, documents, tree, deadline);
        drop(parent);
        match outcome {
            Err(ParserError::Answer(FrameError::Ended)) => {
                let status = child.0.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
                Err(ParserError::Ended(status))
            }
            Err(ParserError::Answer(FrameError::TimedOut)) => Err(ParserError::Slow(self.limits.seconds)),
            other => other,
        }
    }

    fn start(&self) -> Result<(Parent, Child), ParserError> {
        let (ours, theirs) = UnixStream::pair().map_err(ParserError::Start)?;
        let child = Command::new(&self.program)
            .arg(ARGUMENT)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(ParserError::Start)?;
        Ok((Parent::new(ours), child))
    }

    fn converse(
        &self,
        parent: &mut Parent,
        documents: &[Vec<u8>],
        tree: &Tree,
        deadline: Instant,
    ) -> Result<Parsed, ParserError> {
        let encoded = wire::encode(&tree.listing);
        let request = Request {
            limits: self.limits,
            documents: documents.iter().map(|document| document.len() as u64).collect(),
            tree: encoded.len() as u64,
        };
        parent.send_request(&request, deadline)?;
        for bytes in documents.iter().chain([&encoded]) {
            parent.send(bytes, deadline)?;
        }
        let mut files = tree.files();
        for _ in 0..MAX_REQUESTS {
            match parent.receive(deadline)? {
                Message::Open(path) => match files.open(&path) {
                    Ok(file) => parent.answer(file.map_or(Answer::None, Answer::File), deadline)?,
                    Err(error) => {
                        parent.answer(Answer::Failed, deadline)?;
                        return Err(error.into());
                    }
                },
                Message::Refused(why) => return Err(ParserError::Refused(why)),
                Message::Done { evidence, problems } => {
                    return Ok(Parsed { evidence: Allowlist::read(&evidence)?, problems });
                }
            }
        }
        Err(ParserError::Refused(format!("it leads to more than {MAX_REQUESTS} files")))
    }
}

/// Leaves no child behind, whatever happened.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        for error in [self.0.kill().err(), self.0.wait().err()].into_iter().flatten() {
            tracing::error!(%error, "the SBOM parser cannot be ended");
        }
    }
}
