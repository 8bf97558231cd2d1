//! The published JSON Schema is the one of the types, takes what is right, and refuses what an editor can see is wrong.
#![cfg(test)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use expect_test::expect_file;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn validator() -> jsonschema::Validator {
    jsonschema::draft202012::new(&plimsoll_policy::json_schema()).unwrap()
}

#[test]
fn the_published_schema_is_up_to_date() {
    let printed = serde_json::to_string_pretty(&plimsoll_policy::json_schema()).unwrap() + "\n";
    expect_file!["../../docs/policy.schema.json"].assert_eq(&printed);
}

#[test]
fn every_shipped_policy_and_every_example_fits() {
    let validator = validator();
    let folders = fs::read_dir(root().join("policies")).unwrap().map(|entry| entry.unwrap().path());
    // `compliance` has mappings, and no policy.
    let shipped = folders
        .filter(|path| path.join("policy.yaml").is_file())
        .map(|folder| fs::read_to_string(folder.join("policy.yaml")).unwrap());
    let reference = fs::read_to_string(root().join("docs/policy.md")).unwrap();
    let examples = reference.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    let whole = examples.filter(|example| example.starts_with("apiVersion"));
    let texts: Vec<_> = shipped.chain(whole).collect();
    assert!(texts.len() > 4);
    for text in texts {
        let document: Value = serde_yaml::from_str(&text).unwrap();
        let problems: Vec<_> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(problems.is_empty(), "{problems:?}\n{text}");
    }
}

/// Wrong in ways that only the reader sees: meaning, duplicates, what YAML hides.
const BEYOND: [&str; 12] = [
    "allow-the-same-twice",
    "files-rule-contradicts-itself",
    "files-two-rules-for-one-path",
    "hardening-io-uring-beside-capabilities",
    "network-host-bits",
    "network-name-without-resolver",
    "network-port-range-backwards",
    "network-without-a-length",
    "selector-reference-without-a-tag",
    "yaml-anchor-and-alias",
    "yaml-duplicate-key",
    "yaml-hidden-character",
];

#[test]
fn wrong_policies_are_refused_as_far_as_a_schema_can() {
    let validator = validator();
    let mut taken = Vec::new();
    for entry in fs::read_dir(root().join("cli/tests/wrong")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "yaml") {
            continue;
        }
        // What is no YAML, or is not read as it looks, never gets to a schema.
        let Ok(document) = serde_yaml::from_str::<Value>(&fs::read_to_string(&path).unwrap()) else { continue };
        if validator.is_valid(&document) {
            taken.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
        }
    }
    let unexpected: Vec<_> = taken.iter().filter(|name| !BEYOND.contains(&name.as_str())).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
}
