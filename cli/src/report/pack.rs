//! The parts of a pack, and the directory they are written to. The same parts give the same bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs, io,
    path::Path,
};

use anyhow::{Context as _, ensure};
use plimsoll_policy::Limits;
use plimsoll_sbom::Sha256;
use serde_json::json;

use super::{evidence::Results, facts::Facts, index, mapping::Mapping};
use crate::policy::read;

/// Names every part with its SHA-256, in the form of `sha256sum`.
const MANIFEST: &str = "MANIFEST.sha256";

pub(super) struct Pack {
    /// By their path in the pack.
    parts: BTreeMap<String, Vec<u8>>,
}

impl Pack {
    pub(super) fn new(facts: &Facts, mappings: &[Mapping], results: &[Results<'_>]) -> anyhow::Result<Self> {
        let mut pack = Self { parts: BTreeMap::new() };
        let mut places = BTreeMap::new();
        let mut copied = BTreeSet::new();
        for policy in &facts.policies {
            // A name of a policy is fit for a file; the first one of a document names it.
            let part = format!("policies/{}.yaml", policy.name);
            let file = &policy.place.file;
            if copied.insert(file) {
                let text = read(Path::new(file), Limits::default().max_bytes);
                pack.parts.insert(part.clone(), text.with_context(|| format!("cannot read `{file}`"))?);
                places.insert(file, part);
            }
        }
        for mapping in mappings {
            pack.json(&format!("mappings/{}.json", mapping.id), mapping)?;
        }
        let policies: Vec<_> = facts
            .policies
            .iter()
            .map(|policy| {
                json!({
                    "name": policy.name, "mode": policy.mode, "evidence": policy.evidence,
                    "generation": policy.generation.to_string(), "part": places.get(&policy.place.file),
                })
            })
            .collect();
        let verdicts: Vec<_> = facts
            .verdicts
            .iter()
            .map(|([verdict, reason, hook], count)| {
                json!({ "verdict": verdict, "reason": reason, "hook": hook, "count": count })
            })
            .collect();
        pack.json("verdicts.json", &json!({ "by_reason": verdicts, "by_namespace": facts.namespaces }))?;
        pack.json("nodes.json", &facts.reading)?;
        pack.json("index.json", &json!({ "policies": policies, "results": results }))?;
        pack.parts.insert("index.md".to_owned(), index::markdown(facts, mappings, results)?.into_bytes());
        Ok(pack)
    }

    fn json(&mut self, part: &str, value: &impl serde::Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(value)? + "\n";
        self.parts.insert(part.to_owned(), text.into_bytes());
        Ok(())
    }

    fn manifest(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        for (part, bytes) in &self.parts {
            writeln!(text, "{}  {part}", Sha256::of(bytes).hex())?;
        }
        Ok(text)
    }

    /// Writes everything, the manifest last; gives the manifest's own digest.
    pub(super) fn write(&self, directory: &Path) -> anyhow::Result<Sha256> {
        let unwritable = || format!("cannot write to `{}`", directory.display());
        fs::create_dir_all(directory).with_context(unwritable)?;
        let is_empty = fs::read_dir(directory).with_context(unwritable)?.next().is_none();
        ensure!(is_empty, "`{}` is not empty; a pack gets a directory of its own", directory.display());
        for (part, bytes) in &self.parts {
            write(&directory.join(part), bytes).with_context(unwritable)?;
        }
        let manifest = self.manifest()?;
        write(&directory.join(MANIFEST), manifest.as_bytes()).with_context(unwritable)?;
        Ok(Sha256::of(manifest.as_bytes()))
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(path, bytes)
}
