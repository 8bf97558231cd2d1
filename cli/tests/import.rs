//! `plimsoll policy import`: what is made of other tools' files, and everything that it says was left out.
//!
//! `UPDATE_EXPECT=1 cargo test -p plimsoll-cli --test import` writes the results anew; read the difference before keeping it.
#![cfg(test)]

use std::{fs, path::PathBuf, process::Command};

use expect_test::expect_file;

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/import")
}

fn import(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    let output = command.args(["policy", "import"]).args(arguments).current_dir(fixtures()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// What comes of files, with all that was left out; what is made is a policy, in its canonical layout.
fn converted(name: &str, arguments: &[&str]) -> i32 {
    let (code, policies, left_out) = import(arguments);
    let limits = plimsoll_policy::Limits::default();
    plimsoll_policy::parse_all(name, policies.as_bytes(), &limits)
        .unwrap_or_else(|wrong| panic!("{wrong}\n{policies}"));
    assert_eq!(plimsoll_policy::format(name, policies.as_bytes(), &limits).unwrap(), policies);
    expect_file![fixtures().join(format!("{name}.out"))].assert_eq(&format!("{policies}\n{left_out}"));
    code
}

#[test]
fn files_of_every_tool_become_policies_and_nothing_is_dropped_in_silence() {
    assert_eq!(converted("kubearmor", &["--from", "kubearmor", "kubearmor.yaml"]), 1);
    assert_eq!(converted("tetragon", &["--from", "tetragon", "tetragon.yaml"]), 1);
    let falco =
        ["--from", "falco", "falco.yaml", "--namespace", "shop", "--list", "cart_binaries", "--list", "cart_programs"];
    assert_eq!(converted("falco", &falco), 1);
    let fapolicyd = ["--from", "fapolicyd", "cart.trust", "fapolicyd.rules", "--namespace", "shop", "--name", "cart"];
    assert_eq!(converted("fapolicyd", &fapolicyd), 1);
    assert_eq!(converted("runtime-enforcer", &["--from", "runtime-enforcer", "runtime-enforcer.yaml"]), 0);
}

#[test]
fn fields_that_are_not_known_are_told_wherever_they_stand() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("policy.yaml");
    let original = fs::read_to_string(fixtures().join("runtime-enforcer.yaml")).unwrap();
    let extended = original.replace("  mode: protect\n", "  mode: protect\n  futureField: {a: [1, 2]}\n").replace(
        "        allowed:\n",
        "        allowedPrefixes: [/opt]\n        allowed:\n          - bin/relative\n          - {a: b}\n",
    );
    fs::write(&path, extended).unwrap();
    let (code, text, _) = import(&["--from", "runtime-enforcer", path.to_str().unwrap(), "--json"]);
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    let told: Vec<(u64, &str)> = report["left_out"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["line"].as_u64().unwrap(), one["what"].as_str().unwrap()))
        .collect();
    let executables = "spec.rulesByContainer.cart.executables";
    let expected = [
        (14, format!("{executables}.allowed[0]: bin/relative")),
        (15, format!("{executables}.allowed[1]")),
        (12, format!("{executables}.allowedPrefixes")),
        (8, "spec.futureField".to_owned()),
    ];
    assert_eq!(told, expected.iter().map(|(line, what)| (*line, what.as_str())).collect::<Vec<_>>());
    assert_eq!(code, 1);
    assert!(report["policies"].as_str().unwrap().contains("- path: /usr/bin/cart\n"));
}

#[test]
fn files_of_another_tool_and_hostile_ones_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("p.yaml");
    let deep = format!("{}1{}", "[".repeat(60), "]".repeat(60));
    for (text, said) in [
        ("kind: Pod\n", "not a KubeArmorPolicy"),
        ("a: &x b\nc: *x\n", "aliases are not read"),
        (deep.as_str(), "nested deeper than"),
        ("a: [\n", "not valid YAML"),
    ] {
        fs::write(&path, text).unwrap();
        let (code, out, errors) = import(&["--from", "kubearmor", path.to_str().unwrap()]);
        assert_eq!((code, out.as_str(), errors.contains(said)), (3, "", true), "{said}: {errors}");
    }
    fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let (code, _, errors) = import(&["--from", "kubearmor", path.to_str().unwrap()]);
    assert_eq!((code, errors.contains("larger than the limit")), (3, true), "{errors}");
    let (code, _, errors) = import(&["--from", "fapolicyd", "cart.trust"]);
    assert_eq!((code, errors.contains("say it with --namespace")), (3, true), "{errors}");
}
