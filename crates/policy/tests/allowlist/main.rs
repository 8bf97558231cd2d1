//! From a policy and an inventory to verdicts.
#![cfg(test)]

mod compiling;
mod deciding;
mod hardening;
mod properties;

use plimsoll_policy::{CompiledPolicy, Limits, Policy, compile, parse};
use plimsoll_sbom::{
    Coverage, EvidenceClass, ExecKind, Gap, InodeKey, Inventory, InventoryFile, MismatchSource, Sha256,
};

const DEV: u32 = 8 << 20 | 1;

/// A policy whose `spec` continues with `rest`.
fn policy(rest: &str) -> Policy {
    let text = format!(
        "apiVersion: plimsoll.dev/v1alpha1\nkind: EnforcementPolicy\nmetadata: {{name: shop}}\n\
         spec:\n  selector: {{namespace: shop}}\n{rest}"
    );
    parse("policy.yaml", text.as_bytes(), &Limits::default()).unwrap_or_else(|problems| panic!("{problems}"))
}

/// An executable ELF file whose content is its path, unless changed afterwards.
fn file(path: &str, ino: u64, evidence: Option<EvidenceClass>) -> InventoryFile {
    let gap = match evidence {
        Some(EvidenceClass::LayerOnly) => Some(Gap::Undeclared),
        Some(_) => None,
        None => Some(Gap::Mismatch { expected: "sha1:00".to_owned(), by: MismatchSource::Sbom }),
    };
    InventoryFile {
        path: path.to_owned(),
        inode: inode(ino),
        size: 1,
        mode: 0o755,
        kind: ExecKind::Elf,
        sha256: Sha256::of(path.as_bytes()),
        evidence,
        gap,
        package: None,
    }
}

fn inode(ino: u64) -> InodeKey {
    InodeKey { dev: DEV, ino }
}

fn inventory(mut files: Vec<InventoryFile>) -> Inventory {
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Inventory { files, missing: Vec::new(), coverage: Coverage::default(), sbom_digest: Sha256::of(b"sbom") }
}

#[track_caller]
fn compiled(rest: &str, files: Vec<InventoryFile>) -> CompiledPolicy {
    compile(&policy(rest), &inventory(files)).unwrap()
}

/// `path evidence access rule` of each entry.
fn entries(compiled: &CompiledPolicy) -> Vec<String> {
    let line = |entry: &plimsoll_policy::Entry| {
        let rule = &compiled.rules[entry.rule as usize];
        format!("{} {} {} <- {rule}", entry.path, entry.evidence, entry.access)
    };
    compiled.entries.iter().map(line).collect()
}

fn refused(compiled: &CompiledPolicy) -> Vec<String> {
    compiled.refused.iter().map(|refused| format!("{}: {}", refused.path, refused.why)).collect()
}

fn warnings(compiled: &CompiledPolicy) -> Vec<String> {
    compiled.warnings.iter().map(ToString::to_string).collect()
}
