use std::{collections::BTreeMap, fs, path::Path};

use clap::Parser as _;
use expect_test::expect_file;
use serde_json::{Value, json};

use super::{
    Arguments,
    evidence::{State, results},
    facts::Facts,
    mapping, run,
};
use crate::policy::{Loaded, load};

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

fn event(time: u64, verdict: &str, reason: &str) -> String {
    json!({
        "node": "node-1", "time_unix_ns": time * 1_000_000_000, "hook": "exec", "verdict": verdict, "reason": reason,
        "workload": {"namespace": "shop"}, "file": {"path": "/x"},
    })
    .to_string()
        + "\n"
}

/// Policies, events and nodes of a small fleet in `directory`.
fn fleet(directory: &Path, lost: u64) {
    let policy = |name: &str, rest: &str| {
        format!(
            "apiVersion: plimsoll.dev/v1alpha1\nkind: EnforcementPolicy\nmetadata: {{name: {name}}}\nspec:\n  selector: \
             {{namespace: {name}}}\n{rest}"
        )
    };
    let shop = policy("shop", "  mode: Enforce\n  network: {}\n  hardening: {mount: Deny, capabilities: []}\n");
    let pay = policy("pay", "  mode: Monitor\n  files: [{path: /etc/**, deny: [Write]}]\n");
    fs::write(directory.join("policies.yaml"), format!("{shop}---\n{pay}")).unwrap();
    let events = [
        event(1_767_000_000, "deny", "written"),
        event(1_767_225_601, "deny", "written"),
        event(1_767_225_602, "deny", "written"),
        event(1_767_225_603, "audit", "not-<listed>|"),
        event(1_767_225_604, "allow", "listed"),
        event(1_777_000_000, "deny", "written"),
    ];
    fs::write(directory.join("events.jsonl"), events.concat()).unwrap();
    let losses = json!([{"cause": "queue-full", "count": lost, "since_unix_ns": 1_767_000_000_000_000_000_u64}]);
    let nodes = json!({"nodes": [{
        "node": "node-1", "agent_version": "0.1.0", "last_seen_unix_ns": 1_767_312_000_000_000_000_u64, "boot_id": "b",
        "spool_id": "s", "last_sequence": 5, "missing": 0, "gaps": [], "losses": losses,
    }]});
    fs::write(directory.join("nodes.json"), nodes.to_string()).unwrap();
}

fn arguments(directory: &Path, output: &str, more: &[&str]) -> Arguments {
    let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let named = [
        ("--policy", path("policies.yaml")),
        ("--events", path("events.jsonl")),
        ("--nodes", path("nodes.json")),
        ("--since", "2026-01-01T00:00:00Z".to_owned()),
        ("--until", "2026-01-02T00:00:00Z".to_owned()),
        ("--output", path(output)),
    ];
    let words = named.iter().flat_map(|(name, value)| [*name, value.as_str()]);
    Line::try_parse_from(["report"].into_iter().chain(words).chain(more.iter().copied())).unwrap().arguments
}

fn code(arguments: &Arguments) -> String {
    format!("{:?}", run(arguments).unwrap())
}

/// Every file below `directory`.
fn parts(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut parts = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
                parts.insert(name, fs::read(path).unwrap());
            }
        }
    }
    parts
}

#[test]
fn a_pack_is_the_same_to_the_byte_and_its_manifest_names_every_part() {
    let directory = tempfile::tempdir().unwrap();
    fleet(directory.path(), 0);
    for output in ["one", "two"] {
        assert!(code(&arguments(directory.path(), output, &[])).contains('1'), "not all evidence is there");
    }
    let one = parts(&directory.path().join("one"));
    assert_eq!(one, parts(&directory.path().join("two")));
    let names: Vec<_> = one.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "MANIFEST.sha256",
            "index.json",
            "index.md",
            "mappings/cis-kubernetes.json",
            "mappings/nist-sp-800-190.json",
            "mappings/pci-dss-4.0.json",
            "nodes.json",
            "policies/shop.yaml",
            "verdicts.json",
        ]
    );
    let checked = std::process::Command::new("sha256sum")
        .args(["--strict", "-c", "MANIFEST.sha256"])
        .current_dir(directory.path().join("one"))
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}");
    assert_eq!(String::from_utf8(checked.stdout).unwrap().lines().count(), names.len() - 1);
    let index = String::from_utf8(one["index.md"].clone()).unwrap();
    let index = index.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    expect_file!["../../tests/report/index.md"].assert_eq(&index);
    let verdicts: Value = serde_json::from_slice(&one["verdicts.json"]).unwrap();
    assert_eq!(verdicts["by_namespace"]["shop"], json!({"allow": 1, "audit": 1, "deny": 2}));
    let claims = index.to_lowercase();
    assert!(!claims.replace("makes nobody compliant", "").contains("compliant"), "nothing may claim more than support");
}

