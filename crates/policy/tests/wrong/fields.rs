//! Names and structure.

use expect_test::expect;

use super::{check, check_spec};

#[test]
fn an_unknown_field_gets_a_suggestion() {
    check_spec(
        "  selectors: {namespace: shop}
  mode: Enforce
",
        &expect![[r#"
            policy.yaml:6:3: error: unknown field `selectors` in `spec`
              6 |   selectors: {namespace: shop}
                |   ^^^^^^^^^
              help: did you mean `selector`?"#]],
    );
}

#[test]
fn an_unknown_field_without_a_likeness_lists_the_known_ones() {
    check_spec(
        "  selector: {namespace: shop}
  mode: Enforce
  severity: high
",
        &expect![[r#"
            policy.yaml:8:3: error: unknown field `severity` in `spec`
              8 |   severity: high
                |   ^^^^^^^^
              help: `spec` has `selector`, `mode`, `evidence`, `anonymousExec`, `allow`, `files`, `scripts`, `network`, `hardening`, `sbom`"#]],
    );
}

#[test]
fn a_field_at_the_wrong_level_is_sent_home() {
    check_spec(
        "  selector:
    namespace: shop
    mode: Enforce
",
        &expect![[r#"
            policy.yaml:5:1: error: `spec` has no `mode`
              5 | spec:
                | ^^^^
              help: add `mode: Monitor`
            policy.yaml:8:5: error: unknown field `mode` in `spec.selector`
              8 |     mode: Enforce
                |     ^^^^
              help: `mode` belongs in `spec`; check the indentation"#]],
    );
}

#[test]
fn a_duplicate_key_names_the_first() {
    check_spec(
        "  selector: {namespace: shop}
  mode: Enforce
  mode: Monitor
",
        &expect![[r#"
            policy.yaml:8:3: error: duplicate key `mode`
              8 |   mode: Monitor
                |   ^^^^
              help: it is already set on line 7; keep one of them"#]],
    );
}

#[test]
fn an_empty_selector_is_refused() {
    check_spec(
        "  selector: {}
  mode: Enforce
",
        &expect![[r#"
            policy.yaml:6:3: error: an empty selector selects nothing
              6 |   selector: {}
                |   ^^^^^^^^
              help: name at least one of `image`, `labels` and `namespace`; to select every image, write `image: {reference: "*"}`"#]],
    );
}

#[test]
fn a_selector_without_a_value_is_refused() {
    check_spec(
        "  selector:
  mode: Enforce
",
        &expect![[r#"
            policy.yaml:6:3: error: `spec.selector` must be a mapping, found nothing
              6 |   selector:
                |   ^^^^^^^^
              help: write its fields on the next lines, indented, as `name: value`"#]],
    );
}

#[test]
fn an_empty_image_selector_is_refused() {
    check_spec(
        "  selector: {image: {}}
  mode: Enforce
",
        &expect![[r#"
            policy.yaml:6:14: error: an empty image selector selects nothing
              6 |   selector: {image: {}}
                |              ^^^^^
              help: name the image's `digest`, or a pattern of its `reference`"#]],
    );
}

#[test]
fn empty_labels_are_refused() {
    check_spec(
        "  selector: {labels: {}}
  mode: Enforce
",
        &expect![[r#"
            policy.yaml:6:14: error: `labels` is empty
              6 |   selector: {labels: {}}
                |              ^^^^^^
              help: name a label, or remove the field"#]],
    );
}

#[test]
fn missing_fields_show_how_to_write_them() {
    check_spec(
        "  evidence: layer-only
",
        &expect![[r#"
            policy.yaml:5:1: error: `spec` has no `selector`
              5 | spec:
                | ^^^^
              help: add `selector: {namespace: my-namespace}`
            policy.yaml:5:1: error: `spec` has no `mode`
              5 | spec:
                | ^^^^
              help: add `mode: Monitor`"#]],
    );
}

#[test]
fn an_addition_lacks_its_reason_or_its_path() {
    check_spec(
        "  selector: {namespace: shop}
  mode: Enforce
  allow:
    - path: /usr/bin/tool
    - reason: needed at start
",
        &expect![[r#"
            policy.yaml:9:7: error: an entry of `spec.allow` has no `reason`
              9 |     - path: /usr/bin/tool
                |       ^^^^^^^^^^^^^^^^^^^
              help: add `reason: why it must run`
            policy.yaml:10:7: error: an entry of `spec.allow` has no `path`
              10 |     - reason: needed at start
                 |       ^^^^^^^^^^^^^^^^^^^^^^^
              help: add `path: /usr/local/bin/tool`"#]],
    );
}

#[test]
fn an_addition_that_is_a_string() {
    check_spec(
        "  selector: {namespace: shop}
  mode: Enforce
  allow:
    - /usr/bin/tool
",
        &expect![[r#"
            policy.yaml:9:7: error: an entry of `spec.allow` must be a mapping, found the string `/usr/bin/tool`
              9 |     - /usr/bin/tool
                |       ^^^^^^^^^^^^^
              help: write its fields on the next lines, indented, as `name: value`"#]],
    );
}

#[test]
fn additions_that_are_a_mapping() {
    check_spec(
        "  selector: {namespace: shop}
  mode: Enforce
  allow:
    path: /usr/bin/tool
    reason: x
",
        &expect![[r#"
            policy.yaml:9:5: error: `allow` must be a list, found a mapping
              9 |     path: /usr/bin/tool
                |     ^^^^^^^^^^^^^^^^^^^
              help: write a list here; check the indentation"#]],
    );
}

#[test]
fn a_foreign_document_is_told_what_is_expected() {
    check(
        "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: shop
data: {}
",
        &expect![[r#"
            policy.yaml:1:1: error: the document has no `spec`
              1 | apiVersion: v1
                | ^^^^^^^^^^^^^^
              help: add `spec:`
            policy.yaml:1:13: error: `apiVersion` cannot be `v1`
              1 | apiVersion: v1
                |             ^^
              help: write `plimsoll.dev/v1alpha1`
            policy.yaml:2:7: error: `kind` cannot be `ConfigMap`
              2 | kind: ConfigMap
                |       ^^^^^^^^^
              help: write `EnforcementPolicy` or `ClusterEnforcementPolicy`
            policy.yaml:5:1: error: unknown field `data` in the document
              5 | data: {}
                | ^^^^
              help: the document has `apiVersion`, `kind`, `metadata`, `spec`"#]],
    );
}

#[test]
fn a_document_that_is_a_list() {
    check(
        "\
- apiVersion: plimsoll.dev/v1alpha1
",
        &expect![[r#"
            policy.yaml:1:1: error: the document must be a mapping, found a list
              1 | - apiVersion: plimsoll.dev/v1alpha1
                | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              help: write a mapping here, without `- ` or `[ ]`"#]],
    );
}

#[test]
fn an_empty_file() {
    check(
        "\
# nothing yet
",
        &expect![[r#"
            policy.yaml:1:1: error: no policy in this document
              1 | # nothing yet
                | ^^^^^^^^^^^^^
              help: start from `policies/observe/policy.yaml`"#]],
    );
}

#[test]
fn a_second_policy_where_one_is_expected() {
    check(
        "\
apiVersion: plimsoll.dev/v1alpha1
kind: EnforcementPolicy
metadata:
  name: shop
spec:
  selector: {namespace: shop}
  mode: Enforce
---
apiVersion: plimsoll.dev/v1alpha1
kind: EnforcementPolicy
metadata:
  name: cart
spec:
  selector: {namespace: shop}
  mode: Enforce
",
        &expect![[r#"
            policy.yaml:12:9: error: a second policy, where one is expected
              12 |   name: cart
                 |         ^^^^
              help: put it into a file of its own"#]],
    );
}

#[test]
fn everything_at_once() {
    check(
        "\
apiVersion: plimsoll.dev/v1
kind: EnforcmentPolicy
metadata:
  nam: shop
spec:
  selector:
    image: {digest: latest}
    namespaces: shop
  mode: audit
  mode: Enforce
  allow:
    - path: tool
",
        &expect![[r#"
            policy.yaml:1:13: error: `apiVersion` cannot be `plimsoll.dev/v1`
              1 | apiVersion: plimsoll.dev/v1
                |             ^^^^^^^^^^^^^^^
              help: did you mean `plimsoll.dev/v1alpha1`?
            policy.yaml:2:7: error: `kind` cannot be `EnforcmentPolicy`
              2 | kind: EnforcmentPolicy
                |       ^^^^^^^^^^^^^^^^
              help: did you mean `EnforcementPolicy`?
            policy.yaml:4:3: error: unknown field `nam` in `metadata`
              4 |   nam: shop
                |   ^^^
              help: did you mean `name`?
            policy.yaml:7:21: error: `digest` must be a SHA-256 digest, found `latest`
              7 |     image: {digest: latest}
                |                     ^^^^^^
              help: write `sha256:` and 64 lower-case hex digits
            policy.yaml:8:5: error: unknown field `namespaces` in `spec.selector`
              8 |     namespaces: shop
                |     ^^^^^^^^^^
              help: did you mean `namespace`?
            policy.yaml:9:9: error: `mode` cannot be `audit`
              9 |   mode: audit
                |         ^^^^^
              help: write `Monitor` or `Enforce`
            policy.yaml:10:3: error: duplicate key `mode`
              10 |   mode: Enforce
                 |   ^^^^
              help: it is already set on line 9; keep one of them
            policy.yaml:12:7: error: an entry of `spec.allow` has no `reason`
              12 |     - path: tool
                 |       ^^^^^^^^^^
              help: add `reason: why it must run`
            policy.yaml:12:13: error: a path starts with `/`
              12 |     - path: tool
                 |             ^^^^
              help: write it from the root of the image's file system"#]],
    );
}
