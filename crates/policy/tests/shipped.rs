//! The shipped policies are right, and say what their README says.
#![cfg(test)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use plimsoll_policy::{AnonymousExec, Limits, Mode, Policy, WorkloadFacts, duplicate_names, parse, select};
use plimsoll_sbom::EvidenceClass;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every shipped policy with its folder's name.
fn shipped() -> Vec<(String, Policy)> {
    let folders = fs::read_dir(root().join("policies")).unwrap().map(|entry| entry.unwrap().path());
    let mut policies: Vec<_> = folders
        // `compliance` has mappings, and no policy.
        .filter(|path| path.is_dir() && !path.ends_with("compliance"))
        .map(|folder| {
            let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
            let text = fs::read(folder.join("policy.yaml")).unwrap();
            (name.clone(), parse(&name, &text, &Limits::default()).unwrap_or_else(|problems| panic!("{problems}")))
        })
        .collect();
    policies.sort_by(|a, b| a.0.cmp(&b.0));
    policies
}

#[test]
fn every_folder_has_a_policy_of_its_name_and_a_line_in_the_readme() {
    let readme = fs::read_to_string(root().join("policies/README.md")).unwrap();
    let shipped = shipped();
    assert!(shipped.len() >= 18, "only {} policies", shipped.len());
    for (folder, policy) in &shipped {
        assert!(root().join("policies").join(folder).join("cases.yaml").is_file(), "{folder} has no cases");
        assert_eq!(*folder, policy.name);
        assert_eq!(readme.matches(&format!("- [{folder}]({folder}/policy.yaml): ")).count(), 1);
    }
    let policies: Vec<_> = shipped.into_iter().map(|(_, policy)| policy).collect();
    assert_eq!(duplicate_names(&policies), []);
}

#[test]
fn baseline_enforces_one_namespace_and_observe_watches_everything() {
    let general = shipped().into_iter().filter(|(name, _)| ["baseline", "observe"].contains(&name.as_str()));
    let policies: Vec<_> = general.map(|(_, policy)| policy).collect();
    assert_eq!(policies.len(), 2);
    for policy in &policies {
        assert_eq!(policy.evidence, EvidenceClass::PackageDigest, "{}", policy.name);
        assert_eq!(policy.anonymous_exec, AnonymousExec::Auto, "{}", policy.name);
        assert!(policy.allow.is_empty(), "{}", policy.name);
    }
    let elsewhere = WorkloadFacts { image_reference: Some("nginx".to_owned()), ..WorkloadFacts::default() };
    let chosen = select(&policies, &elsewhere).unwrap();
    assert_eq!((chosen.name.as_str(), chosen.mode), ("observe", Mode::Monitor));
    let in_default = WorkloadFacts { namespace: Some("default".to_owned()), ..elsewhere };
    let chosen = select(&policies, &in_default).unwrap();
    assert_eq!((chosen.name.as_str(), chosen.mode), ("baseline", Mode::Enforce));
}

/// The reference's examples are what a reader copies. Those that begin with `spec` are completed first.
#[test]
fn the_examples_of_the_reference_are_right() {
    const REST: &str = "apiVersion: plimsoll.dev/v1alpha1\nkind: EnforcementPolicy\nmetadata: {name: a}\nspec:\n  \
        selector: {namespace: a}\n  mode: Enforce\n";

    let reference = fs::read_to_string(root().join("docs/policy.md")).unwrap();
    let examples: Vec<_> = reference.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!examples.is_empty());
    for example in examples.into_iter().filter(|example| !example.starts_with("# cases.yaml")) {
        let whole = example.strip_prefix("spec:\n").map_or_else(|| example.to_owned(), |spec| format!("{REST}{spec}"));
        parse("docs/policy.md", whole.as_bytes(), &Limits::default()).unwrap_or_else(|problems| panic!("{problems}"));
    }
}
