//! What a person is told about a wrong policy: the place, the problem, the way out.
#![cfg(test)]
#![expect(clippy::needless_raw_string_hashes, reason = "snapshots are written with them")]

mod fields;
mod files;
mod hardening;
mod network;
mod syntax;
mod trust;
mod values;

use expect_test::Expect;
use plimsoll_policy::{Limits, parse};

/// Five lines, up to and with `spec:`.
const HEAD: &str = "\
apiVersion: plimsoll.dev/v1alpha1
kind: EnforcementPolicy
metadata:
  name: shop
spec:
";

/// Checks a document whose first lines are in order.
#[track_caller]
fn check_spec(spec: &str, expected: &Expect) {
    check(&format!("{HEAD}{spec}"), expected);
}

#[track_caller]
fn check(text: &str, expected: &Expect) {
    let problems = parse("policy.yaml", text.as_bytes(), &Limits::default()).unwrap_err();
    for problem in problems.list() {
        assert!(problem.help.is_some(), "no way out: {problem}");
    }
    expected.assert_eq(&problems.to_string());
}
