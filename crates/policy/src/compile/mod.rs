//! From a policy and an image's inventory to the allowlist that goes into the kernel.

mod additions;
mod allowlist;
mod files;
mod interpreters;
mod jit;

use std::collections::{BTreeMap, HashSet};

use plimsoll_abi::access;
use plimsoll_sbom::{EvidenceClass, ExecKind, Gap, InodeKey, Inventory, InventoryFile};

use self::additions::Additions;
pub use self::allowlist::{CompiledPolicy, Entry, Evidence, Refused, Rule, Warning, WhyRefused};
pub use self::files::KernelFiles;
use self::interpreters::is_interpreter;
pub use self::jit::compiling_packages;
use crate::policy::Policy;

/// Entries one allowlist may have.
pub const MAX_ENTRIES: usize = 1_000_000;

/// Why there is no allowlist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// The image has more files than one allowlist may have.
    #[error("policy `{policy}` allows {entries} files of the image, the limit is {MAX_ENTRIES}")]
    TooManyEntries {
        /// The policy.
        policy: String,
        /// Entries it would have.
        entries: usize,
    },
}

/// Applies `policy` to an image. Pure: the same input gives the same output, byte for byte.
///
/// A file is allowed if its evidence is strong enough, or if an addition names it. A file whose content contradicts
/// what is declared is allowed only by an addition that pins its digest.
pub fn compile(policy: &Policy, inventory: &Inventory) -> Result<CompiledPolicy, CompileError> {
    let rules = rules(policy);
    let mut compiler = Compiler {
        required: policy.evidence,
        additions: Additions::new(&rules),
        contested: contested(inventory),
        rules: &rules,
        entries: BTreeMap::new(),
    };
    let outcomes: Vec<_> = inventory.files.iter().map(|file| (file, compiler.judge(file))).collect();
    let Compiler { additions, entries, .. } = compiler;
    if entries.len() > MAX_ENTRIES {
        return Err(CompileError::TooManyEntries { policy: policy.name.clone(), entries: entries.len() });
    }
    let (anonymous_exec, anonymous_exec_for) = jit::resolve(policy.anonymous_exec, inventory, &entries);
    let mut warnings = additions.warnings(&rules, inventory);
    if entries.is_empty() {
        warnings.insert(0, Warning::NothingAllowed);
    }
    // A file with several names runs under all of them once one is allowed.
    let refused = outcomes.into_iter().filter(|(file, _)| !entries.contains_key(&file.inode));
    let refused = refused.filter_map(|(file, outcome)| {
        outcome.err().map(|why| Refused { path: file.path.clone(), inode: file.inode, why })
    });
    Ok(CompiledPolicy {
        name: policy.name.clone(),
        authority: policy.authority,
        generation: policy.generation,
        mode: policy.mode,
        anonymous_exec,
        anonymous_exec_for,
        hardening: policy.hardening.clone(),
        refused: refused.collect(),
        entries: entries.into_values().collect(),
        rules,
        warnings,
        network: policy.network.clone(),
        files: policy.files.clone(),
        scripts: policy.scripts,
    })
}

/// The accepted evidence, strongest first, then the additions in the order of the document.
fn rules(policy: &Policy) -> Vec<Rule> {
    let accepted = EvidenceClass::ALL.into_iter().rev().filter(|class| *class >= policy.evidence).map(Rule::Evidence);
    let additions = policy.allow.iter().map(|addition| Rule::Addition {
        path: addition.path.clone(),
        sha256: addition.sha256,
        reason: addition.reason.clone(),
        place: addition.place.clone(),
    });
    accepted.chain(additions).collect()
}

/// Files that are declared with other content under at least one of their names.
fn contested(inventory: &Inventory) -> HashSet<InodeKey> {
    inventory.files.iter().filter(|file| file.evidence.is_none()).map(|file| file.inode).collect()
}

struct Compiler<'a> {
    required: EvidenceClass,
    additions: Additions<'a>,
    contested: HashSet<InodeKey>,
    rules: &'a [Rule],
    entries: BTreeMap<InodeKey, Entry>,
}

impl Compiler<'_> {
    fn judge(&mut self, file: &InventoryFile) -> Result<(), WhyRefused> {
        let contested = self.contested.contains(&file.inode);
        let added = self.additions.rule_for(file, contested);
        let (evidence, rule) = match (self.by_evidence(file, contested), added) {
            (Ok((class, rule)), _) => (Evidence::Image(class), rule),
            (Err(_), Some(rule)) => (Evidence::Policy, rule),
            (Err(why), None) => return Err(why),
        };
        let access = access_of(file) | if is_interpreter(file) { access::INTERPRETER } else { 0 };
        let entry = Entry { inode: file.inode, access, rule, path: file.path.clone(), evidence };
        let known = self.entries.entry(file.inode).or_insert_with(|| entry.clone());
        if entry.evidence > known.evidence {
            *known = Entry { access: access | known.access, ..entry };
        } else {
            known.access |= access;
        }
        Ok(())
    }

    fn by_evidence(&self, file: &InventoryFile, contested: bool) -> Result<(EvidenceClass, u32), WhyRefused> {
        let Some(evidence) = file.evidence else { return Err(mismatch(file)) };
        if contested && evidence < EvidenceClass::PackageDigest {
            return Err(WhyRefused::LinkedToMismatch);
        }
        let weak = WhyRefused::WeakEvidence { evidence, required: self.required };
        // They come first; the additions after them may be many.
        let mut rules = self.rules.iter().zip(0..).take_while(|(rule, _)| matches!(rule, Rule::Evidence(_)));
        let rule = rules.find_map(|(rule, id)| (*rule == Rule::Evidence(evidence)).then_some(id));
        rule.map(|rule| (evidence, rule)).ok_or(weak)
    }
}

fn mismatch(file: &InventoryFile) -> WhyRefused {
    match &file.gap {
        Some(Gap::Mismatch { expected, by }) => WhyRefused::Mismatch { expected: expected.clone(), by: *by },
        _ => WhyRefused::LinkedToMismatch,
    }
}

/// What a file can do: only ELF is mapped as code, and the kernel executes nothing without an x-bit. A script keeps its
/// bit either way, so that no entry permits nothing.
fn access_of(file: &InventoryFile) -> u32 {
    match file.kind {
        ExecKind::Elf if file.mode & 0o111 != 0 => access::EXEC | access::MAP,
        ExecKind::Elf => access::MAP,
        ExecKind::Script | ExecKind::Other => access::EXEC,
    }
}
