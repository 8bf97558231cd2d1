//! The table `Packages` of an SQLite database: two columns, a number and a header. Numbers are big-endian.
//!
//! Read are table b-trees and overflow pages, as <https://www.sqlite.org/fileformat2.html> has them; neither indexes nor
//! the write-ahead log, which rpm empties when it ends.

use std::borrow::Cow;

use super::{
    BrokenContainer,
    bytes::{index, slice, u16_be, u32_be},
};

const MAGIC: &[u8] = b"SQLite format 3\0";
/// Page 1 has the file's head before its own.
const FILE_HEAD: usize = 100;
const LEAF: u8 = 0x0d;
const INTERIOR: u8 = 0x05;
/// b-trees of 2^31 pages are no deeper.
const MAX_DEPTH: usize = 20;

pub(super) fn is(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Every header.
pub(super) fn blobs(bytes: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, BrokenContainer> {
    let mut database = Database::open(bytes)?;
    let schema = database.table(1)?;
    let root = schema.iter().find_map(|row| packages_root(row)).ok_or(BrokenContainer::NoTable)?;
    let rows = database.table(root)?;
    let headers = rows.into_iter().map(|row| match row {
        Cow::Borrowed(row) => Cow::Borrowed(last_blob(row).unwrap_or_default()),
        Cow::Owned(row) => Cow::Owned(last_blob(&row).unwrap_or_default().to_vec()),
    });
    Ok(headers.collect())
}

/// A schema row is (type, name, table, root page, SQL).
fn packages_root(row: &[u8]) -> Option<usize> {
    let columns = columns(row)?;
    let [(_, kind), (_, name), _, (serial, root), ..] = columns.as_slice() else { return None };
    if *kind != b"table" || *name != b"Packages" || !(1..=6).contains(serial) {
        return None;
    }
    root.iter().try_fold(0_usize, |number, byte| Some(number.checked_mul(256)? + usize::from(*byte)))
}

fn last_blob(row: &[u8]) -> Option<&[u8]> {
    let columns = columns(row)?;
    columns.iter().rev().find(|(serial, _)| *serial >= 12 && serial % 2 == 0).map(|(_, value)| *value)
}

/// Serial type and content of each column of a record.
fn columns(record: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let (head, mut at) = varint(record, 0)?;
    let head = usize::try_from(head).ok()?;
    let mut content = head;
    let mut columns = Vec::new();
    while at < head {
        let (serial, after) = varint(record, at)?;
        let length = match serial {
            0 | 8 | 9 => 0,
            1..=4 => serial,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return None,
            _ => (serial - 12) / 2,
        };
        let length = usize::try_from(length).ok()?;
        columns.push((serial, slice(record, content, length)?));
        content += length;
        at = after;
    }
    Some(columns)
}

/// A number of one to nine bytes, and where it has ended.
fn varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut number = 0_u64;
    for step in 0..9 {
        let byte = *bytes.get(at.checked_add(step)?)?;
        if step == 8 {
            return Some(((number << 8) | u64::from(byte), at + 9));
        }
        number = (number << 7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((number, at + step + 1));
        }
    }
    None
}

struct Database<'a> {
    bytes: &'a [u8],
    page_size: usize,
    /// Bytes of a page that are not reserved.
    usable: usize,
    /// Pages that were read already; a sound table reads none twice.
    used: Vec<bool>,
}

