//! Weighs what is said about one file against its content.

use super::{
    EvidenceClass, Gap, MismatchSource, PackageRef,
    claims::{FileClaims, Owner},
    declared::{database_package, sbom_package},
};
use crate::{
    database::DatabaseDigest,
    digest::Digests,
    document::{Sbom, SbomFile},
    listing::ExecFact,
};

pub(super) struct Finding {
    pub(super) evidence: Option<EvidenceClass>,
    pub(super) gap: Option<Gap>,
    pub(super) package: Option<PackageRef>,
}

/// What one side says about the content.
enum Word {
    /// A SHA-256 agrees.
    Strong,
    /// A weaker digest agrees.
    Weak,
    /// The path is listed, for a package that is in the SBOM; no digest.
    PathOnly,
    /// The strongest digests listed do not agree.
    Contradiction {
        expected: String,
        by: MismatchSource,
    },
    Silence,
}

pub(super) fn of(exec: &ExecFact, claims: Option<&FileClaims<'_>>, sbom: &Sbom) -> Finding {
    let Some(claims) = claims else { return undeclared(None) };
    let package = package_behind(exec, claims, sbom);
    let supported = |class| Finding { evidence: Some(class), gap: None, package: package.clone() };
    let contradicted =
        |expected, by| Finding { evidence: None, gap: Some(Gap::Mismatch { expected, by }), package: package.clone() };
    let listed_path = match sbom_word(exec, &claims.entries) {
        Word::Strong => return supported(EvidenceClass::SbomDigest),
        Word::Weak => return supported(EvidenceClass::PackageDigest),
        Word::Contradiction { expected, by } => return contradicted(expected, by),
        Word::PathOnly => true,
        Word::Silence => false,
    };
    // A path the SBOM lists makes any owner's digest count against the file, but only a declared one's in its favour.
    let declared: Vec<_> = claims.owners.iter().filter(|owner| owner.declared.is_some()).collect();
    let asked = if declared.is_empty() && listed_path { claims.owners.iter().collect() } else { declared };
    match database_word(exec, &asked) {
        Word::Contradiction { expected, by } => contradicted(expected, by),
        Word::Strong | Word::Weak if asked.iter().any(|owner| owner.declared.is_some()) => {
            supported(EvidenceClass::PackageDigest)
        }
        Word::PathOnly => supported(EvidenceClass::PackagePath),
        Word::Strong | Word::Weak | Word::Silence if listed_path => supported(EvidenceClass::PackagePath),
        Word::Strong | Word::Weak | Word::Silence => undeclared(package),
    }
}

fn undeclared(package: Option<PackageRef>) -> Finding {
    Finding { evidence: Some(EvidenceClass::LayerOnly), gap: Some(Gap::Undeclared), package }
}

/// Entries of one path are alternatives. The strongest kind of digest among them decides; weaker ones are not asked.
fn sbom_word(exec: &ExecFact, entries: &[&SbomFile]) -> Word {
    let strong: Vec<_> = entries.iter().filter_map(|entry| entry.digests.sha256).collect();
    if strong.contains(&exec.sha256) {
        return Word::Strong;
    }
    if let Some(expected) = strong.first() {
        return Word::Contradiction { expected: expected.to_string(), by: MismatchSource::Sbom };
    }
    let weak: Vec<_> = entries.iter().map(|entry| &entry.digests).filter(|digests| !digests.is_empty()).collect();
    if weak.iter().any(|digests| weakly_agrees(exec, digests)) {
        return Word::Weak;
    }
    if let Some(expected) = weak.first() {
        return Word::Contradiction { expected: weak_text(expected), by: MismatchSource::Sbom };
    }
    // A bare path that belongs to no package is what a scanner saw, not what anybody declared.
    if entries.iter().any(|entry| entry.package.is_some()) { Word::PathOnly } else { Word::Silence }
}

/// All the weak digests given must agree.
fn weakly_agrees(exec: &ExecFact, digests: &Digests) -> bool {
    digests.sha1.is_none_or(|sha1| sha1 == exec.sha1) && digests.md5.is_none_or(|md5| md5 == exec.md5)
}

fn weak_text(digests: &Digests) -> String {
    match (digests.sha1, digests.md5) {
        (Some(sha1), _) => DatabaseDigest::Sha1(sha1).to_string(),
        (None, Some(md5)) => DatabaseDigest::Md5(md5).to_string(),
        (None, None) => String::new(),
    }
}

/// As with the SBOM's entries, several owners are alternatives, and one that has a digest outweighs those without.
fn database_word(exec: &ExecFact, owners: &[&Owner<'_>]) -> Word {
    let mut expected = None;
    for owner in owners {
        match owner.digest {
            Some(digest) if agrees(exec, &digest) => return Word::Weak,
            Some(digest) => {
                expected.get_or_insert((digest, owner.kind));
            }
            None => {}
        }
    }
    match expected {
        Some((digest, kind)) => {
            Word::Contradiction { expected: digest.to_string(), by: MismatchSource::Database(kind) }
        }
        None if owners.iter().any(|owner| owner.declared.is_some()) => Word::PathOnly,
        None => Word::Silence,
    }
}

fn agrees(exec: &ExecFact, digest: &DatabaseDigest) -> bool {
    match digest {
        DatabaseDigest::Md5(md5) => *md5 == exec.md5,
        DatabaseDigest::Sha1(sha1) => *sha1 == exec.sha1,
        DatabaseDigest::Sha256(sha256) => *sha256 == exec.sha256.0,
        DatabaseDigest::Sha256Prefix(prefix) => exec.sha256.0.starts_with(prefix),
    }
}

/// The declared owner whose digest agrees, else any declared owner, else the SBOM's own edge, else any owner.
fn package_behind(exec: &ExecFact, claims: &FileClaims<'_>, sbom: &Sbom) -> Option<PackageRef> {
    let declared = || claims.owners.iter().filter(|owner| owner.declared.is_some());
    let agreeing = declared().find(|owner| owner.digest.is_some_and(|digest| agrees(exec, &digest)));
    let owner = agreeing.or_else(|| declared().next()).and_then(|owner| owner.declared);
    let edge = || claims.entries.iter().find_map(|entry| entry.package);
    owner
        .or_else(edge)
        .and_then(|index| sbom_package(sbom, index))
        .or_else(|| claims.owners.first().map(|owner| database_package(owner.package)))
}
