//! What a rollout changes: which files may run after it that could not before, which no longer may, and which may run
//! with other content.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    digest::Digests,
    document::{Sbom, SbomPackage},
    inventory::{EvidenceClass, Gap, Inventory, PackageRef},
    path::display_path,
    purl::Purl,
};

/// One side of a comparison: everything known of an image, under the weakest evidence that is accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    allowed: BTreeMap<String, Allowed>,
    /// Files that are there and may not run, with the reason.
    refused: BTreeMap<String, String>,
    packages: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Allowed {
    /// Digests as `algorithm:hex`; several if a document lists alternatives.
    content: BTreeSet<String>,
    package: Option<PackageRef>,
}

impl Side {
    /// What an image allows. `sbom` is the document that `inventory` was made with.
    pub fn of_image(inventory: &Inventory, sbom: &Sbom, accept: EvidenceClass) -> Self {
        let mut side = Self { packages: packages(sbom), ..Self::default() };
        for file in &inventory.files {
            if file.evidence.is_some_and(|evidence| evidence >= accept) {
                let content = BTreeSet::from([file.sha256.to_string()]);
                side.allowed.insert(file.path.clone(), Allowed { content, package: file.package.clone() });
            } else {
                let reason = match (&file.gap, file.evidence) {
                    (Some(Gap::Mismatch { by, .. }), _) => format!("content is not what the {by} declares"),
                    (Some(Gap::Undeclared), _) => "nothing declares it".to_owned(),
                    (None, Some(evidence)) => format!("evidence is only {evidence}"),
                    (None, None) => "no evidence".to_owned(),
                };
                side.refused.insert(file.path.clone(), reason);
            }
        }
        side
    }

    /// What a document allows by itself: files it lists with a digest. Whether they could run, it does not say; what an
    /// image's package database would add is not known.
    pub fn of_document(sbom: &Sbom, accept: EvidenceClass) -> Self {
        let mut side = Self { packages: packages(sbom), ..Self::default() };
        for file in &sbom.files {
            let path = display_path(file.path.as_bytes());
            let package = || file.package.and_then(|index| sbom.packages.get(index)).map(reference);
            match strongest(&file.digests) {
                Some((digest, evidence)) if evidence >= accept => {
                    let entry = side
                        .allowed
                        .entry(path)
                        .or_insert_with(|| Allowed { content: BTreeSet::new(), package: package() });
                    entry.content.insert(digest);
                }
                Some((_, evidence)) => {
                    side.refused.insert(path, format!("evidence is only {evidence}"));
                }
                None => {
                    side.refused.insert(path, "listed without a digest".to_owned());
                }
            }
        }
        side.refused.retain(|path, _| !side.allowed.contains_key(path));
        side
    }
}

fn strongest(digests: &Digests) -> Option<(String, EvidenceClass)> {
    let weak = |name, hex| (format!("{name}:{hex}"), EvidenceClass::PackageDigest);
    digests
        .sha256
        .map(|digest| (digest.to_string(), EvidenceClass::SbomDigest))
        .or_else(|| digests.sha1.map(|digest| weak("sha1", hex::encode(digest))))
        .or_else(|| digests.md5.map(|digest| weak("md5", hex::encode(digest))))
}

fn reference(package: &SbomPackage) -> PackageRef {
    PackageRef {
        name: package.name.clone(),
        version: package.version.clone().unwrap_or_default(),
        purl: package.purl.clone(),
    }
}

/// `type name` to the versions there are. Versions are those of package URLs, where there are any. Source packages, which
/// some documents list beside those built from them, are left out: nothing of them runs.
fn packages(sbom: &Sbom) -> BTreeMap<String, BTreeSet<String>> {
    let mut packages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in &sbom.packages {
        let purl = package.purl.as_deref().and_then(Purl::parse);
        let (name, version) = match purl {
            Some(purl) if purl.is_source() => continue,
            Some(Purl { kind, name, version, .. }) => (format!("{kind} {name}"), version),
            None => (package.name.clone(), package.version.clone()),
        };
        packages.entry(name).or_default().insert(version.unwrap_or_default());
    }
    packages
}

/// What is different after a rollout. Lists are sorted by path or name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Changes {
    /// May run after, and could not before.
    pub newly_allowed: Vec<Gained>,
    /// Could run before, and no longer may.
    pub no_longer_allowed: Vec<Lost>,
    /// May run before and after, with other content.
    pub replaced: Vec<Replaced>,
    /// Files that may run before and after, unchanged.
    pub unchanged: usize,
    /// Packages whose versions differ.
    pub packages: Vec<PackageChange>,
}

/// A file that may run after and could not before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Gained {
    /// Absolute, in the notation of [`display_path`].
    pub path: String,
    /// Its content, as `algorithm:hex`; several if the document lists alternatives.
    pub content: BTreeSet<String>,
    /// The package behind it.
    pub package: Option<PackageRef>,
    /// Why it could not run before; nothing if it was not there.
    pub before: Option<String>,
}

