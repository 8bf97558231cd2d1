//! Deliberately wrong policies, each with the message that a person gets: the place, the text, the way out.
//!
//! `UPDATE_EXPECT=1 cargo test -p plimsoll-cli --test wrong` writes the messages anew; read the difference before keeping it.
#![cfg(test)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use expect_test::expect_file;

fn fixtures() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wrong");
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut policies: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect();
    policies.sort();
    policies
}

/// What `plimsoll policy check` says of a policy, run where it lies.
fn said(policy: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.current_dir(policy.parent().unwrap()).args(["policy", "check"]).arg(policy.file_name().unwrap());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}: exit status", policy.display());
    assert!(output.stdout.is_empty(), "{}: a wrong policy is not called right", policy.display());
    String::from_utf8(output.stderr).unwrap()
}

/// Every problem begins with `file:line:column` and ends with a remedy.
fn names_place_and_remedy(name: &str, message: &str) {
    let problems: Vec<_> = message.split_inclusive('\n').collect();
    let starts = problems.iter().filter(|line| line.starts_with(name)).inspect(|line| {
        let mut place = line.strip_prefix(name).unwrap().splitn(4, ':').skip(1);
        assert!(place.next().unwrap().parse::<usize>().unwrap() > 0, "{line}: the line");
        assert!(place.next().unwrap().parse::<usize>().unwrap() > 0, "{line}: the column");
        assert!(place.next().unwrap().starts_with(" error: "), "{line}");
    });
    let (starts, remedies) = (starts.count(), message.matches("\n  help: ").count());
    assert!(starts > 0 && starts == remedies, "{name}: {starts} problems, {remedies} remedies\n{message}");
}

#[test]
fn every_wrong_policy_has_its_message() {
    let fixtures = fixtures();
    assert!(fixtures.len() >= 40, "only {} wrong policies", fixtures.len());
    for policy in &fixtures {
        let message = said(policy);
        names_place_and_remedy(policy.file_name().unwrap().to_str().unwrap(), &message);
        expect_file![policy.with_extension("txt")].assert_eq(&message);
    }
}

#[test]
fn no_message_is_left_without_its_policy() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wrong");
    for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        assert!(path.with_extension("yaml").exists(), "{}", path.display());
    }
}
