//! Policy bundles on the command line: signed, taken once, and never rolled back.
#![cfg(test)]

use std::{fs, path::Path, process::Command};

const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
-----END PRIVATE KEY-----\n";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
-----END PUBLIC KEY-----\n";
const POLICY: &str = "apiVersion: plimsoll.dev/v1alpha1\nkind: EnforcementPolicy\nmetadata:\n  name: shop\n\
                      spec:\n  selector:\n    namespace: shop\n  mode: Enforce\n";

fn plimsoll(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_plimsoll")).args(arguments).current_dir(directory).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in [("key.pem", KEY), ("security.pub", PUBLIC), ("shop.yaml", POLICY)] {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

fn sign(directory: &Path, version: &str) -> (i32, String, String) {
    let sign = ["policy", "bundle", "sign", "shop.yaml", "--name", "fleet", "--signing-key", "key.pem"];
    let more = ["--bundle-version", version, "--expires", "2099-01-01T00:00:00Z", "--output", "fleet.bundle.json"];
    plimsoll(directory, &[sign.as_slice(), more.as_slice()].concat())
}

#[test]
fn a_bundle_goes_up_and_never_down() {
    let directory = directory();
    let verify = || {
        let command = ["policy", "bundle", "verify", "fleet.bundle.json", "--key", "security.pub"];
        plimsoll(directory.path(), &[command.as_slice(), &["--remember", "versions.json"]].concat())
    };
    assert_eq!(sign(directory.path(), "2").0, 0);
    let first = fs::read(directory.path().join("fleet.bundle.json")).unwrap();
    assert_eq!(sign(directory.path(), "2").0, 0);
    assert_eq!(first, fs::read(directory.path().join("fleet.bundle.json")).unwrap(), "the same input, the same bytes");
    let (code, text, _) = verify();
    assert_eq!((code, text.contains("signed by security")), (0, true), "{text}");
    assert_eq!(verify().0, 0, "the version that is in force may be offered again");
    assert_eq!(sign(directory.path(), "1").0, 0);
    let (code, _, errors) = verify();
    assert_eq!(code, 1);
    assert!(errors.contains("rolled back: version 1 of policy bundle fleet is older than version 2"), "{errors}");
    fs::write(directory.path().join("shop.yaml"), POLICY.replace("Enforce\n", "Monitor\n")).unwrap();
    assert_eq!(sign(directory.path(), "2").0, 0);
    let (code, _, errors) = verify();
    assert_eq!(code, 1);
    assert!(errors.contains("has other content"), "{errors}");
}

#[test]
fn wrong_policies_are_not_signed_and_changed_bundles_not_taken() {
    let directory = directory();
    fs::write(directory.path().join("shop.yaml"), POLICY.replace("Enforce\n", "enforce\n")).unwrap();
    let (code, _, errors) = sign(directory.path(), "1");
    assert_eq!(code, 1);
    assert!(errors.contains("shop.yaml:8:9: error: `mode` cannot be `enforce`"), "{errors}");
    fs::write(directory.path().join("shop.yaml"), POLICY).unwrap();
    assert_eq!(sign(directory.path(), "1").0, 0);
    let path = directory.path().join("fleet.bundle.json");
    let changed = fs::read_to_string(&path).unwrap().replacen("sig\":\"", "sig\":\"AAAA", 1);
    fs::write(&path, changed).unwrap();
    let (code, _, errors) =
        plimsoll(directory.path(), &["policy", "bundle", "verify", "fleet.bundle.json", "--key", "security.pub"]);
    assert_eq!(code, 1);
    assert!(errors.contains("changed after it was signed"), "{errors}");
}
