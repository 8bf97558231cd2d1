//! The image's files joined with what was observed. What is not known stays unknown.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use plimsoll_sbom::{ExecKind, InodeKey, Inventory, InventoryFile};
use serde::Serialize;

use super::observed::{Facts, Observed};
use crate::events::{Reading, printable};

/// How much the answer is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    /// Every execution of the window is among the events.
    Complete,
    /// Some may be missing.
    Incomplete,
    /// Allowed executions were not reported at all.
    Unknown,
}

/// What a file did in the window. The order is that of packages: one file that ran makes a package one that ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Use {
    Executed,
    Loaded,
    Refused,
    /// Nobody would have told.
    Unknown,
    /// Not among the events, and some events may be missing.
    NotSeen,
    /// Not executed, and every execution is known.
    Never,
}

#[derive(Debug, Serialize)]
pub(super) struct Usage<'a> {
    pub(super) image: &'a str,
    pub(super) sbom_digest: String,
    #[serde(flatten)]
    pub(super) reading: &'a Reading,
    pub(super) answer: Answer,
    /// Why it is not complete.
    pub(super) because: Vec<String>,
    pub(super) allowed_executions: u64,
    pub(super) packages: Vec<Package<'a>>,
    pub(super) files: Vec<File<'a>>,
}

#[derive(Debug, Serialize)]
pub(super) struct Package<'a> {
    /// Empty for files that no package owns.
    pub(super) name: &'a str,
    pub(super) version: &'a str,
    pub(super) purl: Option<&'a str>,
    #[serde(rename = "use")]
    pub(super) usage: Use,
    /// Files by what they did.
    pub(super) counts: BTreeMap<&'static str, u64>,
    pub(super) facts: Facts,
}

#[derive(Debug, Serialize)]
pub(super) struct File<'a> {
    #[serde(flatten)]
    pub(super) entry: &'a InventoryFile,
    #[serde(rename = "use")]
    pub(super) usage: Use,
    pub(super) facts: Facts,
}

impl Answer {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Incomplete => "INCOMPLETE",
            Self::Unknown => "UNKNOWN",
        }
    }
}

impl Use {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Executed => "executed",
            Self::Loaded => "loaded",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::NotSeen => "not seen",
            Self::Never => "never",
        }
    }

    fn of(file: &InventoryFile, facts: &Facts, answer: Answer) -> Self {
        match (facts, answer) {
            (Facts { executed, .. }, _) if executed.count > 0 => Self::Executed,
            (Facts { loaded, .. }, _) if loaded.count > 0 => Self::Loaded,
            (Facts { refused, .. }, _) if refused.count > 0 => Self::Refused,
            (_, Answer::Unknown) => Self::Unknown,
            _ if is_loaded_unseen(file) => Self::Unknown,
            (_, Answer::Incomplete) => Self::NotSeen,
            (_, Answer::Complete) => Self::Never,
        }
    }
}

/// Ends of the names of files that are loaded, whatever their mode.
const LIBRARIES: [&str; 2] = [".so", ".node"];

/// Whether the file's use would leave no event: a library, by its mode or its name.
fn is_loaded_unseen(file: &InventoryFile) -> bool {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    let is_library = name.contains(".so.") || LIBRARIES.iter().any(|end| name.ends_with(end));
    file.kind == ExecKind::Elf && (file.mode & 0o111 == 0 || is_library)
}

impl<'a> Usage<'a> {
    pub(super) fn new(inventory: &'a Inventory, observed: &'a Observed, reading: &'a Reading) -> Self {
        let known: BTreeSet<&str> = inventory.files.iter().map(|file| &*file.path).collect();
        let elsewhere = observed.files.keys().filter(|path| !known.contains(path.as_str())).count();
        let because = because(observed, reading, elsewhere);
        let answer = match (observed.allowed_executions, because.is_empty()) {
            (0, _) => Answer::Unknown,
            (_, false) => Answer::Incomplete,
            (_, true) => Answer::Complete,
        };
        // Names of one file are one file: events name the one that was used.
        let mut by_inode: HashMap<InodeKey, Facts> = HashMap::new();
        for file in &inventory.files {
            let facts = observed.files.get(&file.path).copied().unwrap_or_default();
            let all = by_inode.entry(file.inode).or_default();
            *all = all.plus(facts);
        }
        let file = |file: &'a InventoryFile| {
            let facts = by_inode.get(&file.inode).copied().unwrap_or_default();
            File { entry: file, usage: Use::of(file, &facts, answer), facts }
        };
        let files: Vec<_> = inventory.files.iter().map(file).collect();
        Self {
            image: &observed.image,
            sbom_digest: inventory.sbom_digest.to_string(),
            reading,
            answer,
            because,
            allowed_executions: observed.allowed_executions,
            packages: packages(&files),
            files,
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.answer == Answer::Complete
    }
}

fn because(observed: &Observed, reading: &Reading, elsewhere: usize) -> Vec<String> {
    let mut because = Vec::new();
    if observed.allowed_executions == 0 {
        because.push(
            "no allowed execution of the image was reported; agents report them with `reportExecutions: true`"
                .to_owned(),
        );
    } else {
        for node in observed.quiet_nodes() {
            because
                .push(format!("node {}: the image ran there, and no allowed execution was reported", printable(node)));
        }
    }
    if elsewhere > 0 {
        because.push(format!(
            "{elsewhere} paths of the image's files are not in this root filesystem; is it the same image?"
        ));
    }
    if observed.nameless > 0 {
        because.push(format!("{} events do not give the whole path of their file", observed.nameless));
    }
    because.extend(reading.doubts.iter().cloned());
    because
}

fn packages<'a>(files: &[File<'a>]) -> Vec<Package<'a>> {
    let mut packages: BTreeMap<(&str, &str), Package<'a>> = BTreeMap::new();
    // A file with several names is counted once for each package that has one of them.
    let mut counted: BTreeSet<(&str, &str, InodeKey)> = BTreeSet::new();
    for file in files {
        let package = file.entry.package.as_ref();
        let (name, version) = package.map_or(("", ""), |package| (&*package.name, &*package.version));
        let entry = packages.entry((name, version)).or_insert_with(|| Package {
            name,
            version,
            purl: package.and_then(|package| package.purl.as_deref()),
            usage: file.usage,
            counts: BTreeMap::new(),
            facts: Facts::default(),
        });
        if !counted.insert((name, version, file.entry.inode)) {
            continue;
        }
        entry.usage = entry.usage.min(file.usage);
        *entry.counts.entry(file.usage.name()).or_default() += 1;
        entry.facts = entry.facts.plus(file.facts);
    }
    packages.into_values().collect()
}
