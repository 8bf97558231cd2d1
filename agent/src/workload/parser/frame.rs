//! What parent and child say to each other over a socket pair. The parent believes nothing of what it is sent.

use std::{
    fs::File,
    io::{self, IoSlice, IoSliceMut, Read as _, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

use super::Request;

const MAX_PATH: u64 = 4096;
const MAX_WORDS: u64 = 4096;
/// Bytes of the evidence for one image.
const MAX_EVIDENCE: u64 = 512 << 20;
const MAX_PROBLEMS: u64 = 1 << 20;
const MAX_REQUEST: u64 = 1 << 20;

const OPEN: u8 = b'O';
const REFUSED: u8 = b'R';
const DONE: u8 = b'D';

const NONE: u8 = b'n';
const FILE: u8 = b'f';
const FAILED: u8 = b'x';

/// Why the other end was not understood.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("it ended")]
    Ended,
    #[error("it took too long")]
    TimedOut,
    #[error("{0} bytes where at most {1} may be")]
    TooLong(u64, u64),
    #[error("an unknown message")]
    Unknown,
    #[error("text that is not UTF-8, or no JSON")]
    Text,
    #[error(transparent)]
    Io(io::Error),
}

/// What the child says.
pub(super) enum Message {
    Open(Vec<u8>),
    Refused(String),
    Done { evidence: String, problems: Vec<String> },
}

/// What the parent answers to [`Message::Open`].
pub(super) enum Answer {
    None,
    File(File),
    Failed,
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Self::Ended,
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Io(error),
        }
    }
}

/// The parent's end.
pub(super) struct Parent(UnixStream);

impl Parent {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self(socket)
    }

    pub(super) fn send_request(&mut self, request: &Request, deadline: Instant) -> Result<(), FrameError> {
        let text = serde_json::to_vec(request).map_err(|_impossible| FrameError::Text)?;
        self.send(&(text.len() as u64).to_le_bytes(), deadline)?;
        self.send(&text, deadline)
    }

    /// In pieces, so that the deadline holds for a child that reads slowly.
    pub(super) fn send(&mut self, bytes: &[u8], deadline: Instant) -> Result<(), FrameError> {
        for piece in bytes.chunks(1 << 20) {
            self.0.set_write_timeout(Some(left(deadline)?))?;
            self.0.write_all(piece)?;
        }
        Ok(())
    }

    pub(super) fn receive(&mut self, deadline: Instant) -> Result<Message, FrameError> {
        let [kind] = self.array(deadline)?;
        match kind {
            OPEN => Ok(Message::Open(self.bytes(MAX_PATH, deadline)?)),
            REFUSED => Ok(Message::Refused(printable(&self.bytes(MAX_WORDS, deadline)?))),
            DONE => {
                let evidence = String::from_utf8(self.bytes(MAX_EVIDENCE, deadline)?);
                let problems = serde_json::from_slice::<Vec<String>>(&self.bytes(MAX_PROBLEMS, deadline)?);
                match (evidence, problems) {
                    (Ok(evidence), Ok(problems)) => {
                        let problems = problems.iter().map(|problem| printable(problem.as_bytes())).collect();
                        Ok(Message::Done { evidence, problems })
                    }
                    _ => Err(FrameError::Text),
                }
            }
            _ => Err(FrameError::Unknown),
        }
    }

    pub(super) fn answer(&mut self, answer: Answer, deadline: Instant) -> Result<(), FrameError> {
        let file = match answer {
            Answer::None => return self.send(&[NONE], deadline),
            Answer::Failed => return self.send(&[FAILED], deadline),
            Answer::File(file) => file,
        };
        self.0.set_write_timeout(Some(left(deadline)?))?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [file.as_fd()];
        if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(FrameError::Unknown);
        }
        sendmsg(&self.0, &[IoSlice::new(&[FILE])], &mut ancillary, SendFlags::NOSIGNAL).map_err(io::Error::from)?;
        Ok(())
    }

    fn array<const N: usize>(&mut self, deadline: Instant) -> Result<[u8; N], FrameError> {
        let mut bytes = [0; N];
        self.0.set_read_timeout(Some(left(deadline)?))?;
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn bytes(&mut self, limit: u64, deadline: Instant) -> Result<Vec<u8>, FrameError> {
        let length = u64::from_le_bytes(self.array(deadline)?);
        if length > limit {
            return Err(FrameError::TooLong(length, limit));
        }
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < length {
            self.0.set_read_timeout(Some(left(deadline)?))?;
            let piece = (length - bytes.len() as u64).min(1 << 20);
            if (&self.0).take(piece).read_to_end(&mut bytes)? == 0 {
                return Err(FrameError::Ended);
            }
        }
        Ok(bytes)
    }
}

/// The child's end. Only `read`, `write` and `recvmsg` are used: nothing else is allowed.
pub(super) struct Side(File);

impl Side {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self(socket.into())
    }

    pub(super) fn request(&mut self) -> Result<Request, FrameError> {
        let length = u64::from_le_bytes(self.array()?);
        if length > MAX_REQUEST {
            return Err(FrameError::TooLong(length, MAX_REQUEST));
        }
        match serde_json::from_slice(&self.bytes(length)?) {
            Ok(request) => Ok(request),
            Err(_unreadable) => Err(FrameError::Text),
        }
    }

    pub(super) fn bytes(&mut self, length: u64) -> Result<Vec<u8>, FrameError> {
        let mut bytes = Vec::new();
        (&self.0).take(length).read_to_end(&mut bytes)?;
        if bytes.len() as u64 == length { Ok(bytes) } else { Err(FrameError::Ended) }
    }

    pub(super) fn open(&mut self, path: &[u8]) -> Result<Option<File>, FrameError> {
        self.send(&[OPEN])?;
        self.frame(path)?;
        let (mut kind, mut space) = ([0], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))]);
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut kind)];
        let received =
            recvmsg(&self.0, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC).map_err(io::Error::from)?;
        if received.bytes == 0 {
            return Err(FrameError::Ended);
        }
        let descriptor = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        match (kind, descriptor) {
            ([FILE], Some(descriptor)) => Ok(Some(descriptor.into())),
            ([NONE], None) => Ok(None),
            _ => Err(FrameError::Unknown),
        }
    }

    pub(super) fn refuse(&mut self, why: &str) -> Result<(), FrameError> {
        let words: String = why.chars().take(1000).collect();
        self.send(&[REFUSED])?;
        self.frame(words.as_bytes())
    }

    pub(super) fn done(&mut self, evidence: &[u8], problems: &[String]) -> Result<(), FrameError> {
        let problems = serde_json::to_vec(problems).map_err(|_impossible| FrameError::Text)?;
        self.send(&[DONE])?;
        self.frame(evidence)?;
        self.frame(&problems)
    }

    fn frame(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        self.send(&(bytes.len() as u64).to_le_bytes())?;
        self.send(bytes)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        Ok(self.0.write_all(bytes)?)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn left(deadline: Instant) -> Result<Duration, FrameError> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(FrameError::TimedOut) } else { Ok(left) }
}

fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).take(1000).collect()
}
