//! SBOMs that an image carries inside itself. They are as authentic as the image's digest makes them, and no more.

use plimsoll_sbom::{Listing, Node, display_path};

use crate::{Files, error::RootfsError, packages::Source};

/// Directories in which builders leave SBOMs, one for each package or one for all.
const DIRECTORIES: [&str; 4] = ["var/lib/db/sbom", "usr/share/sbom", "usr/share/sboms", "usr/local/share/sbom"];
const ENDINGS: [&str; 6] = [".json", ".spdx", ".cdx", ".xml", ".yaml", ".yml"];
/// Documents of one image.
const MAX_DOCUMENTS: usize = 10_000;

/// An SBOM found inside an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddedSbom {
    /// Where, for people.
    pub path: String,
    /// The document, unread.
    pub bytes: Vec<u8>,
}

/// Every SBOM in the usual directories, sorted by path; `max_bytes` bounds all of them together.
pub fn embedded_sboms(
    files: &mut dyn Files,
    listing: &Listing,
    max_bytes: u64,
) -> Result<Vec<EmbeddedSbom>, RootfsError> {
    let mut paths = Vec::new();
    for directory in DIRECTORIES.iter().filter_map(|directory| listing.resolve(directory)) {
        let documents = listing.names(&directory).filter(|(name, node)| {
            matches!(node, Node::File(_)) && ENDINGS.iter().any(|ending| name.ends_with(ending.as_bytes()))
        });
        paths.extend(documents.map(|(name, _)| [directory.as_slice(), b"/", name].concat()));
    }
    paths.sort();
    paths.dedup();
    if paths.len() > MAX_DOCUMENTS {
        return Err(RootfsError::TooManySboms { limit: MAX_DOCUMENTS });
    }
    let mut source = Source::new(files, listing, max_bytes);
    let mut found = Vec::new();
    for path in paths {
        if let Some(bytes) = source.file(&path)? {
            found.push(EmbeddedSbom { path: display_path(&path), bytes });
        }
    }
    Ok(found)
}
