//! How much of an untrusted document is read before it is refused.

/// Bounds on one document or one package database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the document. Checked before anything is parsed.
    pub max_bytes: usize,
    /// Nesting of JSON arrays and objects. Values above [`Limits::DEEPEST`] count as that.
    pub max_depth: usize,
    /// File entries.
    pub max_files: usize,
    /// Package entries.
    pub max_packages: usize,
}

impl Limits {
    /// `serde_json` refuses to recurse deeper than 128; staying below keeps the refusal, and its wording, ours.
    pub const DEEPEST: usize = 120;
}

impl Limits {
    /// The same, with fewer files allowed if a document has no room for them: an entry with a digest takes more than 128
    /// bytes. Without this, a document of the shortest entries there can be would take several times its size in memory.
    pub(crate) fn within(self, bytes: usize) -> Self {
        Self { max_files: self.max_files.min(BARE_FILES + bytes / ENTRY), ..self }
    }
}

/// Files that may be listed with nothing but their names.
const BARE_FILES: usize = 100_000;
/// Bytes of a file entry that says anything more.
const ENTRY: usize = 128;

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 64 << 20, max_depth: 64, max_files: 1_000_000, max_packages: 200_000 }
    }
}
