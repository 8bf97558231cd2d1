//! Mappings from controls to evidence: data, in policies/compliance. JSON, so that they are not taken for policies.

use std::{fs::File, io::Read as _, path::Path};

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};

use super::evidence::Evidence;

/// Those that come with the program.
const SHIPPED: [&str; 3] = [
    include_str!("../../../policies/compliance/nist-sp-800-190.json"),
    include_str!("../../../policies/compliance/pci-dss-4.0.json"),
    include_str!("../../../policies/compliance/cis-kubernetes.json"),
];
/// Bytes of a mapping.
const MAX_BYTES: u64 = 1 << 20;

/// One catalogue of controls, as far as Plimsoll has to do with it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mapping {
    /// Also a file's name in the pack: lower-case letters, digits, `-` and `.`.
    pub(super) id: String,
    pub(super) title: String,
    /// What the mapping is, and is not.
    pub(super) scope: String,
    pub(super) controls: Vec<Control>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Control {
    pub(super) id: String,
    /// In own words; the catalogue has the binding ones.
    pub(super) title: String,
    /// What Plimsoll does for it.
    pub(super) supports: String,
    /// What shows that it does.
    pub(super) evidence: Vec<Evidence>,
    /// What it does not cover.
    pub(super) limits: String,
}

/// The shipped mappings of these ids, or all if none is named and no file is given; then those in files.
pub(super) fn load(ids: &[String], files: &[impl AsRef<Path>]) -> anyhow::Result<Vec<Mapping>> {
    let shipped: Vec<Mapping> =
        SHIPPED.iter().map(|text| parse(text).context("a shipped mapping is wrong")).collect::<Result<_, _>>()?;
    for id in ids {
        if !shipped.iter().any(|mapping| mapping.id == *id) {
            let known: Vec<_> = shipped.iter().map(|mapping| &*mapping.id).collect();
            bail!("there is no mapping `{id}`; these are: {}", known.join(", "));
        }
    }
    let is_wanted = |mapping: &Mapping| (ids.is_empty() && files.is_empty()) || ids.contains(&mapping.id);
    let mut mappings: Vec<_> = shipped.into_iter().filter(is_wanted).collect();
    for file in files {
        let file = file.as_ref();
        let unusable = || format!("cannot use the mapping `{}`", file.display());
        let mut text = String::new();
        File::open(file).with_context(unusable)?.take(MAX_BYTES).read_to_string(&mut text).with_context(unusable)?;
        let mapping = parse(&text).with_context(unusable)?;
        ensure!(
            mappings.iter().all(|other| other.id != mapping.id),
            "`{}`: a second mapping `{}`",
            file.display(),
            mapping.id
        );
        mappings.push(mapping);
    }
    Ok(mappings)
}

fn parse(text: &str) -> anyhow::Result<Mapping> {
    let mapping: Mapping = serde_json::from_str(text)?;
    let is_name = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || "-.".contains(char);
    let id = &mapping.id;
    ensure!(
        !id.is_empty() && !id.starts_with('.') && id.chars().all(is_name),
        "`{id}` is no id: write lower-case letters, digits, `-` and `.`"
    );
    for control in &mapping.controls {
        let texts = [&control.title, &control.supports, &control.limits];
        ensure!(
            texts.iter().all(|text| !text.trim().is_empty()) && !control.evidence.is_empty(),
            "control {}: `title`, `supports`, `limits` and `evidence` must all say something",
            control.id
        );
    }
    Ok(mapping)
}
