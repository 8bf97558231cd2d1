//! The policy and its cases as text.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
};

use plimsoll_policy::{AnonymousExec, Mode, compiling_packages, scalar};
use plimsoll_sbom::{EvidenceClass, ExecKind, Gap, Inventory, InventoryFile, UndeclaredPackage, display_path};

use super::closure::{Closure, Member, Role};
use crate::{
    output::printable,
    policy::draft::{Addition, Draft, Noted, Selector},
};

/// Directories and packages named in comments.
const SHOWN: usize = 30;
/// Libraries that the cases load; all that is named in `allow` is tried besides.
const LIBRARIES: usize = 12;

/// Everything that the policy is made from.
pub(super) struct Starting<'a> {
    pub(super) name: String,
    pub(super) selector: Selector,
    pub(super) mode: Mode,
    pub(super) inventory: &'a Inventory,
    pub(super) closure: &'a Closure,
    /// Packages that the SBOM does not list.
    pub(super) undeclared: Vec<UndeclaredPackage>,
}

/// A file of the closure that the policy does not allow.
pub(super) struct Refusal {
    path: String,
    why: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.why)
    }
}

/// A file of the closure.
struct Needed<'a> {
    file: &'a InventoryFile,
    member: &'a Member,
}

impl Needed<'_> {
    /// Whether somebody but the layer itself stands behind it.
    fn has_evidence(&self) -> bool {
        self.file.evidence.is_some_and(|class| class > EvidenceClass::LayerOnly)
    }
}

