//! One package's header: a table of tags, and the data they point to. All numbers are big-endian.
//!
//! ```text
//! entries: u32, data length: u32, entries * { tag: u32, type: u32, offset: u32, count: u32 }, data
//! ```

use super::bytes::{index, slice, u16_be, u32_be};

pub(super) const NAME: u32 = 1000;
pub(super) const VERSION: u32 = 1001;
pub(super) const RELEASE: u32 = 1002;
pub(super) const EPOCH: u32 = 1003;
pub(super) const ARCH: u32 = 1022;
pub(super) const FILE_DIGEST_ALGORITHM: u32 = 5011;
const OLD_FILE_NAMES: u32 = 1027;
const FILE_STATES: u32 = 1029;
const FILE_MODES: u32 = 1030;
const FILE_DIGESTS: u32 = 1035;
const FILE_FLAGS: u32 = 1037;
const DIRECTORY_INDEXES: u32 = 1116;
const BASE_NAMES: u32 = 1117;
const DIRECTORY_NAMES: u32 = 1118;

pub(super) const MD5: u32 = 1;
pub(super) const SHA1: u32 = 2;
pub(super) const SHA256: u32 = 8;

const TYPE_CHAR: u32 = 1;
const TYPE_INT8: u32 = 2;
const TYPE_INT16: u32 = 3;
const TYPE_INT32: u32 = 4;
const TYPE_STRING: u32 = 6;
const TYPE_STRING_ARRAY: u32 = 8;
const TYPE_I18N_STRING: u32 = 9;

/// Bytes of the two counts, and of one entry.
const INTRODUCTION: usize = 8;
const ENTRY: usize = 16;
/// A file that the package owns and did not ship (`%ghost`).
const GHOST: u32 = 1 << 6;
/// State of a file that is as the package has it; others were replaced or never installed.
const NORMAL: u8 = 0;
/// Type bits of a file mode.
const TYPE_MASK: usize = 0o170_000;
const REGULAR: usize = 0o100_000;

pub(super) struct Header<'a> {
    entries: &'a [u8],
    data: &'a [u8],
}

/// A file as its package has it.
pub(super) struct File<'a> {
    pub(super) directory: &'a [u8],
    pub(super) name: &'a [u8],
    /// Hex digits; empty or zeros if it has none.
    pub(super) digest: &'a [u8],
    mode: Option<usize>,
    flags: u32,
    state: u8,
}

impl File<'_> {
    /// Whether this package put the file there.
    pub(super) fn is_installed(&self) -> bool {
        self.state == NORMAL && self.flags & GHOST == 0
    }

    /// Whether a digest is there that should have been read.
    pub(super) fn is_claimed(&self, algorithm: u32) -> bool {
        let is_regular = self.mode.is_none_or(|mode| mode & TYPE_MASK == REGULAR);
        let is_known = matches!(algorithm, MD5 | SHA1 | SHA256);
        is_regular && is_known && self.digest.iter().any(|digit| *digit != b'0')
    }
}

impl<'a> Header<'a> {
    /// `None` if the table or the data does not fit.
    pub(super) fn parse(blob: &'a [u8]) -> Option<Self> {
        let (entries, data) = (index(u32_be(blob, 0)?), index(u32_be(blob, 4)?));
        let table = entries.checked_mul(ENTRY)?;
        let entries = slice(blob, INTRODUCTION, table)?;
        let data = slice(blob, INTRODUCTION.checked_add(table)?, data)?;
        Some(Self { entries, data })
    }

    /// Type, count and data of the first entry of a tag. The data reaches to the end of the header.
    fn find(&self, tag: u32) -> Option<(u32, usize, &'a [u8])> {
        let entry = self.entries.chunks_exact(ENTRY).find(|entry| u32_be(entry, 0) == Some(tag))?;
        let offset = index(u32_be(entry, 8)?);
        Some((u32_be(entry, 4)?, index(u32_be(entry, 12)?), self.data.get(offset..)?))
    }

    /// A string in UTF-8.
    pub(super) fn text(&self, tag: u32) -> Option<&'a str> {
        let (kind, _, data) = self.find(tag)?;
        let text = data.split(|byte| *byte == 0).next()?;
        matches!(kind, TYPE_STRING | TYPE_I18N_STRING).then(|| str::from_utf8(text).ok()).flatten()
    }

    /// A number.
    pub(super) fn integer(&self, tag: u32) -> Option<u32> {
        let (kind, count, data) = self.find(tag)?;
        if kind == TYPE_INT32 && count > 0 { u32_be(data, 0) } else { None }
    }

    /// The strings of a list of at most `limit`; none if there is no such list.
    fn texts(&self, tag: u32, limit: usize) -> Option<Vec<&'a [u8]>> {
        let Some((kind, count, data)) = self.find(tag) else { return Some(Vec::new()) };
        if !matches!(kind, TYPE_STRING | TYPE_STRING_ARRAY) || count > limit {
            return None;
        }
        let texts: Vec<_> = data.split(|byte| *byte == 0).take(count).collect();
        (texts.len() == count).then_some(texts)
    }

    /// The numbers of a list, each `width` bytes.
    fn numbers(&self, tag: u32, kinds: &[u32], width: usize) -> Option<&'a [u8]> {
        let Some((kind, count, data)) = self.find(tag) else { return Some(&[]) };
        if kinds.contains(&kind) { slice(data, 0, count.checked_mul(width)?) } else { None }
    }

    /// Every file, or nothing if there are more than `limit` or the lists of names, directories and digests do not fit
    /// together.
    pub(super) fn files(&self, limit: usize) -> Option<Vec<File<'a>>> {
        let (names, directories) = (self.texts(BASE_NAMES, limit)?, self.texts(DIRECTORY_NAMES, limit)?);
        let indexes = self.numbers(DIRECTORY_INDEXES, &[TYPE_INT32], 4)?;
        let digests = self.texts(FILE_DIGESTS, limit)?;
        let modes = self.numbers(FILE_MODES, &[TYPE_INT16], 2)?;
        let flags = self.numbers(FILE_FLAGS, &[TYPE_INT32], 4)?;
        let states = self.numbers(FILE_STATES, &[TYPE_CHAR, TYPE_INT8], 1)?;
        // Packages of the last century have whole paths.
        let whole = if names.is_empty() { self.texts(OLD_FILE_NAMES, limit)? } else { Vec::new() };
        let names = if whole.is_empty() { names } else { whole };
        let is_split = !indexes.is_empty();
        let file = |(position, name)| {
            let directory = if is_split {
                directories.get(index(u32_be(indexes, position * 4)?)).copied()?
            } else {
                b"".as_slice()
            };
            Some(File {
                directory,
                name,
                digest: digests.get(position).copied().unwrap_or_default(),
                mode: u16_be(modes, position * 2),
                flags: u32_be(flags, position * 4).unwrap_or_default(),
                state: states.get(position).copied().unwrap_or(NORMAL),
            })
        };
        names.into_iter().enumerate().map(file).collect()
    }
}
