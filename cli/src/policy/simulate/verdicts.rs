//! Asking policies about what was read: the same compiler and the same evaluator that everything else uses.
//!
//! Of an image, only the files are known that events name, with the evidence that events give.

use std::collections::{BTreeMap, HashMap};

use plimsoll_abi::{Hook, Reason, Verdict};
use plimsoll_policy::{
    AnonymousExec, Answer, Attempt, CompiledPolicy, Image, Origin, Policy, WorkloadFacts, compile, judge, select,
};
use plimsoll_sbom::{
    Coverage, EvidenceClass, ExecKind, Gap, InodeKey, Inventory, InventoryFile, MismatchSource, PackageRef, Sha256,
};

use super::read::{Kind, Stored};

/// What comes of one kind of event.
pub(super) enum Outcome {
    /// No policy is for the workload: nothing is restricted.
    NoPolicy,
    /// A policy answers.
    Answered { policy: String, answer: Answer },
    /// What the event leaves out would decide.
    Undecided { policy: String, why: String },
}

/// Events of one image under one policy.
struct Group<'p, 's> {
    policy: Option<&'p Policy>,
    kinds: Vec<&'s Kind>,
}

/// Every kind with its outcome.
pub(super) fn of<'s>(policies: &[Policy], stored: &'s Stored) -> anyhow::Result<Vec<(&'s Kind, Outcome)>> {
    let mut groups: BTreeMap<(&str, &str), Group<'_, 's>> = BTreeMap::new();
    for kind in stored.kinds.values() {
        let policy = select(policies, &facts(kind));
        let name = policy.map(|policy| policy.name.as_str()).unwrap_or_default();
        let group = groups.entry((name, image_of(kind))).or_insert_with(|| Group { policy, kinds: Vec::new() });
        group.kinds.push(kind);
    }
    let mut files: HashMap<&str, Vec<&Kind>> = HashMap::new();
    for kind in stored.kinds.values().filter(|kind| kind.origin == Origin::ImageFile && !kind.name_only) {
        files.entry(image_of(kind)).or_default().push(kind);
    }
    let mut outcomes = Vec::with_capacity(stored.kinds.len());
    for ((_, image), Group { policy, kinds }) in groups {
        let Some(policy) = policy else {
            outcomes.extend(kinds.into_iter().map(|kind| (kind, Outcome::NoPolicy)));
            continue;
        };
        let known = files.get(image).map(Vec::as_slice).unwrap_or_default();
        outcomes.extend(answers(policy, known, kinds)?);
    }
    Ok(outcomes)
}

/// Images without a digest are told apart by their reference.
fn image_of(kind: &Kind) -> &str {
    if kind.digest.is_empty() { &kind.reference } else { &kind.digest }
}

fn facts(kind: &Kind) -> WorkloadFacts {
    let known = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    WorkloadFacts {
        image_digest: known(&kind.digest),
        image_reference: known(&kind.reference),
        labels: kind.place.1.clone(),
        namespace: known(&kind.place.0),
    }
}

fn answers<'s>(policy: &Policy, known: &[&Kind], kinds: Vec<&'s Kind>) -> anyhow::Result<Vec<(&'s Kind, Outcome)>> {
    // A file that an addition allowed has an evidence of its own, which the event does not say: both ends are tried.
    let weakest = inventory(known, None);
    let strongest = inventory(known, Some(EvidenceClass::SbomDigest));
    let both = [compile(policy, &weakest)?, compile(policy, &strongest)?];
    let images = [Image::new(&weakest), Image::new(&strongest)];
    let [weak, strong] = &both;
    let [weak_image, strong_image] = &images;
    let outcome = |kind: &Kind| {
        let attempt = attempt(kind);
        let named = |why: String| Outcome::Undecided { policy: policy.name.clone(), why };
        match (judge(weak, weak_image, &attempt), judge(strong, strong_image, &attempt)) {
            (Ok(answer), _) if depends_on_packages(policy, weak, &answer) => {
                named("whether the image has a package that compiles while it runs is not known".to_owned())
            }
            (Ok(answer), Ok(other)) if answer.verdict == other.verdict => {
                Outcome::Answered { policy: policy.name.clone(), answer: other }
            }
            (Ok(_), Ok(_)) => named("the file's evidence is not known".to_owned()),
            (Err(why), _) | (_, Err(why)) => named(why.to_string()),
        }
    };
    Ok(kinds.into_iter().map(|kind| (kind, outcome(kind))).collect())
}

/// `Auto` asks for the image's packages; events only name those of files that ran.
fn depends_on_packages(policy: &Policy, compiled: &CompiledPolicy, answer: &Answer) -> bool {
    let is_about_memory = matches!(answer.reason, Reason::AnonymousExec | Reason::ModifiedCode);
    policy.anonymous_exec == AnonymousExec::Auto && compiled.anonymous_exec_for.is_none() && is_about_memory
}

fn attempt(kind: &Kind) -> Attempt<'_> {
    Attempt {
        hook: Hook::ALL.iter().copied().find(|hook| hook.name() == kind.hook),
        reason: Reason::ALL.iter().copied().find(|reason| reason.name() == kind.reason),
        path: &kind.path,
        new_path: "",
        name_only: kind.name_only,
        origin: kind.origin,
        modified: false,
        comm: &kind.comm,
        network: kind.network.as_ref().map(|(address, port, protocol)| (&**address, *port, &**protocol)),
        operation: &kind.operation,
    }
}

/// The image's files that events name; where an event only says that a policy allowed the file, with `unknown`.
fn inventory(known: &[&Kind], unknown: Option<EvidenceClass>) -> Inventory {
    let mut files: BTreeMap<&str, InventoryFile> = BTreeMap::new();
    for (kind, ino) in known.iter().zip(1..) {
        // An event whose evidence is a class knows more than one that says `policy`.
        if kind.evidence != "policy" || !files.contains_key(kind.path.as_str()) {
            files.insert(&kind.path, file(kind, ino, unknown));
        }
    }
    let files = files.into_values().collect();
    Inventory { files, missing: Vec::new(), coverage: Coverage::default(), sbom_digest: Sha256::of(b"events") }
}

fn file(kind: &Kind, ino: u64, unknown: Option<EvidenceClass>) -> InventoryFile {
    let evidence = match kind.evidence.as_str() {
        "undeclared" => Some(EvidenceClass::LayerOnly),
        "policy" => unknown,
        class => class.parse().ok(),
    };
    let gap = match evidence {
        Some(EvidenceClass::LayerOnly) => Some(Gap::Undeclared),
        Some(_) => None,
        None => Some(Gap::Mismatch { expected: "other content".to_owned(), by: MismatchSource::Sbom }),
    };
    let package = PackageRef { name: kind.package.clone(), version: kind.version.clone(), purl: None };
    InventoryFile {
        path: kind.path.clone(),
        inode: InodeKey { dev: 1, ino },
        size: 0,
        // What was mapped or executed could be.
        mode: 0o755,
        kind: ExecKind::Elf,
        sha256: kind.sha256.parse().unwrap_or_else(|_unknown| Sha256::of(b"")),
        evidence,
        gap,
        package: Some(package).filter(|package| !package.name.is_empty()),
    }
}

impl Outcome {
    /// The verdict, if there is one.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        match self {
            Self::NoPolicy => Some(Verdict::Allow),
            Self::Answered { answer, .. } => Some(answer.verdict),
            Self::Undecided { .. } => None,
        }
    }
}
