//! Reads what an OCI runtime says of a container: the hook's state, and the bundle's `config.json`.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    path::{Component, Path, PathBuf},
};

use plimsoll_policy::WorkloadFacts;
use serde::{Deserialize, Serialize};

/// The largest `config.json` that is read; runtimes write some tens of kilobytes.
const MAX_CONFIG: u64 = 4 << 20;

/// What the names of all of Plimsoll's annotations begin with.
pub const OWN: &str = "dev.plimsoll.";
/// The image's manifest digest, `sha256:...`.
pub const DIGEST: &str = "dev.plimsoll.image.digest";
/// The container's namespace.
pub const NAMESPACE: &str = "dev.plimsoll.namespace";
/// The name of its pod.
pub const POD: &str = "dev.plimsoll.pod";
/// The pod's number, which no other pod has ever had.
pub const POD_UID: &str = "dev.plimsoll.pod.uid";
/// Its name in the pod.
pub const CONTAINER: &str = "dev.plimsoll.container";
/// What follows the prefix is the label's name.
pub const LABEL_PREFIX: &str = "dev.plimsoll.label/";
/// The reference the image was pulled by.
const REFERENCES: [&str; 3] =
    ["dev.plimsoll.image.reference", "io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName"];
const NAMESPACES: [&str; 2] = [NAMESPACE, "io.kubernetes.cri.sandbox-namespace"];

/// Whether a text can be a container's id, and so a file's name.
pub fn is_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
    !text.is_empty() && text.len() <= 255 && !text.starts_with('.') && text.bytes().all(plain)
}

/// The state a runtime passes to its hooks, as far as it is needed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OciState {
    /// The container's id.
    pub id: String,
    /// Its first process, seen from the runtime; absent once it is stopped.
    #[serde(default)]
    pub pid: u32,
    /// The directory with `config.json`.
    pub bundle: PathBuf,
    /// Copied from `config.json`.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// Why a bundle cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    #[error("cannot read `{path}`")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{0}` is larger than any runtime writes")]
    TooLarge(PathBuf),
    #[error("`{path}` is not an OCI configuration")]
    Parse {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("container id {0:?} is not one a runtime accepts")]
    Id(String),
    #[error("`{0}` is not an absolute path without `..`")]
    Path(PathBuf),
}

#[derive(Deserialize)]
struct Config {
    root: Root,
}

#[derive(Deserialize)]
struct Root {
    path: PathBuf,
}

impl OciState {
    /// Refuses what later becomes a file name or a path outside what it should name.
    pub fn validate(&self) -> Result<(), SpecError> {
        if !is_id(&self.id) {
            return Err(SpecError::Id(self.id.chars().take(255).collect()));
        }
        clean(&self.bundle).then_some(()).ok_or_else(|| SpecError::Path(self.bundle.clone()))
    }

    /// The container's root directory, in the runtime's mount namespace. `host` is where that namespace's root is seen.
    pub fn root(&self, host: &Path) -> Result<PathBuf, SpecError> {
        let text = self.config(host)?;
        let parsed = serde_json::from_slice(&text);
        let config: Config = parsed.map_err(|source| SpecError::Parse { path: self.config_path(host), source })?;
        let root = self.bundle.join(config.root.path);
        if clean(&root) { Ok(root) } else { Err(SpecError::Path(root)) }
    }

    /// The text of the container's `config.json`.
    pub fn config(&self, host: &Path) -> Result<Vec<u8>, SpecError> {
        let path = self.config_path(host);
        let file = File::open(&path).map_err(|source| SpecError::Read { path: path.clone(), source })?;
        let mut text = Vec::new();
        file.take(MAX_CONFIG + 1)
            .read_to_end(&mut text)
            .map_err(|source| SpecError::Read { path: path.clone(), source })?;
        if text.len() as u64 > MAX_CONFIG {
            return Err(SpecError::TooLarge(path));
        }
        Ok(text)
    }

    fn config_path(&self, host: &Path) -> PathBuf {
        within(host, &self.bundle).join("config.json")
    }

    /// Takes labels over, as if the runtime had told them.
    pub fn add_labels(&mut self, labels: &BTreeMap<String, String>) {
        let labels = labels.iter().map(|(key, value)| (format!("{LABEL_PREFIX}{key}"), value.clone()));
        self.annotations.extend(labels);
    }

    /// What policies select workloads by.
    pub fn facts(&self) -> WorkloadFacts {
        let first = |names: &[&str]| names.iter().find_map(|name| self.annotations.get(*name)).cloned();
        let labels = self
            .annotations
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(LABEL_PREFIX)?.to_owned(), value.clone())));
        WorkloadFacts {
            image_digest: first(&[DIGEST]),
            image_reference: first(&REFERENCES),
            labels: labels.collect(),
            namespace: first(&NAMESPACES),
        }
    }
}

fn clean(path: &Path) -> bool {
    path.is_absolute() && !path.components().any(|part| part == Component::ParentDir)
}

/// An absolute path of the runtime's, seen from here.
pub fn within(host: &Path, path: &Path) -> PathBuf {
    host.join(path.strip_prefix("/").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(id: &str, bundle: &str) -> OciState {
        OciState { id: id.to_owned(), pid: 1, bundle: bundle.into(), annotations: BTreeMap::new() }
    }

    #[test]
    fn hostile_ids_and_bundles_are_refused() {
        for id in ["", "..", ".hidden", "a/b", "a b", "é", &"x".repeat(256)] {
            assert!(state(id, "/b").validate().is_err(), "{id:?} was accepted");
        }
        for bundle in ["b", "/b/../etc", ""] {
            assert!(state("a", bundle).validate().is_err(), "{bundle:?} was accepted");
        }
        state("a-B_1.2+3", "/run/b").validate().unwrap();
    }

    #[test]
    fn the_root_is_relative_to_the_bundle() {
        let host = tempfile::tempdir().unwrap();
        std::fs::create_dir(host.path().join("b")).unwrap();
        let config = host.path().join("b/config.json");
        std::fs::write(&config, r#"{"ociVersion":"1.0.2","root":{"path":"rootfs"}}"#).unwrap();
        assert_eq!(state("a", "/b").root(host.path()).unwrap(), Path::new("/b/rootfs"));
        std::fs::write(&config, r#"{"root":{"path":"../../etc"}}"#).unwrap();
        assert!(matches!(state("a", "/b").root(host.path()), Err(SpecError::Path(_))));
        std::fs::write(&config, r#"{"root":"#).unwrap();
        let error = state("a", "/b").root(host.path()).unwrap_err();
        assert!(error.to_string().contains("config.json"), "{error}");
    }

    #[test]
    fn annotations_become_facts() {
        let mut state = state("a", "/b");
        for (name, value) in
            [(DIGEST, "sha256:00"), ("io.kubernetes.cri.image-name", "r/i:1"), ("dev.plimsoll.label/app", "web")]
        {
            state.annotations.insert(name.to_owned(), value.to_owned());
        }
        let facts = state.facts();
        assert_eq!(facts.image_digest.as_deref(), Some("sha256:00"));
        assert_eq!(facts.image_reference.as_deref(), Some("r/i:1"));
        assert_eq!(facts.labels.get("app").map(String::as_str), Some("web"));
        state.add_labels(&[("tier".to_owned(), "front".to_owned())].into());
        assert_eq!(state.facts().labels.get("tier").map(String::as_str), Some("front"));
    }
}