impl<'a> Database<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, BrokenContainer> {
        let broken = BrokenContainer::Page { page: 1 };
        let page_size = match u16_be(bytes, 16).ok_or(broken)? {
            1 => 1 << 16,
            size if size.is_power_of_two() && size >= 512 => size,
            _ => return Err(broken),
        };
        let reserved = bytes.get(20).copied().map(usize::from).ok_or(broken)?;
        let usable = page_size - reserved;
        if usable < 480 {
            return Err(broken);
        }
        Ok(Self { bytes, page_size, usable, used: vec![false; bytes.len() / page_size] })
    }

    /// The records of a table, in the order of their row ids.
    fn table(&mut self, root: usize) -> Result<Vec<Cow<'a, [u8]>>, BrokenContainer> {
        let mut rows = Vec::new();
        let mut pending = vec![(root, 0)];
        while let Some((number, depth)) = pending.pop() {
            let page = self.page(number)?;
            let broken = BrokenContainer::Page { page: number };
            let head = if number == 1 { FILE_HEAD } else { 0 };
            let cells = u16_be(page, head + 3).ok_or(broken)?;
            match page.get(head) {
                Some(&LEAF) => {
                    let mut unshared = self.page_size;
                    for cell in 0..cells {
                        let at = u16_be(page, head + 8 + cell * 2).ok_or(broken)?;
                        let (row, local) = self.row(page, at, number)?;
                        // Cells that share their bytes would make much of a small file.
                        unshared = unshared.checked_sub(local).ok_or(broken)?;
                        rows.push(row);
                    }
                }
                Some(&INTERIOR) if depth < MAX_DEPTH => {
                    // The right-most child comes last, so it is pushed first.
                    pending.push((index(u32_be(page, head + 8).ok_or(broken)?), depth + 1));
                    for cell in (0..cells).rev() {
                        let at = u16_be(page, head + 12 + cell * 2).ok_or(broken)?;
                        pending.push((index(u32_be(page, at).ok_or(broken)?), depth + 1));
                    }
                }
                _ => return Err(broken),
            }
        }
        Ok(rows)
    }

    /// Pages are counted from 1.
    fn page(&mut self, number: usize) -> Result<&'a [u8], BrokenContainer> {
        let place = number.checked_sub(1).ok_or(BrokenContainer::Page { page: 0 })?;
        let at = place.saturating_mul(self.page_size);
        match self.used.get_mut(place) {
            Some(used) if !*used => *used = true,
            Some(_) => return Err(BrokenContainer::Reused { page: number }),
            None => return Err(BrokenContainer::OutOfBounds { at }),
        }
        slice(self.bytes, at, self.page_size).ok_or(BrokenContainer::OutOfBounds { at })
    }

    /// A leaf's cell: length, row id, as much of the record as fits, and where it goes on. Answers the record, and how
    /// much of it was in the leaf.
    fn row(&mut self, page: &'a [u8], at: usize, number: usize) -> Result<(Cow<'a, [u8]>, usize), BrokenContainer> {
        let broken = BrokenContainer::Page { page: number };
        let (length, at) = varint(page, at).ok_or(broken)?;
        let (_row_id, at) = varint(page, at).ok_or(broken)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let local = self.local(length);
        let start = slice(page, at, local).ok_or(broken)?;
        if local == length {
            return Ok((Cow::Borrowed(start), local.max(1)));
        }
        let next = index(u32_be(page, at + local).ok_or(broken)?);
        Ok((Cow::Owned(self.overflow(start, length, next)?), local))
    }

    /// How much of a record lies in the leaf itself.
    fn local(&self, length: usize) -> usize {
        let largest = self.usable - 35;
        if length <= largest {
            return length;
        }
        let smallest = (self.usable - 12) * 32 / 255 - 23;
        let wanted = smallest + (length - smallest) % (self.usable - 4);
        if wanted <= largest { wanted } else { smallest }
    }

    fn overflow(&mut self, start: &[u8], length: usize, first: usize) -> Result<Vec<u8>, BrokenContainer> {
        if length > self.bytes.len() {
            return Err(BrokenContainer::OutOfBounds { at: first.saturating_mul(self.page_size) });
        }
        let (mut record, mut number) = (start.to_vec(), first);
        while record.len() < length {
            let page = self.page(number)?;
            let take = (length - record.len()).min(self.usable - 4);
            record.extend_from_slice(page.get(4..4 + take).ok_or(BrokenContainer::Page { page: number })?);
            number = index(u32_be(page, 0).ok_or(BrokenContainer::Page { page: number })?);
        }
        Ok(record)
    }
}