impl Starting<'_> {
    /// The policy, and which files of the closure it does not allow, with the reason.
    pub(super) fn policy(&self) -> (String, Vec<Refusal>) {
        let needed = self.needed();
        let (mut allow, mut refused) = (Vec::new(), Vec::new());
        for one in needed.iter().filter(|one| !one.has_evidence()) {
            match addition(one) {
                Ok(addition) => allow.push(addition),
                Err(reason) => refused.push(reason),
            }
        }
        let draft = Draft {
            about: self.about(&needed, &refused),
            name: self.name.clone(),
            selector: self.selector.clone(),
            mode: Noted { value: self.mode, notes: self.mode_notes() },
            evidence: Some(Noted {
                value: evidence(&needed),
                notes: vec![
                    "The strongest that still covers what the entrypoint needs, but for what `allow` names.".into(),
                ],
            }),
            anonymous_exec: Some(self.anonymous_exec()),
            allow,
            files: Vec::new(),
            network: None,
            capabilities: None,
            after: self.gaps(&needed),
        };
        (draft.to_string(), refused)
    }

    fn mode_notes(&self) -> Vec<String> {
        match self.mode {
            Mode::Monitor => vec!["Reports only. Enforce, once nothing is reported that must run.".to_owned()],
            Mode::Enforce => Vec::new(),
        }
    }

    fn needed(&self) -> Vec<Needed<'_>> {
        let by_path: BTreeMap<&str, &InventoryFile> =
            self.inventory.files.iter().map(|file| (file.path.as_str(), file)).collect();
        let found = self.closure.files.iter().filter_map(|(path, member)| {
            let file = by_path.get(display_path(path).as_str())?;
            Some(Needed { file, member })
        });
        found.collect()
    }

    fn about(&self, needed: &[Needed<'_>], refused: &[Refusal]) -> Vec<String> {
        let started = needed.iter().filter(|one| one.member.role == Role::Entrypoint);
        let started: Vec<_> = started.map(|one| shown(&one.file.path)).collect();
        let mut lines = vec![
            format!("A policy to start from, made from the SBOM {} and the image's files.", self.inventory.sbom_digest),
            format!("The container starts {}. With all that this needs to start:", started.join(", ")),
        ];
        let count = |class: Option<EvidenceClass>| needed.iter().filter(|one| one.file.evidence == class).count();
        for class in EvidenceClass::ALL.into_iter().rev().map(Some).chain([None]) {
            let files = count(class);
            if files > 0 {
                lines.push(format!("  {}: {}", class.map_or("mismatch", EvidenceClass::name), counted(files)));
            }
        }
        lines.push(
            "Not followed: what scripts run, and what programs load by name while they run (plugins, name services)."
                .to_owned(),
        );
        lines.extend(self.closure.problems.iter().take(SHOWN).map(|problem| format!("Problem: {}", shown(problem))));
        lines.extend(refused.iter().map(|reason| format!("NOT ALLOWED: {}", shown(&reason.to_string()))));
        lines
    }

    fn anonymous_exec(&self) -> Noted<AnonymousExec> {
        let packages = compiling_packages(self.inventory);
        let note = if packages.is_empty() {
            "Deny for this image: no package in it is known to compile while it runs.".to_owned()
        } else {
            let names = packages.iter().map(|name| shown(name)).collect::<Vec<_>>().join(", ");
            format!(
                "Allow for this image, as long as files of these packages may run: they compile while they run: {names}."
            )
        };
        Noted { value: AnonymousExec::Auto, notes: vec![note] }
    }

    /// What the SBOM misses, beside what the entrypoint needs.
    fn gaps(&self, needed: &[Needed<'_>]) -> Vec<String> {
        let named: BTreeSet<&str> = needed.iter().map(|one| one.file.path.as_str()).collect();
        let mut directories: BTreeMap<&str, usize> = BTreeMap::new();
        let mut contradicted = Vec::new();
        for file in self.inventory.files.iter().filter(|file| !named.contains(file.path.as_str())) {
            match file.evidence {
                Some(EvidenceClass::LayerOnly) => {
                    let directory = file.path.rsplit_once('/').map_or("", |(directory, _)| directory);
                    *directories.entry(directory).or_default() += 1;
                }
                None => contradicted.push(format!("  {}", shown(&file.path))),
                Some(_) => {}
            }
        }
        let mut lines = Vec::new();
        let lost = directories.iter().map(|(directory, count)| format!("  {}/: {}", shown(directory), counted(*count)));
        section(
            &mut lines,
            "Files that could run and that the SBOM misses; add to `allow` what must run:",
            lost.collect(),
        );
        section(&mut lines, "Files whose content is not as declared; nothing allows them:", contradicted);
        let packages =
            self.undeclared.iter().map(|package| format!("  {} {}", shown(&package.name), shown(&package.version)));
        section(&mut lines, "Installed packages that the SBOM does not list:", packages.collect());
        lines
    }

    /// Cases: what the entrypoint needs runs, what nobody stands behind does not.
    pub(super) fn cases(&self, refused: &[Refusal]) -> String {
        let mut text =
            format!("# What must happen under this policy; add what your workload does.\nimage:{}\n", self.facts());
        let mut cases = String::new();
        let mut files = String::new();
        let mut libraries = 0;
        let needed = self.needed();
        for one in &needed {
            let is_library = one.member.role == Role::Library && one.has_evidence();
            libraries += usize::from(is_library);
            if !is_library || libraries <= LIBRARIES {
                fact(&mut files, one.file);
                self.case(&mut cases, one, refused);
            }
        }
        for file in self.compiling(&needed).into_iter().chain(self.undeclared_file(&needed)) {
            fact(&mut files, file);
        }
        text.push_str("  files:\n");
        text.push_str(&files);
        if let Some(namespace) = &self.selector.namespace {
            text.extend([format!("workload: {{namespace: {}}}\n", scalar(namespace))]);
        }
        text.push_str("cases:\n");
        text.push_str(&cases);
        self.deviations(&mut text, &needed);
        text
    }

    /// What selects the policy.
    fn facts(&self) -> String {
        let mut facts = String::new();
        for (name, value) in [("digest", &self.selector.digest), ("reference", &self.selector.reference)] {
            if let Some(value) = value {
                facts.extend([format!("\n  {name}: {}", scalar(value))]);
            }
        }
        facts
    }

    fn case(&self, text: &mut String, one: &Needed<'_>, refused: &[Refusal]) {
        let hook = if one.member.role.is_executed() { "exec" } else { "map" };
        let path = &one.file.path;
        let is_refused = refused.iter().any(|refusal| refusal.path == *path);
        let (verdict, reason) = if is_refused { (self.denied(), "not-listed") } else { ("allow", "listed") };
        let name = format!("{path}: {}", one.member);
        write_case(text, &name, &format!("{{hook: {hook}, file: {{path: {}}}}}", scalar(path)), verdict, reason);
    }

    /// The word for what the policy does not allow.
    fn denied(&self) -> &'static str {
        match self.mode {
            Mode::Enforce => "deny",
            Mode::Monitor => "audit",
        }
    }

    /// What no image needs.
    fn deviations(&self, text: &mut String, needed: &[Needed<'_>]) {
        let denied = self.denied();
        if let Some(file) = self.undeclared_file(needed) {
            let hook = if file.mode & 0o111 == 0 { "map" } else { "exec" };
            let event = format!("{{hook: {hook}, file: {{path: {}}}}}", scalar(&file.path));
            write_case(text, "a file that the SBOM misses", &event, denied, "not-listed");
        }
        let dropped = "{hook: exec, file: {path: /tmp/x, origin: dropped}}";
        write_case(text, "a program that was downloaded", dropped, denied, "written");
        if let Some(one) = needed.iter().find(|one| one.member.role.is_executed()) {
            let event = format!("{{hook: exec, file: {{path: {}, origin: copied-up}}}}", scalar(&one.file.path));
            write_case(text, "a changed copy of what the container starts", &event, denied, "written");
        }
        let foreign = "{hook: map, file: {path: /dev/shm/x.so, origin: foreign}}";
        write_case(text, "a library in memory or on a volume", foreign, denied, "foreign");
        let (verdict, reason) =
            if self.compiling(needed).is_some() { ("allow", "listed") } else { (denied, "anonymous-exec") };
        write_case(text, "code that is made while the program runs", "{hook: map}", verdict, reason);
    }

    /// A file of a package that compiles while it runs, if the policy allows one.
    fn compiling(&self, needed: &[Needed<'_>]) -> Option<&InventoryFile> {
        let (packages, weakest) = (compiling_packages(self.inventory), evidence(needed));
        let counts = |file: &&InventoryFile| {
            let package = file.package.as_ref().is_some_and(|package| packages.contains(package.name.as_str()));
            package && file.evidence.is_some_and(|class| class >= weakest)
        };
        self.inventory.files.iter().find(counts)
    }

    /// A file that nobody stands behind and that nothing needs.
    fn undeclared_file(&self, needed: &[Needed<'_>]) -> Option<&InventoryFile> {
        let named: BTreeSet<&str> = needed.iter().map(|one| one.file.path.as_str()).collect();
        let undeclared = |file: &&InventoryFile| {
            file.gap == Some(Gap::Undeclared) && file.kind == ExecKind::Elf && !named.contains(file.path.as_str())
        };
        self.inventory.files.iter().find(undeclared)
    }
}

/// The weakest class among the files that have evidence; with none, the usual one.
fn evidence(needed: &[Needed<'_>]) -> EvidenceClass {
    let classes = needed.iter().filter(|one| one.has_evidence()).filter_map(|one| one.file.evidence);
    classes.min().unwrap_or(EvidenceClass::PackageDigest)
}

/// A file that nobody stands behind, pinned; content that contradicts what is declared is never allowed on its own word.
fn addition(one: &Needed<'_>) -> Result<Addition, Refusal> {
    let (path, member) = (&one.file.path, one.member);
    let refused = |why: String| Refusal { path: path.clone(), why: format!("{member}, but {why}") };
    if let Some(Gap::Mismatch { expected, by }) = &one.file.gap {
        return Err(refused(format!(
            "its content is not what the {by} declares ({expected}); find out why before it may run"
        )));
    }
    if path.contains(['*', '?', '[']) || shown(path) != *path {
        return Err(refused("a policy cannot name such a path".to_owned()));
    }
    let reason = format!("{member}; the SBOM does not list it");
    Ok(Addition { path: path.clone(), sha256: Some(one.file.sha256), reason: reason.chars().take(500).collect() })
}

/// Without what a policy document may not hold.
fn shown(text: &str) -> String {
    let hides = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    printable(text).chars().map(|c| if hides(c) { '\u{fffd}' } else { c }).collect()
}

fn counted(files: usize) -> String {
    if files == 1 { "1 file".to_owned() } else { format!("{files} files") }
}

fn section(lines: &mut Vec<String>, title: &str, entries: Vec<String>) {
    if entries.is_empty() {
        return;
    }
    lines.push(String::new());
    lines.push(title.to_owned());
    let more = entries.len().saturating_sub(SHOWN);
    lines.extend(entries.into_iter().take(SHOWN));
    if more > 0 {
        lines.push(format!("  and {more} more; `plimsoll sbom coverage` has all"));
    }
}

/// One file for the cases' image.
fn fact(text: &mut String, file: &InventoryFile) {
    let kind = match file.kind {
        ExecKind::Elf if file.mode & 0o111 == 0 => ", kind: library",
        ExecKind::Elf => "",
        ExecKind::Script | ExecKind::Other => ", kind: script",
    };
    let package = file.package.as_ref().map(|package| format!(", package: {}", scalar(&shown(&package.name))));
    let class = file.evidence.map_or("mismatch", EvidenceClass::name);
    // Only what is pinned needs it.
    let digest = if class == "layer-only" { format!(", sha256: \"{}\"", file.sha256) } else { String::new() };
    let (path, package) = (scalar(&shown(&file.path)), package.unwrap_or_default());
    text.extend([format!("    - {{path: {path}, evidence: {class}{package}{kind}{digest}}}\n")]);
}

fn write_case(text: &mut String, name: &str, event: &str, verdict: &str, reason: &str) {
    let name = scalar(&shown(name));
    // Writing to a string cannot fail.
    let _ok = writeln!(text, "  - name: {name}\n    event: {event}\n    verdict: {verdict}\n    reason: {reason}");
}
