//! rpm's own ndb. Slots say where blobs lie; each blob is framed by a head and a tail. All numbers are little-endian.
//!
//! ```text
//! file: "RpmP", version, generation, pages of slots; then slots to the end of those pages
//! slot: "Slot", package, offset and length in blocks of 16 bytes
//! blob: "BlbS", package, generation, length in bytes; then the header
//! ```

use std::borrow::Cow;

use super::{
    BrokenContainer,
    bytes::{index, slice, u32_le},
};

const MAGIC: &[u8] = b"RpmP";
const SLOT_MAGIC: &[u8] = b"Slot";
const BLOB_MAGIC: &[u8] = b"BlbS";
const PAGE: usize = 4096;
const SLOT: usize = 16;
/// The file's own head takes the place of two slots.
const FIRST_SLOT: usize = 32;
const BLOCK: usize = 16;
const BLOB_HEAD: usize = 16;

pub(super) fn is(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Every header. Blobs that overlap are refused, lest a small file stands for a large one.
pub(super) fn blobs(bytes: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, BrokenContainer> {
    let outside = |at| BrokenContainer::OutOfBounds { at };
    let pages = index(u32_le(bytes, 12).ok_or(outside(12))?);
    let end = pages.checked_mul(PAGE).filter(|end| *end <= bytes.len()).ok_or(outside(12))?;
    let slots = bytes.get(FIRST_SLOT..end).unwrap_or_default();
    let mut blobs = Vec::new();
    let mut spans = Vec::new();
    for (number, slot) in slots.chunks_exact(SLOT).enumerate() {
        let at = FIRST_SLOT + number * SLOT;
        if !slot.starts_with(SLOT_MAGIC) {
            return Err(BrokenContainer::Page { page: at / PAGE });
        }
        let (package, block) = (u32_le(slot, 4).unwrap_or_default(), index(u32_le(slot, 8).unwrap_or_default()));
        // A free slot.
        if block == 0 {
            continue;
        }
        let start = block.checked_mul(BLOCK).ok_or(outside(at))?;
        let head = slice(bytes, start, BLOB_HEAD).ok_or(outside(at))?;
        if !head.starts_with(BLOB_MAGIC) || u32_le(head, 4) != Some(package) {
            return Err(BrokenContainer::Page { page: start / PAGE });
        }
        let length = index(u32_le(head, 12).unwrap_or_default());
        blobs.push(Cow::Borrowed(slice(bytes, start + BLOB_HEAD, length).ok_or(outside(start))?));
        spans.push((start, start + BLOB_HEAD + length));
    }
    spans.sort_unstable();
    let overlap = spans.windows(2).find_map(|pair| match pair {
        [(_, end), (next, _)] if next < end => Some(next / PAGE),
        _ => None,
    });
    overlap.map_or(Ok(blobs), |page| Err(BrokenContainer::Reused { page }))
}
