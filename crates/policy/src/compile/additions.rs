//! Finding the additions that name a file, without comparing every addition with every file.

use std::collections::{HashMap, HashSet};

use plimsoll_sbom::{Inventory, InventoryFile, Sha256};

use super::{Rule, Warning};
use crate::policy::PathPattern;

/// A rule's number and the content it pins.
type Pin = (u32, Option<Sha256>);

/// The additions by what they name, and which of them have named something.
pub(super) struct Additions<'a> {
    exact: HashMap<&'a str, Vec<Pin>>,
    below: HashMap<&'a str, Vec<Pin>>,
    applied: HashSet<u32>,
    /// For rules that only named files with other content, the first such file.
    near: HashMap<u32, (String, Sha256)>,
}

impl<'a> Additions<'a> {
    pub(super) fn new(rules: &'a [Rule]) -> Self {
        let mut new =
            Self { exact: HashMap::new(), below: HashMap::new(), applied: HashSet::new(), near: HashMap::new() };
        for (rule, id) in rules.iter().zip(0..) {
            let Rule::Addition { path, sha256, .. } = rule else { continue };
            let (index, path) = match path {
                PathPattern::Exact(path) => (&mut new.exact, path),
                PathPattern::Below(directory) => (&mut new.below, directory),
            };
            index.entry(path.as_str()).or_default().push((id, *sha256));
        }
        new
    }

    /// The first addition that allows `file`. A contested file needs one that pins its content.
    pub(super) fn rule_for(&mut self, file: &InventoryFile, contested: bool) -> Option<u32> {
        let mut first: Option<u32> = None;
        let ancestors = file.path.match_indices('/').filter_map(|(end, _)| file.path.get(..end));
        let below = ancestors.filter_map(|directory| self.below.get(directory));
        for (id, pin) in self.exact.get(file.path.as_str()).into_iter().chain(below).flatten() {
            let allowed = match pin {
                Some(pinned) => *pinned == file.sha256,
                None => !contested,
            };
            if allowed {
                self.applied.insert(*id);
                first = Some(first.map_or(*id, |first| first.min(*id)));
            } else {
                self.near.entry(*id).or_insert_with(|| (file.path.clone(), file.sha256));
            }
        }
        first
    }

    /// One warning for each addition that allowed nothing.
    pub(super) fn warnings(&self, rules: &[Rule], inventory: &Inventory) -> Vec<Warning> {
        let unused: Vec<_> = rules.iter().zip(0..).filter(|(_, id)| !self.applied.contains(id)).collect();
        let similar = Similar::find(&unused, inventory);
        let warning = |(rule, id): &(&Rule, u32)| {
            let Rule::Addition { path, place, .. } = rule else { return None };
            Some(match self.near.get(id) {
                Some((path, found)) => Warning::NotPinned { path: path.clone(), place: place.clone(), found: *found },
                None => Warning::NoSuchFile { path: path.to_string(), place: place.clone(), similar: similar.to(path) },
            })
        };
        unused.iter().filter_map(warning).collect()
    }
}

/// Files by their last component, for the additions that found none.
struct Similar<'a>(HashMap<&'a str, &'a str>);

impl<'a> Similar<'a> {
    fn find(unused: &[(&Rule, u32)], inventory: &'a Inventory) -> Self {
        let wanted: HashSet<_> = unused.iter().filter_map(|(rule, _)| exact_name(rule)).collect();
        let files = inventory.files.iter().filter(|_| !wanted.is_empty());
        let named = files.filter_map(|file| Some((last_component(&file.path)?, file.path.as_str())));
        let mut found = HashMap::new();
        for (name, path) in named.filter(|(name, _)| wanted.contains(name)) {
            found.entry(name).or_insert(path);
        }
        Self(found)
    }

    fn to(&self, pattern: &PathPattern) -> Option<String> {
        match pattern {
            PathPattern::Exact(path) => self.0.get(last_component(path)?).map(ToString::to_string),
            PathPattern::Below(_) => None,
        }
    }
}

fn exact_name(rule: &Rule) -> Option<&str> {
    match rule {
        Rule::Addition { path: PathPattern::Exact(path), .. } => last_component(path),
        _ => None,
    }
}

fn last_component(path: &str) -> Option<&str> {
    path.rsplit('/').next()
}
