//! Which package contains which file, where both are named by ids and either may come first.

use std::{borrow::Cow, collections::HashMap};

use super::{assembly::Assembly, error::SbomError};

/// Ids seen, and edges whose ends are not both known yet.
pub(super) struct Links<'a> {
    packages: HashMap<Cow<'a, str>, usize>,
    files: HashMap<Cow<'a, str>, usize>,
    open: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    limit: usize,
}

impl<'a> Links<'a> {
    /// Takes in at most `limit` edges whose ends come later.
    pub(super) fn new(limit: usize) -> Self {
        Self { packages: HashMap::new(), files: HashMap::new(), open: Vec::new(), limit }
    }

    /// The first element of an id counts.
    pub(super) fn package(&mut self, id: Cow<'a, str>, index: usize) {
        self.packages.entry(id).or_insert(index);
    }

    /// As [`Links::package`].
    pub(super) fn file(&mut self, id: Cow<'a, str>, index: usize) {
        self.files.entry(id).or_insert(index);
    }

    /// Notes that `package` contains `file`. What turns out to be anything else is of no interest.
    pub(super) fn contain(
        &mut self,
        assembly: &mut Assembly,
        package: Cow<'a, str>,
        file: Cow<'a, str>,
    ) -> Result<(), SbomError> {
        if let (Some(&package), Some(&file)) = (self.packages.get(&package), self.files.get(&file)) {
            assembly.contain(package, file);
            return Ok(());
        }
        if self.open.len() >= self.limit {
            return Err(SbomError::TooMany { what: "relationships", limit: self.limit });
        }
        self.open.push((package, file));
        Ok(())
    }

    /// Ties what could not be tied before.
    pub(super) fn finish(self, assembly: &mut Assembly) {
        for (package, file) in &self.open {
            if let (Some(&package), Some(&file)) = (self.packages.get(package), self.files.get(file)) {
                assembly.contain(package, file);
            }
        }
    }
}
