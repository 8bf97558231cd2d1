//! Bytes from the kernel's rings, decoded: a total function of any input.

use plimsoll_abi::{ANCESTORS, Ancestor, COMM_LEN, Event, Hook, Label, PATH_LEN, Reason, UnknownCode, Verdict};

/// A record that no kernel program of this version writes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("a record has {0} bytes, and should have {size}", size = size_of::<Event>())]
    Length(usize),
    #[error(transparent)]
    Code(#[from] UnknownCode),
}

/// A record with its codes understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The record.
    pub raw: Event,
    /// Where it was seen.
    pub hook: Hook,
    /// What the kernel answered.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
}

impl Decoded {
    /// The workload it happened in.
    pub fn label(&self) -> Label {
        Label { slot: self.raw.slot, incarnation: self.raw.incarnation }
    }

    /// The path up to its NUL.
    pub fn path(&self) -> &[u8] {
        until_nul(&self.raw.path)
    }

    /// The components of a path that is reported by them, the last one first.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.raw.path.split(|byte| *byte == 0).take_while(|part| !part.is_empty())
    }

    /// Whether the file has this property; `flag` is one of `plimsoll_abi::event_flags`.
    pub fn has(&self, flag: u32) -> bool {
        self.raw.flags & flag != 0
    }
}

/// A task's name as text.
pub fn comm(bytes: &[u8; COMM_LEN]) -> String {
    String::from_utf8_lossy(until_nul(bytes)).into_owned()
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Decodes one record.
pub fn decode(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let raw = read(bytes).ok_or(DecodeError::Length(bytes.len()))?;
    Ok(Decoded {
        hook: Hook::try_from(raw.hook)?,
        verdict: Verdict::try_from(raw.verdict)?,
        reason: Reason::try_from(raw.reason)?,
        raw,
    })
}

/// Reads the members in the order of their declaration.
fn read(bytes: &[u8]) -> Option<Event> {
    if bytes.len() != size_of::<Event>() {
        return None;
    }
    let mut reader = Reader(bytes);
    Some(Event {
        sequence: reader.u64()?,
        time_ns: reader.u64()?,
        cgroup: reader.u64()?,
        ino: reader.u64()?,
        size: reader.u64()?,
        operand: reader.u64()?,
        dev: reader.u32()?,
        hook: reader.u32()?,
        verdict: reader.u32()?,
        reason: reader.u32()?,
        slot: reader.u32()?,
        incarnation: reader.u32()?,
        allowlist: reader.u32()?,
        rule: reader.u32()?,
        tgid: reader.u32()?,
        tid: reader.u32()?,
        uid: reader.u32()?,
        prot: reader.u32()?,
        flags: reader.u32()?,
        protocol: reader.u32()?,
        port: reader.u32()?,
        reserved: reader.u32()?,
        address: reader.array()?,
        comm: reader.array()?,
        ancestors: reader.ancestors()?,
        path: reader.array::<PATH_LEN>()?,
    })
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_ne_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_ne_bytes)
    }

    fn ancestors(&mut self) -> Option<[Ancestor; ANCESTORS]> {
        let mut all = [Ancestor { tgid: 0, comm: [0; COMM_LEN] }; ANCESTORS];
        for ancestor in &mut all {
            *ancestor = Ancestor { tgid: self.u32()?, comm: self.array()? };
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record whose word `index` is `value`; the first six words are 64 bits wide.
    fn record(words: &[(usize, u32)]) -> Vec<u8> {
        let mut bytes = vec![0; size_of::<Event>()];
        for (index, value) in words {
            bytes[48 + index * 4..][..4].copy_from_slice(&value.to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn members_are_read_in_order() {
        let mut bytes = record(&[(0, 7), (1, 1), (2, 2), (3, 2), (8, 42)]);
        bytes[..8].copy_from_slice(&9_u64.to_ne_bytes());
        let path = size_of::<Event>() - PATH_LEN;
        bytes[path..path + 7].copy_from_slice(b"/bin/x\0");
        let event = decode(&bytes).unwrap();
        assert_eq!((event.raw.sequence, event.raw.dev, event.raw.tgid), (9, 7, 42));
        assert_eq!((event.hook, event.verdict, event.reason), (Hook::Exec, Verdict::Deny, Reason::Written));
        assert_eq!(event.path(), b"/bin/x");
    }

    #[test]
    fn unknown_codes_and_lengths_are_errors() {
        assert_eq!(decode(&record(&[])).unwrap_err().to_string(), "unknown Hook code 0");
        assert_eq!(decode(&record(&[(1, 1), (3, 99)])).unwrap_err().to_string(), "unknown Reason code 99");
        assert_eq!(decode(&[0; 3]), Err(DecodeError::Length(3)));
    }
}
