//! One stored event, as far as a verdict depends on it. Text is borrowed from the line.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
pub(super) struct Line<'a> {
    #[serde(borrow)]
    pub(super) hook: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) verdict: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) reason: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) file: Option<FileOf<'a>>,
    #[serde(borrow, default)]
    pub(super) package: Option<Package<'a>>,
    #[serde(borrow, default)]
    pub(super) evidence: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) image: Option<Image<'a>>,
    /// Many events share it: read once for all that have the same text.
    #[serde(borrow, default)]
    pub(super) workload: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) network: Option<Network<'a>>,
    #[serde(borrow, default)]
    pub(super) operation: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) process: Option<Process<'a>>,
}

#[derive(Default, Deserialize)]
pub(super) struct FileOf<'a> {
    #[serde(borrow, default)]
    pub(super) path: Cow<'a, str>,
    #[serde(default)]
    pub(super) path_is_name_only: bool,
    #[serde(borrow, default)]
    pub(super) origin: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) sha256: Cow<'a, str>,
}

#[derive(Default, Deserialize)]
pub(super) struct Package<'a> {
    #[serde(borrow, default)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) version: Cow<'a, str>,
}

#[derive(Default, Deserialize)]
pub(super) struct Image<'a> {
    #[serde(borrow, default)]
    pub(super) digest: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) reference: Cow<'a, str>,
}

#[derive(Deserialize)]
pub(super) struct Network<'a> {
    #[serde(borrow)]
    pub(super) address: Cow<'a, str>,
    pub(super) port: u16,
    #[serde(borrow)]
    pub(super) protocol: Cow<'a, str>,
}

#[derive(Default, Deserialize)]
pub(super) struct Process<'a> {
    #[serde(borrow, default)]
    pub(super) comm: Cow<'a, str>,
}

/// What policies select workloads by.
#[derive(Default, Deserialize)]
pub(super) struct Workload {
    #[serde(default)]
    pub(super) id: String,
    #[serde(default)]
    pub(super) namespace: String,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
}
