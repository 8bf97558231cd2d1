//! `plimsoll policy test`: the shipped policies pass their cases, and a case that does not hold is told.
#![cfg(test)]

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde_json::Value;

fn run(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    let output = command.args(["policy", "test"]).args(arguments).current_dir(directory).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn shipped() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies")
}

#[test]
fn every_shipped_policy_passes_cases_that_allow_and_that_do_not() {
    let (code, text, errors) = run(&shipped(), &[".", "--json"]);
    assert_eq!((code, errors.as_str()), (0, ""), "{text}");
    let outcomes: Vec<Value> = serde_json::from_str(&text).unwrap();
    let mut policies: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for outcome in &outcomes {
        let counts = policies.entry(outcome["policy"].as_str().unwrap()).or_default();
        let allowed = outcome["detail"].as_str().unwrap().starts_with("allow ");
        *if allowed { &mut counts.0 } else { &mut counts.1 } += 1;
    }
    assert!(policies.len() >= 18, "{policies:?}");
    assert!(policies.values().all(|(allowed, denied)| *allowed > 0 && *denied > 0), "{policies:?}");
}

#[test]
fn a_policy_that_gives_more_away_fails_its_cases() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["policy.yaml", "cases.yaml"] {
        fs::copy(shipped().join("redis").join(name), directory.path().join(name)).unwrap();
    }
    assert_eq!(run(directory.path(), &["."]).0, 0);
    let policy = fs::read_to_string(directory.path().join("policy.yaml")).unwrap();
    for (stricter, looser, said) in [
        ("evidence: package-digest", "evidence: layer-only", "FAILED: ./cases.yaml: helper is in the image"),
        ("anonymousExec: Deny", "anonymousExec: Allow", "expected deny (anonymous-exec), found allow (listed)"),
        ("mount: Deny", "mount: Allow", "FAILED: ./cases.yaml: nothing is mounted"),
        ("mode: Enforce", "mode: Monitor", "expected deny (written), found audit (written)"),
        (
            "      - ports: [6379]\n  hardening",
            "      - ports: [1]\n  hardening",
            "FAILED: ./cases.yaml: clients connect",
        ),
    ] {
        assert!(policy.contains(stricter), "{stricter}");
        fs::write(directory.path().join("policy.yaml"), policy.replace(stricter, looser)).unwrap();
        let (code, text, _) = run(directory.path(), &["."]);
        assert_eq!(code, 1, "{looser}");
        assert!(text.contains(said), "{looser}: {text}");
    }
}

#[test]
fn cases_that_cannot_be_meant_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::copy(shipped().join("redis/policy.yaml"), directory.path().join("policy.yaml")).unwrap();
    for (cases, said) in [
        ("image: {reference: \"redis:1\"}\ncases: []\n", "no cases"),
        (
            "image: {reference: \"nginx:1\"}\ncases: [{name: a, event: {hook: exec}, verdict: allow}]\n",
            "does not select",
        ),
        ("image: {reference: \"redis:1\"}\ncases: [{name: a, event: {hok: exec}, verdict: allow}]\n", "hok"),
        (
            "image: {reference: \"redis:1\"}\ncases: [{name: a, event: {hook: run}, verdict: allow}]\n",
            "`run` is no hook",
        ),
        (
            "image: {reference: \"redis:1\"}\ncases: [{name: a, event: {hook: exec}, verdict: ok}]\n",
            "allow, audit, deny",
        ),
    ] {
        fs::write(directory.path().join("cases.yaml"), cases).unwrap();
        let (code, _, errors) = run(directory.path(), &["."]);
        assert_eq!(code, 3, "{cases}");
        assert!(errors.contains(said) && errors.contains("cases.yaml"), "{said}: {errors}");
    }
    let (code, _, errors) = run(directory.path(), &["/proc/self/fdinfo"]);
    assert_eq!((code, errors.contains("no `cases.yaml`")), (3, true), "{errors}");
}
