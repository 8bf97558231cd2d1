//! Builds a [`super::Sbom`] entry by entry, within the caller's limits.

use super::{RejectedPaths, SbomError, SbomFile, SbomPackage};
use crate::{
    digest::Digests,
    limits::Limits,
    path::{display_path, normalise},
};

/// Rejected paths kept word by word.
const MAX_EXAMPLES: usize = 5;

pub(super) struct Assembly {
    limits: Limits,
    pub(super) packages: Vec<SbomPackage>,
    pub(super) files: Vec<SbomFile>,
    pub(super) rejected: RejectedPaths,
}

impl Assembly {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { limits: *limits, packages: Vec::new(), files: Vec::new(), rejected: RejectedPaths::default() }
    }

    /// Returns the package's index.
    pub(super) fn add_package(&mut self, package: SbomPackage) -> Result<usize, SbomError> {
        if self.packages.len() >= self.limits.max_packages {
            return Err(SbomError::TooMany { what: "packages", limit: self.limits.max_packages });
        }
        self.packages.push(package);
        Ok(self.packages.len() - 1)
    }

    /// Returns the file's index, or nothing if its path is empty (the root) or was rejected.
    pub(super) fn add_file(
        &mut self,
        path: &str,
        digests: Digests,
        package: Option<usize>,
    ) -> Result<Option<usize>, SbomError> {
        if self.files.len() + self.rejected.count >= self.limits.max_files {
            return Err(SbomError::TooMany { what: "files", limit: self.limits.max_files });
        }
        let normal = normalise(path.as_bytes()).ok().and_then(|path| String::from_utf8(path).ok());
        let Some(path_in_image) = normal else {
            self.reject(path);
            return Ok(None);
        };
        if path_in_image.is_empty() {
            return Ok(None);
        }
        self.files.push(SbomFile { path: path_in_image, digests, package });
        Ok(Some(self.files.len() - 1))
    }

    /// Says that `package` contains `file`; the first to say so is kept.
    pub(super) fn contain(&mut self, package: usize, file: usize) {
        if let Some(file) = self.files.get_mut(file) {
            file.package.get_or_insert(package);
        }
    }

    fn reject(&mut self, path: &str) {
        self.rejected.count += 1;
        if self.rejected.examples.len() < MAX_EXAMPLES {
            self.rejected.examples.push(display_path(path.as_bytes()).chars().take(200).collect());
        }
    }
}

/// Collects one entry's digests; `path` is the JSON path of the entry, for errors.
pub(super) fn digests<'a>(
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
    path: impl Fn() -> String,
) -> Result<Digests, SbomError> {
    let mut digests = Digests::default();
    for (algorithm, value) in pairs {
        digests.add(algorithm, value).map_err(|source| SbomError::Digest { path: path(), source })?;
    }
    Ok(digests)
}
