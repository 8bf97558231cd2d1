//! ttrpc's messages: ten bytes of header, then a protobuf. A small gRPC for local sockets, of which NRI uses single calls only.

use plimsoll_proto::ttrpc::{Request, Response, Status};
use prost::Message as _;

/// The longest message, as ttrpc itself has it.
pub(super) const MAX_MESSAGE: usize = 4 << 20;
/// Length and stream, each 4 bytes, the most significant first; type and flags, a byte each.
pub(super) const HEADER: usize = 10;

const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;

/// gRPC's numbers, which ttrpc uses.
pub(super) mod code {
    /// What was sent makes no sense.
    pub(in crate::nri) const INVALID_ARGUMENT: i32 = 3;
    /// A limit is reached.
    pub(in crate::nri) const RESOURCE_EXHAUSTED: i32 = 8;
    /// The state of things forbids it.
    pub(in crate::nri) const FAILED_PRECONDITION: i32 = 9;
    /// There is no such call.
    pub(in crate::nri) const UNIMPLEMENTED: i32 = 12;
}

/// What the other end may not send.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MessageError {
    #[error("a message of {0} bytes; ttrpc allows {MAX_MESSAGE}")]
    TooLong(usize),
    #[error("a message is no request and no answer as ttrpc encodes them")]
    Decode(#[from] prost::DecodeError),
}

/// A message that was received.
#[derive(Debug, PartialEq)]
pub(super) enum Message {
    /// A call of the other end's, and its stream.
    Request(u32, Request),
    /// An answer to the call on the same stream.
    Response(u32, Response),
}

/// Puts messages together from the parts of one connection's stream.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    /// At most one message and one frame.
    buffer: Vec<u8>,
}

impl Assembler {
    /// Takes what came next.
    pub(super) fn push(&mut self, part: &[u8]) {
        self.buffer.extend_from_slice(part);
    }

    /// The next whole message, if there is one. Types of messages that later versions may have are passed over.
    pub(super) fn next(&mut self) -> Result<Option<Message>, MessageError> {
        while let Some((header, rest)) = self.buffer.split_first_chunk::<HEADER>() {
            let [l0, l1, l2, l3, s0, s1, s2, s3, kind, _flags] = *header;
            let length = usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
            if length > MAX_MESSAGE {
                return Err(MessageError::TooLong(length));
            }
            let Some(payload) = rest.get(..length) else { return Ok(None) };
            let stream = u32::from_be_bytes([s0, s1, s2, s3]);
            let message = match kind {
                REQUEST => Some(Message::Request(stream, Request::decode(payload)?)),
                RESPONSE => Some(Message::Response(stream, Response::decode(payload)?)),
                _ => None,
            };
            self.buffer.drain(..HEADER + length);
            if message.is_some() {
                return Ok(message);
            }
        }
        Ok(None)
    }
}

/// The bytes of a call.
pub(super) fn request(stream: u32, request: &Request) -> Vec<u8> {
    encode(stream, REQUEST, &request.encode_to_vec())
}

/// The bytes of an answer. One that is too long becomes an error, which is not.
pub(super) fn response(stream: u32, response: &Response) -> Vec<u8> {
    let length = response.encoded_len();
    if length > MAX_MESSAGE {
        let error = failed(code::RESOURCE_EXHAUSTED, format!("an answer of {length} bytes"));
        return encode(stream, RESPONSE, &error.encode_to_vec());
    }
    encode(stream, RESPONSE, &response.encode_to_vec())
}

/// An answer that all went well, with what the call returns.
pub(super) fn succeeded(message: &impl prost::Message) -> Response {
    Response { status: Some(Status::default()), payload: message.encode_to_vec() }
}

/// An answer that it did not.
pub(super) fn failed(code: i32, message: String) -> Response {
    Response { status: Some(Status { code, message }), payload: Vec::new() }
}

fn encode(stream: u32, kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(&[kind, 0]);
    bytes.extend_from_slice(payload);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Request {
        Request { service: "s".into(), method: "m".into(), payload: vec![7; 300], timeout_nano: 5 }
    }

    #[test]
    fn messages_come_back_from_any_parts() {
        let bytes = [request(1, &call()), response(1, &failed(code::UNIMPLEMENTED, "no".into()))].concat();
        for size in [1, 7, 10, 11, bytes.len()] {
            let (mut assembler, mut found) = (Assembler::default(), Vec::new());
            for part in bytes.chunks(size) {
                assembler.push(part);
                while let Some(message) = assembler.next().unwrap() {
                    found.push(message);
                }
            }
            let expected =
                [Message::Request(1, call()), Message::Response(1, failed(code::UNIMPLEMENTED, "no".into()))];
            assert_eq!(found, expected, "in parts of {size}");
        }
    }

    #[test]
    fn unknown_types_are_passed_over() {
        let mut assembler = Assembler::default();
        assembler.push(&encode(3, 9, b"later versions"));
        assembler.push(&request(5, &call()));
        assert_eq!(assembler.next().unwrap(), Some(Message::Request(5, call())));
    }

    #[test]
    fn hostile_messages_are_errors() {
        let mut assembler = Assembler::default();
        assembler.push(&[0xff; HEADER]);
        assert_eq!(assembler.next(), Err(MessageError::TooLong(0xffff_ffff)));
        let mut assembler = Assembler::default();
        assembler.push(&encode(1, REQUEST, &[0xff; 20]));
        assert!(matches!(assembler.next(), Err(MessageError::Decode(_))));
    }

    #[test]
    fn an_answer_that_is_too_long_becomes_an_error() {
        let bytes = response(1, &Response { status: None, payload: vec![0; MAX_MESSAGE] });
        let mut assembler = Assembler::default();
        assembler.push(&bytes);
        let Some(Message::Response(1, answer)) = assembler.next().unwrap() else { panic!("no answer") };
        assert_eq!(answer.status.unwrap().code, code::RESOURCE_EXHAUSTED);
    }
}
