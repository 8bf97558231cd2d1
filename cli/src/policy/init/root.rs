//! Reading files of an image by any of their names.

use std::{fs::File, io::Read as _};

use anyhow::Context as _;
use plimsoll_rootfs::{Files as _, TreeFiles};
use plimsoll_sbom::{ExecKind, Listing, Node, display_path};

/// An image's tree, with what opens its files.
pub(super) struct Root<'t> {
    pub(super) listing: &'t Listing,
    pub(super) files: TreeFiles<'t>,
}

impl Root<'_> {
    /// The file's real path, if there is a regular file.
    pub(super) fn resolve(&self, path: &[u8]) -> Option<Vec<u8>> {
        let real = self.listing.resolve(path)?;
        matches!(self.listing.get(&real)?, Node::File(_)).then_some(real)
    }

    /// How the file at a real path would run, if it could.
    pub(super) fn kind(&self, real: &[u8]) -> Option<ExecKind> {
        match self.listing.get(real)? {
            Node::File(file) => file.exec.as_ref().map(|exec| exec.kind),
            _ => None,
        }
    }

    /// Opens the file at a real path.
    pub(super) fn open(&mut self, real: &[u8]) -> anyhow::Result<File> {
        let file = self.files.open(real)?;
        file.with_context(|| format!("`{}` is not in the image", display_path(real)))
    }

    /// The beginning of the file at a real path, at most `limit` bytes.
    pub(super) fn head(&mut self, real: &[u8], limit: u64) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = self.open(real)?;
        file.take(limit)
            .read_to_end(&mut bytes)
            .with_context(|| format!("cannot read `{}`", self.files.locate(real).display()))?;
        Ok(bytes)
    }
}