/// A file that could run before and no longer may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Lost {
    /// Absolute, in the notation of [`display_path`].
    pub path: String,
    /// The package that was behind it.
    pub package: Option<PackageRef>,
    /// Why it may not run after; nothing if it is not there any more.
    pub after: Option<String>,
}

/// A file that may run before and after, with other content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Replaced {
    /// Absolute, in the notation of [`display_path`].
    pub path: String,
    /// Content before, as `algorithm:hex`.
    pub before: BTreeSet<String>,
    /// Content after.
    pub after: BTreeSet<String>,
    /// The package behind it before.
    pub package_before: Option<PackageRef>,
    /// The package behind it after.
    pub package_after: Option<PackageRef>,
}

/// A package whose versions differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PackageChange {
    /// `type name`, or the name alone where no package URL tells the type.
    pub name: String,
    /// Versions before; none if it is new.
    pub before: BTreeSet<String>,
    /// Versions after; none if it is gone.
    pub after: BTreeSet<String>,
}

impl Changes {
    /// Compares two sides, which must be of the same kind and under the same evidence.
    pub fn between(before: &Side, after: &Side) -> Self {
        let mut changes = Self { packages: package_changes(before, after), ..Self::default() };
        for (path, now) in &after.allowed {
            match before.allowed.get(path) {
                None => changes.newly_allowed.push(Gained {
                    path: path.clone(),
                    content: now.content.clone(),
                    package: now.package.clone(),
                    before: before.refused.get(path).cloned(),
                }),
                Some(then) if then.content == now.content => changes.unchanged += 1,
                Some(then) => changes.replaced.push(Replaced {
                    path: path.clone(),
                    before: then.content.clone(),
                    after: now.content.clone(),
                    package_before: then.package.clone(),
                    package_after: now.package.clone(),
                }),
            }
        }
        let lost = before.allowed.iter().filter(|(path, _)| !after.allowed.contains_key(*path));
        changes.no_longer_allowed = lost
            .map(|(path, then)| Lost {
                path: path.clone(),
                package: then.package.clone(),
                after: after.refused.get(path).cloned(),
            })
            .collect();
        changes
    }

    /// Whether a rollout changes nothing about what may run.
    pub fn is_empty(&self) -> bool {
        self.newly_allowed.is_empty() && self.no_longer_allowed.is_empty() && self.replaced.is_empty()
    }
}

fn package_changes(before: &Side, after: &Side) -> Vec<PackageChange> {
    let names: BTreeSet<&String> = before.packages.keys().chain(after.packages.keys()).collect();
    let versions = |side: &Side, name: &String| side.packages.get(name).cloned().unwrap_or_default();
    let changes = names.into_iter().map(|name| PackageChange {
        name: name.clone(),
        before: versions(before, name),
        after: versions(after, name),
    });
    changes.filter(|change| change.before != change.after).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, parse};

    fn sbom(components: &str) -> Sbom {
        let text = format!(r#"{{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{components}]}}"#);
        parse(text.as_bytes(), &Limits::default()).unwrap()
    }

    fn file(path: &str, digest: &str) -> String {
        let algorithm = if digest.len() == 64 { "SHA-256" } else { "SHA-1" };
        format!(r#"{{"type": "file", "name": "{path}", "hashes": [{{"alg": "{algorithm}", "content": "{digest}"}}]}}"#)
    }

    #[test]
    fn files_come_go_and_change() {
        let (one, two, weak) = ("1".repeat(64), "2".repeat(64), "3".repeat(40));
        let package = |version| {
            format!(r#"{{"type": "library", "name": "bash", "version": "x", "purl": "pkg:deb/debian/bash@{version}"}}"#)
        };
        let before = [file("/same", &one), file("/new-content", &one), file("/gone", &one), file("/weak", &weak)];
        let after = [
            file("/same", &one),
            file("/new-content", &two),
            file("/new", &one),
            file("/weak", &one),
            file("/alternatives", &one),
            file("/alternatives", &two),
        ];
        let (before, after) = (before.join(",") + "," + &package("1"), after.join(",") + "," + &package("2"));
        let side = |text: &str| Side::of_document(&sbom(text), EvidenceClass::SbomDigest);
        let changes = Changes::between(&side(&before), &side(&after));
        let gained: Vec<_> = changes.newly_allowed.iter().map(|file| (&*file.path, file.before.as_deref())).collect();
        let expected = [("/alternatives", None), ("/new", None), ("/weak", Some("evidence is only package-digest"))];
        assert_eq!(gained, expected);
        assert_eq!(changes.newly_allowed[0].content.len(), 2);
        assert_eq!((changes.no_longer_allowed.len(), &*changes.no_longer_allowed[0].path), (1, "/gone"));
        assert_eq!((changes.replaced.len(), &*changes.replaced[0].path), (1, "/new-content"));
        assert_eq!(changes.unchanged, 1);
        let versions = |text: &str| BTreeSet::from([text.to_owned()]);
        let bash = PackageChange { name: "deb bash".into(), before: versions("1"), after: versions("2") };
        assert_eq!(changes.packages, [bash]);
        assert!(!changes.is_empty());
        assert!(Changes::between(&side(&after), &side(&after)).is_empty());
    }
}
