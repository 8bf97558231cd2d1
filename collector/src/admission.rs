//! Who may be connected: so many in all, and so many from one address.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

use crate::config::Connections;

/// What an HTTP/2 client sends first.
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    #[error("`connections.total` are connected")]
    Total,
    #[error("`connections.perAddress` are connected from this address")]
    Address,
}

impl Full {
    /// The word in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Total => "too-many",
            Self::Address => "too-many-of-address",
        }
    }
}

/// Counts who is in.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    total: usize,
    per_address: usize,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Debug, Default)]
struct Inside {
    total: usize,
    /// Addresses with a connection, so no more than there may be connections.
    by_address: HashMap<IpAddr, usize>,
}

/// A place that is taken until it is dropped.
#[derive(Debug)]
pub(crate) struct Entered {
    address: IpAddr,
    inside: Arc<Mutex<Inside>>,
}

impl Door {
    pub(crate) fn new(limits: &Connections) -> Self {
        Self { total: limits.total, per_address: limits.per_address, inside: Arc::default() }
    }

    pub(crate) fn enter(&self, address: IpAddr) -> Result<Entered, Full> {
        // An IPv4 address is the same one inside of IPv6.
        let address = address.to_canonical();
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if inside.total >= self.total {
            return Err(Full::Total);
        }
        if inside.by_address.get(&address).is_some_and(|count| *count >= self.per_address) {
            return Err(Full::Address);
        }
        *inside.by_address.entry(address).or_default() += 1;
        inside.total += 1;
        drop(inside);
        Ok(Entered { address, inside: Arc::clone(&self.inside) })
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.total -= 1;
        if let Some(count) = inside.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                inside.by_address.remove(&self.address);
            }
        }
    }
}

/// A connection with its place, and the preface that was read of it already.
#[derive(Debug)]
pub(crate) struct Admitted<S> {
    stream: S,
    preface: [u8; PREFACE.len()],
    /// Bytes of the preface that are given away.
    given: usize,
    _place: Entered,
}

impl<S> Admitted<S> {
    pub(crate) fn new((stream, preface): (S, [u8; PREFACE.len()]), place: Entered) -> Self {
        Self { stream, preface, given: 0, _place: place }
    }
}

impl<S: Connected> Connected for Admitted<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> S::ConnectInfo {
        self.stream.connect_info()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Admitted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let left = self.preface.get(self.given..).unwrap_or_default();
        if left.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let count = left.len().min(buffer.remaining());
        buffer.put_slice(left.get(..count).unwrap_or_default());
        self.given += count;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Admitted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let door = Door::new(&Connections { total: 3, per_address: 2 });
        let address = |last| IpAddr::from([127, 0, 0, last]);
        let first = door.enter(address(1)).unwrap();
        let _second = door.enter("::ffff:127.0.0.1".parse().unwrap()).unwrap();
        assert_eq!(door.enter(address(1)).unwrap_err(), Full::Address);
        let third = door.enter(address(2)).unwrap();
        assert_eq!(door.enter(address(3)).unwrap_err(), Full::Total);
        drop(first);
        drop(door.enter(address(1)).unwrap());
        drop(third);
        assert_eq!(door.inside.lock().unwrap().by_address.len(), 1);
    }
}
