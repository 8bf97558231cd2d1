//! NRI's two connections over one socket: in frames of a connection's number, a length, and that many bytes.
//!
//! Written here, as ttrpc's messages are in [`super::ttrpc`], because the `ttrpc` crate knows no multiplexer and brings a second
//! protobuf implementation with its own generated types; both framings together are shorter than what would join the two.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::ttrpc::MAX_MESSAGE;

/// Over which the runtime calls the plugin.
pub(super) const PLUGIN: u32 = 1;
/// Over which the plugin calls the runtime.
pub(super) const RUNTIME: u32 = 2;

/// Number and length, each 4 bytes, the most significant first.
const HEADER: usize = 8;
/// A frame holds a message at most, with its header.
const MAX_FRAME: usize = MAX_MESSAGE + super::ttrpc::HEADER;
/// The runtime's end reads a frame at once, into a buffer of this size.
const CHUNK: usize = 4096;

/// Bytes of one connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// [`PLUGIN`], [`RUNTIME`], or a number that nobody uses.
    pub(super) connection: u32,
    /// A part of the connection's stream.
    pub(super) payload: Vec<u8>,
}

/// The next frame; `None` if the other end has closed the socket between two of them.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
    let first = match stream.read_u8().await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        first => first?,
    };
    let mut rest = [0; 3];
    stream.read_exact(&mut rest).await?;
    let [second, third, fourth] = rest;
    let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
    if length > MAX_FRAME {
        let message = format!("a frame of {length} bytes; NRI allows {MAX_FRAME}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    // Not reserved at once: memory grows with what really comes.
    let mut payload = Vec::new();
    stream.take(length as u64).read_to_end(&mut payload).await?;
    if payload.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(Frame { connection: u32::from_be_bytes([first, second, third, fourth]), payload }))
}

/// The frames that carry `message`, which is at most [`MAX_FRAME`] long.
pub(super) fn frames(connection: u32, message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(message.len() + HEADER * (message.len() / CHUNK + 1));
    for chunk in message.chunks(CHUNK) {
        let length = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&connection.to_be_bytes());
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(chunk);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(mut bytes: &[u8]) -> io::Result<Vec<Frame>> {
        let mut all = Vec::new();
        while let Some(frame) = read(&mut bytes).await? {
            all.push(frame);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn long_messages_are_cut_and_come_back_whole() {
        let message: Vec<u8> = (0..10_000_u32).map(|number| (number % 251) as u8).collect();
        let frames = read_all(&frames(PLUGIN, &message)).await.unwrap();
        assert_eq!(frames.iter().map(|frame| frame.payload.len()).collect::<Vec<_>>(), [4096, 4096, 1808]);
        assert!(frames.iter().all(|frame| frame.connection == PLUGIN));
        assert_eq!(frames.into_iter().flat_map(|frame| frame.payload).collect::<Vec<_>>(), message);
    }

    #[tokio::test]
    async fn a_frame_that_says_too_much_or_ends_too_early_is_an_error() {
        let length = u32::try_from(MAX_FRAME + 1).unwrap().to_be_bytes();
        let error = read_all(&[&[0, 0, 0, 1], &length[..]].concat()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        for cut in [3, 7, 11] {
            let bytes = frames(RUNTIME, b"four");
            let error = read_all(&bytes[..cut]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "cut at {cut}: {error}");
        }
    }
}
