//! File rules as the kernel holds them.

use std::collections::BTreeMap;

use plimsoll_abi::{FileFilter, FileKey, FileRule as KernelRule, PathHash, PathKey};

use crate::policy::{FileRule, PathPattern};

/// What the kernel holds of one policy's file rules.
#[derive(Clone, Debug)]
pub struct KernelFiles {
    /// One entry for each path that a rule names or that leads to one.
    pub entries: Vec<(FileKey, KernelRule)>,
    /// The paths among `entries`.
    pub filter: FileFilter,
}

impl KernelFiles {
    /// Hashes the rules' paths with `key`, for list `list`.
    pub(super) fn new(rules: &[FileRule], list: u32, key: &PathKey) -> Self {
        let mut paths: BTreeMap<PathHash, KernelRule> = BTreeMap::new();
        let mut filter = FileFilter::EMPTY;
        for (rule, number) in rules.iter().zip(0_u16..) {
            let (PathPattern::Exact(path) | PathPattern::Below(path)) = &rule.path;
            let prefixes = prefixes(key, path);
            for (depth, prefix) in prefixes.iter().enumerate() {
                filter.insert(depth, prefix.low);
            }
            if let Some((last, above)) = prefixes.split_last() {
                for prefix in above {
                    paths.entry(*prefix).or_default().leads = 1;
                }
                set(paths.entry(*last).or_default(), rule, number);
            }
        }
        let entry = |(path, rule)| (FileKey { path, list, reserved: 0 }, rule);
        Self { entries: paths.into_iter().map(entry).collect(), filter }
    }
}

fn set(entry: &mut KernelRule, rule: &FileRule, number: u16) {
    let decided = rule.deny | rule.allow;
    match rule.path {
        PathPattern::Exact(_) => {
            (entry.exact_denied, entry.exact_decided, entry.exact_rule) = (rule.deny, decided, number);
        }
        PathPattern::Below(_) => {
            (entry.below_denied, entry.below_decided, entry.below_rule) = (rule.deny, decided, number);
        }
    }
}

/// The states of `/`, of its first component, and so on to the whole path.
fn prefixes(key: &PathKey, path: &str) -> Vec<PathHash> {
    let mut states = vec![key.root()];
    for component in path.split('/').filter(|component| !component.is_empty()) {
        let last = states.last().copied().unwrap_or_else(|| key.root());
        states.push(key.step(last, key.component(component.as_bytes())));
    }
    states
}
