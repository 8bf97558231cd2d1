//! `plimsoll policy fmt`, from the outside.
#![cfg(test)]

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const UNTIDY: &str = "kind: EnforcementPolicy  # what it is\napiVersion: \"plimsoll.dev/v1alpha1\"\n\
                      metadata: {name: shop}\nspec:\n    mode: Monitor\n    selector: {namespace: shop}\n";
const TIDY: &str = "apiVersion: plimsoll.dev/v1alpha1\nkind: EnforcementPolicy  # what it is\n\
                    metadata: {name: shop}\nspec:\n  selector: {namespace: shop}\n  mode: Monitor\n";

fn fmt(directory: &Path, arguments: &[&str], input: Option<&Path>) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.args(["policy", "fmt"]).args(arguments).current_dir(directory).stdin(Stdio::null());
    if let Some(input) = input {
        command.stdin(fs::File::open(input).unwrap());
    }
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn files_are_replaced_whole_and_keep_what_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("real")).unwrap();
    fs::write(at("real/policy.yaml"), UNTIDY).unwrap();
    fs::set_permissions(at("real/policy.yaml"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("real/policy.yaml", at("link.yaml")).unwrap();

    let unformatted = (1, "link.yaml\n".to_owned(), String::new());
    assert_eq!(fmt(directory.path(), &["--check", "link.yaml"], None), unformatted);
    assert_eq!(fs::read_to_string(at("real/policy.yaml")).unwrap(), UNTIDY);
    assert_eq!(fmt(directory.path(), &["link.yaml"], None), (0, "link.yaml\n".to_owned(), String::new()));
    assert_eq!(fs::read_to_string(at("real/policy.yaml")).unwrap(), TIDY);
    assert!(at("link.yaml").is_symlink());
    assert_eq!(fs::metadata(at("real/policy.yaml")).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_dir(at("real")).unwrap().count(), 1, "a draft was left");
    // Nothing is written where nothing changes.
    let before = fs::metadata(at("real/policy.yaml")).unwrap().modified().unwrap();
    assert_eq!(fmt(directory.path(), &["."], None), (0, String::new(), String::new()));
    assert_eq!(fs::metadata(at("real/policy.yaml")).unwrap().modified().unwrap(), before);
    assert_eq!(fmt(directory.path(), &["--check", "real"], None), (0, String::new(), String::new()));
}

#[test]
fn standard_input_is_formatted_to_standard_output() {
    let directory = tempfile::tempdir().unwrap();
    let input = directory.path().join("policy.yaml");
    fs::write(&input, UNTIDY).unwrap();
    assert_eq!(fmt(directory.path(), &["-"], Some(&input)), (0, TIDY.to_owned(), String::new()));
    assert_eq!(fmt(directory.path(), &["-", "--check"], Some(&input)).0, 1);
    fs::write(&input, "kind: X\n").unwrap();
    let (code, text, errors) = fmt(directory.path(), &["-"], Some(&input));
    assert_eq!((code, text.as_str(), errors.contains("-:1:7: error: `kind` cannot be `X`")), (1, "", true), "{errors}");
}

#[test]
fn what_would_lose_something_stays_and_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let text = TIDY.replace("{namespace: shop}", "{ # why\n    namespace: shop}");
    fs::write(directory.path().join("a.yaml"), &text).unwrap();
    fs::write(directory.path().join("b.yaml"), UNTIDY.replace("name: shop}\n", "name: other}\n")).unwrap();
    let (code, named, errors) = fmt(directory.path(), &["a.yaml", "b.yaml"], None);
    assert_eq!((code, named.as_str()), (1, "b.yaml\n"), "{errors}");
    assert!(errors.starts_with("a.yaml:5: error: a comment inside brackets"), "{errors}");
    assert_eq!(fs::read_to_string(directory.path().join("a.yaml")).unwrap(), text);
    let (code, _, errors) = fmt(directory.path(), &["absent.yaml", "b.yaml"], None);
    assert_eq!((code, errors.starts_with("absent.yaml: error: No such file")), (3, true), "{errors}");
}

#[test]
fn shipped_policies_are_formatted() {
    let policies = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../policies");
    assert_eq!(fmt(&policies, &["--check", "."], None), (0, String::new(), String::new()));
}
