//! A container runtime's end of NRI: accepts plugins as containerd's does, and cuts messages into frames as Go's writer does.

use std::path::Path;

use plimsoll_proto::{
    nri::{Empty, RegisterPluginRequest},
    ttrpc::{Request, Response, Status},
};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
};

/// Go's `bufio` holds this many bytes, and the multiplexer wants a frame to fit into what is read for.
const BUFFER: usize = 4096;
const PLUGIN: u32 = 1;
const RUNTIME: u32 = 2;
const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;

pub(crate) struct Runtime {
    listener: UnixListener,
}

impl Runtime {
    pub(crate) fn bind(socket: &Path) -> Self {
        Self { listener: UnixListener::bind(socket).unwrap() }
    }

    pub(crate) async fn accept(&self) -> Plugin {
        let (stream, _) = self.listener.accept().await.unwrap();
        Plugin { stream, last: 0, waiting: Vec::new() }
    }
}

/// A plugin, seen from the runtime.
pub(crate) struct Plugin {
    stream: UnixStream,
    /// The stream of the last call.
    last: u32,
    /// Answers that nobody has asked for yet.
    waiting: Vec<(u32, Response)>,
}

impl Plugin {
    /// The plugin registers, and may.
    pub(crate) async fn registration(&mut self) -> RegisterPluginRequest {
        let (stream, request) = self.register().await;
        let response = Response { status: Some(Status::default()), payload: Empty {}.encode_to_vec() };
        self.message(RUNTIME, stream, RESPONSE, &response.encode_to_vec()).await;
        request
    }

    pub(crate) async fn refuse_registration(&mut self, why: &str) {
        let (stream, _) = self.register().await;
        let status = Some(Status { code: 2, message: why.to_owned() });
        self.message(RUNTIME, stream, RESPONSE, &Response { status, payload: Vec::new() }.encode_to_vec()).await;
        assert!(self.is_closed().await);
    }

    async fn register(&mut self) -> (u32, RegisterPluginRequest) {
        let (connection, stream, kind, payload) = self.read().await.expect("the plugin registers");
        assert_eq!((connection, kind), (RUNTIME, REQUEST));
        assert_eq!(stream % 2, 1, "calls have odd numbers");
        let request = Request::decode(payload.as_slice()).unwrap();
        assert_eq!(
            (request.service.as_str(), request.method.as_str()),
            ("nri.pkg.api.v1alpha1.Runtime", "RegisterPlugin")
        );
        (stream, RegisterPluginRequest::decode(request.payload.as_slice()).unwrap())
    }

    pub(crate) async fn call<T: prost::Message + Default>(
        &mut self,
        method: &str,
        request: &impl prost::Message,
    ) -> Result<T, String> {
        let stream = self.send(method, request).await;
        self.answer(stream).await
    }

    pub(crate) async fn call_raw(&mut self, method: &str, payload: &[u8]) -> Result<Empty, String> {
        let stream = self.send_raw(method, payload.to_vec()).await;
        self.answer(stream).await
    }

    pub(crate) async fn send(&mut self, method: &str, request: &impl prost::Message) -> u32 {
        self.send_raw(method, request.encode_to_vec()).await
    }

    async fn send_raw(&mut self, method: &str, payload: Vec<u8>) -> u32 {
        let stream = if self.last == 0 { 1 } else { self.last + 2 };
        self.last = stream;
        let service = "nri.pkg.api.v1alpha1.Plugin".to_owned();
        let request = Request { service, method: method.to_owned(), payload, timeout_nano: 2_000_000_000 };
        self.message(PLUGIN, stream, REQUEST, &request.encode_to_vec()).await;
        stream
    }

    /// The answer to the call on `stream`; those to others wait.
    pub(crate) async fn answer<T: prost::Message + Default>(&mut self, stream: u32) -> Result<T, String> {
        loop {
            if let Some(index) = self.waiting.iter().position(|(waiting, _)| *waiting == stream) {
                let (_, response) = self.waiting.remove(index);
                let status = response.status.unwrap_or_default();
                return if status.code == 0 {
                    Ok(T::decode(response.payload.as_slice()).unwrap())
                } else {
                    Err(status.message)
                };
            }
            let (connection, answered, kind, payload) = self.read().await.expect("the plugin answers");
            assert_eq!((connection, kind), (PLUGIN, RESPONSE));
            self.waiting.push((answered, Response::decode(payload.as_slice()).unwrap()));
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn close_writing(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Whether the plugin closes its end, once it does.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).await.map_or(true, |_| rest.is_empty())
    }

    async fn message(&mut self, connection: u32, stream: u32, kind: u8, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let message = [&length[..], &stream.to_be_bytes(), &[kind, 0], payload].concat();
        let (buffered, rest) = message.split_at(message.len().min(BUFFER));
        self.write(&frame(connection, buffered)).await;
        if !rest.is_empty() {
            self.write(&frame(connection, rest)).await;
        }
    }

    /// Connection, stream, type and payload of the next message; `None` at the end.
    async fn read(&mut self) -> Option<(u32, u32, u8, Vec<u8>)> {
        let (mut message, mut from) = (Vec::new(), None);
        loop {
            let connection = self.stream.read_u32().await.ok()?;
            let length = usize::try_from(self.stream.read_u32().await.ok()?).unwrap();
            assert!(length <= BUFFER, "the runtime could not read a frame of {length} bytes");
            assert!(from.is_none_or(|from| from == connection), "messages of two connections are mixed");
            from = Some(connection);
            let mut part = vec![0; length];
            self.stream.read_exact(&mut part).await.ok()?;
            message.append(&mut part);
            let whole = 10 + usize::try_from(u32::from_be_bytes(message[..4].try_into().unwrap())).unwrap();
            if message.len() >= whole {
                assert_eq!(message.len(), whole, "one message at a time");
                let stream = u32::from_be_bytes(message[4..8].try_into().unwrap());
                return Some((connection, stream, message[8], message.split_off(10)));
            }
        }
    }
}

/// One frame of the multiplexer.
pub(crate) fn frame(connection: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&connection.to_be_bytes()[..], &length, payload].concat()
}
