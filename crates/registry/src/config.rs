use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

/// Which registries are asked, and how.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// For a registry (`registry.example`), others that have the same repositories, asked first and in this order.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Registries (`host:port`) that are spoken to without TLS. Loopback is too, unless `ca` is given.
    pub insecure: Vec<String>,
    /// A docker `config.json` with logins and credential helpers.
    pub credentials: Option<PathBuf>,
    /// Certificate authorities in PEM, beside the system's.
    pub ca: Option<PathBuf>,
    /// Directory where documents are kept by digest.
    pub cache: Option<PathBuf>,
    /// Bytes kept there.
    pub cache_bytes: u64,
    /// Whether nothing is asked of any registry, and only the cache is used.
    pub offline: bool,
    /// Seconds for one image, all requests together.
    pub timeout_seconds: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mirrors: BTreeMap::new(),
            insecure: Vec::new(),
            credentials: None,
            ca: None,
            cache: None,
            cache_bytes: 1 << 30,
            offline: false,
            timeout_seconds: 30,
        }
    }
}
