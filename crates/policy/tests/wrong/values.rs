//! Values.

use expect_test::expect;

use super::{check, check_spec};

#[test]
fn a_mode_in_the_wrong_case() {
    check_spec(
        "  selector: {namespace: shop}
  mode: enforce
",
        &expect![[r#"
            policy.yaml:7:9: error: `mode` cannot be `enforce`
              7 |   mode: enforce
                |         ^^^^^^^
              help: did you mean `Enforce`?"#]],
    );
}

#[test]
fn a_mode_that_is_no_mode() {
    check_spec(
        "  selector: {namespace: shop}
  mode: block
",
        &expect![[r#"
            policy.yaml:7:9: error: `mode` cannot be `block`
              7 |   mode: block
                |         ^^^^^
              help: write `Monitor` or `Enforce`"#]],
    );
}

#[test]
fn a_mode_that_is_a_boolean() {
    check_spec(
        "  selector: {namespace: shop}
  mode: true
",
        &expect![[r#"
            policy.yaml:7:9: error: `mode` cannot be `true`
              7 |   mode: true
                |         ^^^^
              help: write `Monitor` or `Enforce`"#]],
    );
}

#[test]
fn a_mode_without_a_value() {
    check_spec(
        "  selector: {namespace: shop}
  mode:
",
        &expect![[r#"
            policy.yaml:7:3: error: `mode` has no value
              7 |   mode:
                |   ^^^^
              help: write `Monitor` or `Enforce`"#]],
    );
}

#[test]
fn a_mode_that_is_a_list() {
    check_spec(
        "  selector: {namespace: shop}
  mode: [Enforce]
",
        &expect![[r#"
            policy.yaml:7:9: error: `mode` must be a string, found a list
              7 |   mode: [Enforce]
                |         ^
              help: write a string here, without `- ` or `[ ]`"#]],
    );
}

#[test]
fn evidence_that_is_no_class() {
    check_spec(
        "  selector: {namespace: shop}
  mode: Enforce
  evidence: package-digests
",
        &expect![[r#"
            policy.yaml:8:13: error: `evidence` cannot be `package-digests`
              8 |   evidence: package-digests
                |             ^^^^^^^^^^^^^^^
              help: did you mean `package-digest`?"#]],
    );
}

#[test]
fn the_policys_own_evidence_cannot_be_asked_for() {
    check_spec(
        "  selector: {namespace: shop}
  mode: Enforce
  evidence: policy
",
        &expect![[r#"
            policy.yaml:8:13: error: `evidence` cannot be `policy`
              8 |   evidence: policy
                |             ^^^^^^
              help: write `layer-only`, `package-path`, `package-digest` or `sbom-digest`"#]],
    );
}

#[test]
fn anonymous_exec_that_is_a_boolean() {
    check_spec(
        "  selector: {namespace: shop}
  mode: Enforce
  anonymousExec: false
",
        &expect![[r#"
            policy.yaml:8:18: error: `anonymousExec` cannot be `false`
              8 |   anonymousExec: false
                |                  ^^^^^
              help: write `Auto`, `Deny` or `Allow`"#]],
    );
}

#[test]
fn a_name_that_is_a_number() {
    check(
        "\
apiVersion: plimsoll.dev/v1alpha1
kind: EnforcementPolicy
metadata:
  name: 2026
spec:
  selector: {namespace: shop}
  mode: Enforce
",
        &expect![[r#"
            policy.yaml:4:9: error: `name` must be a string, found the number `2026`
              4 |   name: 2026
                |         ^^^^
              help: write it in quotes: `"2026"`"#]],
    );
}

#[test]
fn a_name_that_is_no_name() {
    check(
        "\
apiVersion: plimsoll.dev/v1alpha1
kind: EnforcementPolicy
metadata:
  name: Shop Policy
spec:
  selector: {namespace: shop}
  mode: Enforce
",
        &expect![[r#"
            policy.yaml:4:9: error: `Shop Policy` is not a policy name
              4 |   name: Shop Policy
                |         ^^^^^^^^^^^
              help: use up to 253 lower-case letters, digits, `-` and `.`, with a letter or digit at both ends"#]],
    );
}

#[test]
fn a_namespace_pattern() {
    check_spec(
        r#"  selector: {namespace: "shop-*"}
  mode: Enforce
"#,
        &expect![[r#"
            policy.yaml:6:25: error: `shop-*` is not a namespace
              6 |   selector: {namespace: "shop-*"}
                |                         ^^^^^^^^
              help: name one namespace, up to 63 lower-case letters, digits and `-`; patterns are for `image.reference`"#]],
    );
}

#[test]
fn label_values_that_yaml_may_take_for_something_else() {
    check_spec(
        "  selector: {labels: {canary: yes, tier: 2, name: ~}}
  mode: Enforce
",
        &expect![[r#"
            policy.yaml:6:31: error: `canary` must be a string, found `yes`, which some parsers take for a boolean
              6 |   selector: {labels: {canary: yes, tier: 2, name: ~}}
                |                               ^^^
              help: write it in quotes: `"yes"`
            policy.yaml:6:42: error: `tier` must be a string, found the number `2`
              6 |   selector: {labels: {canary: yes, tier: 2, name: ~}}
                |                                          ^
              help: write it in quotes: `"2"`
            policy.yaml:6:51: error: `name` must be a string, found nothing
              6 |   selector: {labels: {canary: yes, tier: 2, name: ~}}
                |                                                   ^
              help: write its value after the colon"#]],
    );
}

#[test]
fn a_label_that_cannot_exist() {
    check_spec(
        r#"  selector: {labels: {"app name": cart}}
  mode: Enforce
"#,
        &expect![[r#"
            policy.yaml:6:23: error: `app name` is not a label's name
              6 |   selector: {labels: {"app name": cart}}
                |                       ^^^^^^^^^^
              help: use letters, digits, `-`, `_`, `.` and `/`, as in `app.kubernetes.io/name`"#]],
    );
}

#[test]
fn a_digest_without_its_algorithm() {
    check_spec(
        "  selector: {image: {digest: 0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a}}
  mode: Enforce
",
        &expect![[r#"
            policy.yaml:6:30: error: `digest` must be a SHA-256 digest, found `0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a...`
              6 |   selector: {image: {digest: 0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a}}
                |                              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              help: write `sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a`"#]],
    );
}

#[test]
fn a_short_digest() {
    check_spec(
        r#"  selector: {image: {digest: "sha256:0a0a"}}
  mode: Enforce
"#,
        &expect![[r#"
            policy.yaml:6:30: error: `digest` must be a SHA-256 digest, found `sha256:0a0a`
              6 |   selector: {image: {digest: "sha256:0a0a"}}
                |                              ^^^^^^^^^^^^^
              help: write `sha256:` and 64 lower-case hex digits"#]],
    );
}

#[test]
fn a_reference_without_a_tag() {
    check_spec(
        "  selector: {image: {reference: registry.example/shop/cart}}
  mode: Enforce
",
        &expect![[r#"
            policy.yaml:6:33: error: the image reference has no tag
              6 |   selector: {image: {reference: registry.example/shop/cart}}
                |                                 ^^^^^^^^^^^^^^^^^^^^^^^^^^
              help: write `registry.example/shop/cart:*` for every tag, or name one"#]],
    );
}

#[test]
fn a_reference_with_a_digest() {
    check_spec(
        r#"  selector: {image: {reference: "registry.example/shop/cart@sha256:0a0a"}}
  mode: Enforce
"#,
        &expect![[r#"
            policy.yaml:6:33: error: a digest in an image reference
              6 |   selector: {image: {reference: "registry.example/shop/cart@sha256:0a0a"}}
                |                                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              help: put the digest into `digest`, next to `reference`"#]],
    );
}

#[test]
fn an_empty_reason() {
    check_spec(
        r#"  selector: {namespace: shop}
  mode: Enforce
  allow:
    - {path: /usr/bin/other, reason: "  "}
"#,
        &expect![[r#"
            policy.yaml:9:38: error: the reason is empty
              9 |     - {path: /usr/bin/other, reason: "  "}
                |                                      ^^^^
              help: say in a sentence why this file must run; it is shown with every event"#]],
    );
}

#[test]
fn paths_that_no_file_has() {
    check_spec(
        "  selector: {namespace: shop}
  mode: Enforce
  allow:
    - {path: bin/tool, reason: x}
    - {path: /usr/*/tool, reason: x}
    - {path: /usr/bin/../tool, reason: x}
    - {path: /usr/bin/, reason: x}
    - {path: /**, reason: x}
",
        &expect![[r#"
            policy.yaml:9:14: error: a path starts with `/`
              9 |     - {path: bin/tool, reason: x}
                |              ^^^^^^^^
              help: write it from the root of the image's file system
            policy.yaml:10:14: error: a wildcard in the middle of a path
              10 |     - {path: /usr/*/tool, reason: x}
                 |              ^^^^^^^^^^^
              help: name the file, or end the path in `/**` for a whole directory
            policy.yaml:11:14: error: the path has an empty, `.` or `..` part
              11 |     - {path: /usr/bin/../tool, reason: x}
                 |              ^^^^^^^^^^^^^^^^
              help: write it without them, and without a slash at its end
            policy.yaml:12:14: error: the path has an empty, `.` or `..` part
              12 |     - {path: /usr/bin/, reason: x}
                 |              ^^^^^^^^^
              help: write it without them, and without a slash at its end
            policy.yaml:13:14: error: `/**` would allow every file of the image
              13 |     - {path: /**, reason: x}
                 |              ^^^
              help: write `evidence: layer-only` if that is what you want"#]],
    );
}

#[test]
fn an_addition_twice() {
    check_spec(
        "  selector: {namespace: shop}
  mode: Enforce
  allow:
    - {path: /usr/bin/tool, reason: x}
    - {path: /usr/bin/tool, reason: y}
",
        &expect![[r#"
            policy.yaml:10:7: error: `/usr/bin/tool` is allowed twice
              10 |     - {path: /usr/bin/tool, reason: y}
                 |       ^
              help: it is already on line 9; remove one of them"#]],
    );
}

#[test]
fn columns_count_characters() {
    check_spec(
        r#"  selector: {labels: {app: "ünïcödé"}}
  mode: Enforce
"#,
        &expect![[r#"
            policy.yaml:6:28: error: `ünïcödé` is not a label's value
              6 |   selector: {labels: {app: "ünïcödé"}}
                |                            ^^^^^^^^^
              help: a label's value is compared as it is: up to 63 letters, digits, `-`, `_` and `.`, no patterns"#]],
    );
}
