//! Berkeley DB's hash, as rpm used it until 4.16. Numbers are in the byte order of the machine that wrote it.
//!
//! Hash pages hold keys and values in turn. A package's header is a value, nearly always on pages of its own; the
//! index need not be followed, since every page says what it is. Format: Berkeley DB's `dbinc/db_page.h`.

use std::borrow::Cow;

use super::{
    BrokenContainer,
    bytes::{index, slice},
};

const MAGIC: u32 = 0x0006_1561;
/// Bytes of a page before its content.
const PAGE_HEAD: usize = 26;
const HASH_UNSORTED: u8 = 2;
const OVERFLOW: u8 = 7;
const HASH: u8 = 13;
/// Kinds of values.
const IN_PLACE: u8 = 1;
const OFF_PAGE: u8 = 3;
const MAX_PAGE: usize = 1 << 16;
const MIN_PAGE: usize = 512;

pub(super) fn is(bytes: &[u8]) -> bool {
    Order::of(bytes).is_some()
}

#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn of(bytes: &[u8]) -> Option<Self> {
        let magic = slice(bytes, 12, 4)?;
        if magic == MAGIC.to_le_bytes() {
            Some(Self::Little)
        } else if magic == MAGIC.to_be_bytes() {
            Some(Self::Big)
        } else {
            None
        }
    }

    fn u16(self, bytes: &[u8], at: usize) -> Option<usize> {
        let bytes = slice(bytes, at, 2)?.try_into().ok()?;
        Some(usize::from(match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }))
    }

    fn u32(self, bytes: &[u8], at: usize) -> Option<usize> {
        let bytes = slice(bytes, at, 4)?.try_into().ok()?;
        Some(index(match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }))
    }
}

struct Pages<'a> {
    bytes: &'a [u8],
    order: Order,
    size: usize,
    /// Overflow pages that belong to a value already.
    used: Vec<bool>,
}

/// Every header.
pub(super) fn blobs(bytes: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, BrokenContainer> {
    let order = Order::of(bytes).ok_or(BrokenContainer::Unknown)?;
    let size = order.u32(bytes, 20).filter(|size| size.is_power_of_two()).unwrap_or_default();
    if !(MIN_PAGE..=MAX_PAGE).contains(&size) {
        return Err(BrokenContainer::Page { page: 0 });
    }
    let count = bytes.len() / size;
    let mut pages = Pages { bytes, order, size, used: vec![false; count] };
    let mut blobs = Vec::new();
    for number in 1..count {
        let page = pages.page(number)?;
        if matches!(page.get(25), Some(&(HASH | HASH_UNSORTED))) {
            pages.values(number, page, &mut blobs)?;
        }
    }
    Ok(blobs)
}

impl<'a> Pages<'a> {
    fn page(&self, number: usize) -> Result<&'a [u8], BrokenContainer> {
        let at = number.saturating_mul(self.size);
        slice(self.bytes, at, self.size).ok_or(BrokenContainer::OutOfBounds { at })
    }

    /// Items lie one after another from the end of a page towards its head: keys and values in turn.
    fn values(&mut self, number: usize, page: &'a [u8], blobs: &mut Vec<Cow<'a, [u8]>>) -> Result<(), BrokenContainer> {
        let broken = BrokenContainer::Page { page: number };
        let mut end = page.len();
        for entry in 0..self.order.u16(page, 20).ok_or(broken)? {
            let start = self.order.u16(page, PAGE_HEAD + entry * 2).ok_or(broken)?;
            let item = page.get(start..end).ok_or(broken)?;
            end = start;
            let is_value = entry % 2 == 1;
            match item {
                // The number of the next package is a value too, and too short for a header.
                [IN_PLACE, value @ ..] if is_value && value.len() > 8 => blobs.push(Cow::Borrowed(value)),
                [OFF_PAGE, ..] if is_value => {
                    let first = self.order.u32(item, 4).ok_or(broken)?;
                    let length = self.order.u32(item, 8).ok_or(broken)?;
                    blobs.push(Cow::Owned(self.overflow(first, length)?));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn overflow(&mut self, first: usize, length: usize) -> Result<Vec<u8>, BrokenContainer> {
        if length > self.bytes.len() {
            return Err(BrokenContainer::OutOfBounds { at: first.saturating_mul(self.size) });
        }
        let (mut blob, mut number) = (Vec::with_capacity(length), first);
        while blob.len() < length {
            match self.used.get_mut(number) {
                Some(used) if !*used => *used = true,
                Some(_) => return Err(BrokenContainer::Reused { page: number }),
                None => return Err(BrokenContainer::OutOfBounds { at: number.saturating_mul(self.size) }),
            }
            let page = self.page(number)?;
            let broken = BrokenContainer::Page { page: number };
            if page.get(25) != Some(&OVERFLOW) {
                return Err(broken);
            }
            let filled = self.order.u16(page, 22).ok_or(broken)?;
            let content = slice(page, PAGE_HEAD, filled).filter(|content| !content.is_empty()).ok_or(broken)?;
            blob.extend_from_slice(content);
            number = self.order.u32(page, 16).ok_or(broken)?;
        }
        blob.truncate(length);
        Ok(blob)
    }
}
