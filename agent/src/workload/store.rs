//! Remembers admitted workloads, so that an agent that starts again can explain and switch them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use plimsoll_abi::Label;
use serde::{Deserialize, Serialize};

use super::{mounts::Overlay, spec::OciState};
use crate::enforcer::Mounted;

/// A workload that cannot be remembered or recalled.
#[derive(Debug, thiserror::Error)]
#[error("cannot use `{path}`")]
pub struct StoreError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// What is remembered of one workload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    pub(super) state: OciState,
    pub(super) overlay: Overlay,
    #[serde(default)]
    pub(super) volumes: Vec<Mounted>,
    pub(super) cgroup: u64,
    pub(super) label: SavedLabel,
}

/// A [`Label`] on disk.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct SavedLabel {
    slot: u32,
    incarnation: u32,
}

impl From<Label> for SavedLabel {
    fn from(Label { slot, incarnation }: Label) -> Self {
        Self { slot, incarnation }
    }
}

impl From<SavedLabel> for Label {
    fn from(SavedLabel { slot, incarnation }: SavedLabel) -> Self {
        Self { slot, incarnation }
    }
}

/// One file per workload.
#[derive(Debug)]
pub(super) struct Store {
    directory: PathBuf,
}

impl Store {
    pub(super) fn open(state: &Path) -> Result<Self, StoreError> {
        let directory = state.join("workloads");
        fs::create_dir_all(&directory).map_err(|source| StoreError { path: directory.clone(), source })?;
        Ok(Self { directory })
    }

    /// Writes a file beside the final one and renames it: it is there whole or not at all.
    pub(super) fn save(&self, saved: &Saved) -> Result<(), StoreError> {
        let path = self.path(&saved.state.id);
        let draft = path.with_extension("draft");
        let failed = |source| StoreError { path: path.clone(), source };
        let text = serde_json::to_vec(saved).map_err(|error| failed(error.into()))?;
        fs::write(&draft, text).and_then(|()| fs::rename(&draft, &path)).map_err(failed)
    }

    pub(super) fn remove(&self, id: &str) -> Result<(), StoreError> {
        let path = self.path(id);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StoreError { path, source }),
            _ => Ok(()),
        }
    }

    /// All that can be read; a file that cannot is reported and left where it is.
    pub(super) fn load(&self) -> Result<Vec<Saved>, StoreError> {
        let failed = |source| StoreError { path: self.directory.clone(), source };
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match fs::read(&path).and_then(|text| Ok(serde_json::from_slice(&text)?)) {
                Ok(saved) => all.push(saved),
                Err(error) => tracing::error!(path = %path.display(), %error, "a remembered workload cannot be read"),
            }
        }
        Ok(all)
    }

    /// Ids were checked on admission: they hold no separator and do not start with a dot.
    fn path(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }
}
