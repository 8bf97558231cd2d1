//! How a record lies in a file: length, checksum, payload, so that a torn or flipped byte is found and not believed.

/// Bytes before a payload: its length and the checksum of length and payload, both little-endian `u32`.
pub(super) const HEADER: usize = 8;

/// What a file has at some offset.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// A sound record, and the bytes it takes.
    Whole { payload: &'a [u8], length: usize },
    /// The end.
    End,
    /// The beginning of a record whose writer was stopped; nothing sound follows.
    Torn,
    /// Bytes that are not what was written.
    Corrupt,
}

/// Appends a record, whose payload must not be empty; `None` if its length does not fit.
pub(super) fn write(payload: &[u8], into: &mut Vec<u8>) -> Option<()> {
    let length = u32::try_from(payload.len()).ok()?.to_le_bytes();
    into.extend_from_slice(&length);
    into.extend_from_slice(&checksum(length, payload).to_le_bytes());
    into.extend_from_slice(payload);
    Some(())
}

/// Reads the record at the start of `bytes`, which go to the end of the file; payloads have at most `limit` bytes.
pub(super) fn read(bytes: &[u8], limit: usize) -> Frame<'_> {
    match whole(bytes, limit) {
        Some(frame) => frame,
        None if bytes.is_empty() => Frame::End,
        None if is_torn(bytes, limit) => Frame::Torn,
        None => Frame::Corrupt,
    }
}

fn whole(bytes: &[u8], limit: usize) -> Option<Frame<'_>> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let size = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    // A record is never empty; accepting one would make a file of zeros sound.
    if size == 0 || size > limit {
        return None;
    }
    let payload = rest.get(..size)?;
    let sound = checksum(*length, payload) == u32::from_le_bytes(*sum);
    sound.then_some(Frame::Whole { payload, length: HEADER + size })
}

/// Whether an interrupted write explains these bytes: too short for one record, or zeros a crash left in place of
/// data, with no sound record after them. A flipped length in front of sound records is not torn.
fn is_torn(bytes: &[u8], limit: usize) -> bool {
    let short = bytes.len() < HEADER + limit;
    let zeros = bytes.iter().all(|byte| *byte == 0);
    zeros || (short && is_cut_short(bytes, limit) && (1..bytes.len()).all(|at| !is_sound_at(bytes, at, limit)))
}

fn is_cut_short(bytes: &[u8], limit: usize) -> bool {
    let Some((length, _)) = bytes.split_first_chunk::<4>() else { return true };
    let size = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    size > 0 && size <= limit && bytes.len() < HEADER.saturating_add(size)
}

fn is_sound_at(bytes: &[u8], at: usize, limit: usize) -> bool {
    bytes.get(at..).is_some_and(|rest| whole(rest, limit).is_some())
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 100;

    fn file(payloads: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for payload in payloads {
            write(payload, &mut bytes).unwrap();
        }
        bytes
    }

    #[test]
    fn a_record_comes_back() {
        let bytes = file(&[b"one", b"two"]);
        assert_eq!(read(&bytes, LIMIT), Frame::Whole { payload: b"one", length: 11 });
        assert_eq!(read(&bytes[11..], LIMIT), Frame::Whole { payload: b"two", length: 11 });
        assert_eq!(read(&[], LIMIT), Frame::End);
    }

    #[test]
    fn every_cut_of_the_last_record_is_torn() {
        let bytes = file(&[b"a record"]);
        for length in 1..bytes.len() {
            assert_eq!(read(&bytes[..length], LIMIT), Frame::Torn, "{length}");
        }
        assert_eq!(read(&[0; 64], LIMIT), Frame::Torn);
    }

    #[test]
    fn every_flipped_bit_before_a_sound_record_is_corruption() {
        let sound = file(&[b"a record", b"another"]);
        for at in 0..16 {
            for bit in 0..8 {
                let mut bytes = sound.clone();
                bytes[at] ^= 1 << bit;
                assert_eq!(read(&bytes, LIMIT), Frame::Corrupt, "byte {at} bit {bit}");
            }
        }
    }
}
