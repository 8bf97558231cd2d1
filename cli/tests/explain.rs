//! `plimsoll policy explain`, `completions` and `man`, from the outside.
#![cfg(test)]

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use plimsoll_sbom::Sha256;
use serde_json::json;

fn plimsoll(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_plimsoll")).args(arguments).current_dir(directory).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// An image with a program that its SBOM lists, one that it does not, and one that it lists with other content.
fn image() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for name in ["listed", "extra", "changed"] {
        let content = [b"\x7fELF".as_slice(), name.as_bytes(), &[0; 64]].concat();
        let path = directory.path().join("rootfs/usr/bin").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let declared = if name == "changed" { Sha256::of(b"as built") } else { Sha256::of(&content) };
        let checksum = json!({"algorithm": "SHA256", "checksumValue": declared.hex()});
        if name != "extra" {
            files.push(json!({"fileName": format!("./usr/bin/{name}"), "SPDXID": format!("SPDXRef-{name}"), "checksums": [checksum]}));
        }
    }
    let sbom = json!({
        "spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "image", "dataLicense": "CC0-1.0",
        "documentNamespace": "https://sbom.example/image", "creationInfo": {"created": "2026-01-01T00:00:00Z", "creators": ["Tool: test"]},
        "packages": [], "files": files,
    });
    fs::write(directory.path().join("sbom.json"), sbom.to_string()).unwrap();
    for (name, selector, mode) in
        [("shop", "namespace: shop", "Enforce"), ("all", "image: {reference: \"*\"}", "Monitor")]
    {
        let text = format!(
            "apiVersion: plimsoll.dev/v1alpha1\nkind: EnforcementPolicy\nmetadata: {{name: {name}}}\n\
             spec:\n  selector: {{{selector}}}\n  mode: {mode}\n"
        );
        fs::create_dir_all(directory.path().join("policies")).unwrap();
        fs::write(directory.path().join("policies").join(format!("{name}.yaml")), text).unwrap();
    }
    directory
}

const EXPLAIN: [&str; 8] = ["policy", "explain", "--policy", "policies", "--rootfs", "rootfs", "--sbom", "sbom.json"];

#[test]
fn the_chain_goes_from_the_sbom_to_the_verdict() {
    let image = image();
    let ask = |more: &[&str]| plimsoll(image.path(), &[EXPLAIN.as_slice(), more].concat());
    let (code, text, errors) = ask(&["--namespace", "shop", "/usr/bin/listed"]);
    assert_eq!((code, errors.as_str()), (0, ""), "{text}");
    for part in [
        "policy shop (Enforce), policies/shop.yaml:3:",
        "evidence  sbom-digest",
        "exec      allow (listed): evidence sbom-digest",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (code, text, _) =
        ask(&["--namespace", "shop", "/usr/bin/listed", "/usr/bin/extra", "/usr/bin/changed", "/opt/listed"]);
    assert_eq!(code, 1);
    for part in [
        "exec      deny (not-listed): its evidence is layer-only, the policy accepts package-digest or stronger",
        "evidence  none: the SBOM declares sha256:",
        "exec      deny (written)",
        "did you mean `/usr/bin/listed`?",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (code, text, _) = ask(&["--namespace", "shop", "--image", "registry.example/cart:1", "/usr/bin/extra"]);
    assert_eq!((code, text.contains("goes before all")), (1, true), "{text}");
    let (code, text, _) = ask(&["--namespace", "other", "--image", "registry.example/cart:1", "/usr/bin/extra"]);
    assert_eq!((code, text.contains("exec      audit (not-listed)")), (1, true), "{text}");
    let (code, _, errors) = ask(&["--namespace", "other", "/usr/bin/extra"]);
    assert_eq!((code, errors.contains("no policy is for this workload")), (1, true), "{errors}");
}

#[test]
fn every_policy_is_told_why_it_is_or_is_not_the_workloads() {
    let image = image();
    let write = |name: &str, text: &str| {
        let head = "apiVersion: plimsoll.dev/v1alpha1\nspec: {selector: {labels: {app: cart}}, mode: Monitor}\n";
        fs::write(image.path().join("policies").join(name), format!("{head}{text}")).unwrap();
    };
    write("own.yaml", "kind: EnforcementPolicy\nmetadata: {name: own, namespace: shop}\n");
    write("other.yaml", "kind: EnforcementPolicy\nmetadata: {name: other, namespace: bank}\n");
    let workload = ["--namespace", "shop", "--label", "app=cart"];
    let ask = |more: &[&str]| plimsoll(image.path(), &[&["policy", "explain", "--policy", "policies"], more].concat());
    let (code, text, errors) = ask(&workload);
    assert_eq!((code, errors.as_str()), (0, ""), "{text}");
    for part in [
        "policy shop (Enforce), policies/shop.yaml:3:",
        ", of the directory\n",
        "goes before shop/own (namespace): a higher authority goes first\n",
        "not all (directory): the workload's image reference does not fit\n",
        "not bank/other (namespace): the workload is not known to be in its namespace\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // What the cluster says goes before what the node says, however general it is.
    write("cluster.yaml", "kind: ClusterEnforcementPolicy\nmetadata: {name: fleet}\n");
    let (_, text, _) = ask(&[workload.as_slice(), &["--json"]].concat());
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&report["policy"], &report["authority"]), (&json!("fleet"), &json!("cluster")));
    let candidates = report["candidates"].as_array().unwrap();
    assert_eq!(candidates.len(), 5);
    assert_eq!((&candidates[0]["why_not"], &candidates[1]["policy"]), (&json!(null), &json!("shop")));
    let (code, _, errors) = ask(&["--namespace", "other"]);
    assert_eq!((code, errors.contains("not shop (directory): the workload is not known")), (1, true), "{errors}");
    let (code, _, errors) = ask(&["--namespace", "shop", "/usr/bin/listed"]);
    assert_eq!((code, errors.contains("--rootfs")), (2, true), "{errors}");
}

#[test]
fn json_has_the_same_chain() {
    let image = image();
    let more = ["--namespace", "shop", "--json", "/usr/bin/extra"];
    let (code, text, _) = plimsoll(image.path(), &[EXPLAIN.as_slice(), &more].concat());
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &report["policy"], &report["mode"]), (1, &json!("shop"), &json!("Enforce")));
    assert_eq!(report["files"][0]["answers"][0]["verdict"], "deny");
    assert_eq!(report["files"][0]["found"]["evidence"], "layer-only");
}

#[test]
fn completions_and_pages_know_every_command() {
    let directory = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let (code, text, _) = plimsoll(directory.path(), &["completions", shell]);
        assert_eq!((code, text.contains("simulate")), (0, true), "{shell}");
    }
    let bash = plimsoll(directory.path(), &["completions", "bash"]).1;
    fs::write(directory.path().join("plimsoll.bash"), bash).unwrap();
    let complete = "source ./plimsoll.bash; COMP_WORDS=(plimsoll policy sim); COMP_CWORD=2; \
                    _plimsoll plimsoll sim policy; echo \"${COMPREPLY[@]}\"";
    let output = Command::new("bash").args(["-c", complete]).current_dir(directory.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "simulate", "{output:?}");

    assert_eq!(plimsoll(directory.path(), &["man", "man1"]).0, 0);
    let page = fs::read_to_string(directory.path().join("man1/plimsoll-policy-simulate.1")).unwrap();
    assert!(page.contains("\\-\\-events") && page.contains(".SH NAME"), "{page}");
}
