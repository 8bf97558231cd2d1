//! Answers of resolvers, right ones and broken ones, as bytes.

use std::net::IpAddr;

/// The one question of an answer: an address of a name.
pub(crate) struct Question(Vec<u8>);

impl Question {
    /// A name without a dot at its end.
    pub(crate) fn of(name: &str) -> Self {
        let labels = name.split('.').filter_map(|label| Some((u8::try_from(label.len()).ok()?, label)));
        let mut wire: Vec<u8> = labels.flat_map(|(length, label)| [&[length], label.as_bytes()].concat()).collect();
        wire.extend([0, 0, 1, 0, 1]);
        Self(wire)
    }
}

/// Header, question and records.
pub(crate) fn answer(question: &Question, records: &[Vec<u8>]) -> Vec<u8> {
    let count = u8::try_from(records.len()).unwrap_or(u8::MAX);
    let header = [7, 7, 0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0];
    [&header[..], &question.0, &records.concat()].concat()
}

/// A record that gives the question's name an address.
pub(crate) fn address(address: IpAddr) -> Vec<u8> {
    broken::of_class(1, address)
}

/// What no resolver sends.
pub(crate) mod broken {
    use super::IpAddr;

    /// A record of any type and class for the question's name.
    pub(crate) fn record(kind: u8, class: u8, data: &[u8]) -> Vec<u8> {
        let length = u8::try_from(data.len()).unwrap_or(u8::MAX);
        [&[0xc0, 12, 0, kind, 0, class, 0, 0, 0, 0, 0, length], data].concat()
    }

    /// An address in any class.
    pub(crate) fn of_class(class: u8, address: IpAddr) -> Vec<u8> {
        match address {
            IpAddr::V4(address) => record(1, class, &address.octets()),
            IpAddr::V6(address) => record(28, class, &address.octets()),
        }
    }

    /// The message with one byte changed.
    pub(crate) fn byte(mut message: Vec<u8>, place: usize, value: u8) -> Vec<u8> {
        message[place] = value;
        message
    }
}