#[test]
fn a_pack_never_goes_among_other_files() {
    let directory = tempfile::tempdir().unwrap();
    fleet(directory.path(), 0);
    fs::create_dir(directory.path().join("out")).unwrap();
    fs::write(directory.path().join("out/mine"), "").unwrap();
    let error = run(&arguments(directory.path(), "out", &[])).unwrap_err();
    assert!(error.to_string().contains("not empty"), "{error}");
}

fn state_of(directory: &Path, mapping: &str, control: &str) -> (State, Vec<State>) {
    let arguments = arguments(directory, "unwritten", &[]);
    let Loaded::Policies(policies) = load(&arguments.policy).unwrap() else { panic!("policies are right") };
    let facts = Facts::read(policies, &arguments.source).unwrap();
    let mappings = mapping::load(&[mapping.to_owned()], &[] as &[&Path]).unwrap();
    let results = results(&mappings[0], &facts);
    let outcome = results.controls.iter().find(|outcome| outcome.control.id == control).unwrap();
    (outcome.state, outcome.findings.iter().map(|finding| finding.state).collect())
}

#[test]
fn a_loss_takes_evidence_away() {
    let directory = tempfile::tempdir().unwrap();
    fleet(directory.path(), 0);
    let whole = (State::Shown, vec![State::Shown; 3]);
    assert_eq!(state_of(directory.path(), "pci-dss-4.0", "10.2.1"), whole);
    fleet(directory.path(), 3);
    let holes = (State::Partly, vec![State::Shown, State::Shown, State::NotShown]);
    assert_eq!(state_of(directory.path(), "pci-dss-4.0", "10.2.1"), holes);
    // Rules that only report show nothing.
    assert_eq!(state_of(directory.path(), "nist-sp-800-190", "4.5.5").1[0], State::NotShown);
    assert_eq!(state_of(directory.path(), "nist-sp-800-190", "4.3.3").1[0], State::Partly);
}

#[test]
fn who_gives_a_default_back_does_not_harden() {
    let directory = tempfile::tempdir().unwrap();
    fleet(directory.path(), 0);
    let hardening = || state_of(directory.path(), "cis-kubernetes", "5.2.2").1[1];
    assert_eq!(hardening(), State::Partly);
    let file = directory.path().join("policies.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("mount: Deny", "mount: Deny, ptrace: Allow")).unwrap();
    assert_eq!(hardening(), State::NotShown);
}

#[test]
fn a_mapping_of_ones_own_is_checked() {
    let directory = tempfile::tempdir().unwrap();
    let mapping = |id: &str, limits: &str| {
        let file = directory.path().join("own.json");
        let control = json!({"id": "1", "title": "t", "supports": "s", "evidence": ["nodes"], "limits": limits});
        fs::write(&file, json!({"id": id, "title": "t", "scope": "s", "controls": [control]}).to_string()).unwrap();
        mapping::load(&[], &[file]).map(|mappings| mappings.len()).map_err(|error| format!("{error:#}"))
    };
    assert_eq!(mapping("own", "everything else"), Ok(1));
    assert!(mapping("../own", "x").unwrap_err().contains("is no id"));
    assert!(mapping("own", " ").unwrap_err().contains("must all say something"));
    let unknown = mapping::load(&["iso".to_owned()], &[] as &[&Path]).unwrap_err().to_string();
    assert!(unknown.contains("these are: nist-sp-800-190, pci-dss-4.0, cis-kubernetes"), "{unknown}");
}
