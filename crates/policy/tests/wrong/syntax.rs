//! YAML itself.

use expect_test::expect;

use super::{check, check_spec};

#[test]
fn a_tab_as_indentation() {
    check_spec(
        "\tselector: {namespace: shop}
  mode: Enforce
",
        &expect![[r#"
            policy.yaml:6:2: error: not valid YAML: tabs disallowed within this context (block indentation)
              6 |  selector: {namespace: shop}
                |  ^
              help: replace the tab by spaces; YAML indents with spaces alone"#]],
    );
}

#[test]
fn wrong_indentation() {
    check_spec(
        "  selector:
    namespace: shop
   mode: Enforce
",
        &expect![[r#"
            policy.yaml:8:4: error: not valid YAML: while parsing a block mapping, did not find expected key
              8 |    mode: Enforce
                |    ^
              help: align this line with the other fields of the same block"#]],
    );
}

#[test]
fn a_colon_without_a_space() {
    check_spec(
        "  selector:{namespace: shop}
  mode: Enforce
",
        &expect![[r#"
            policy.yaml:6:3: error: unknown field `selector:{namespace` in `spec`
              6 |   selector:{namespace: shop}
                |   ^^^^^^^^^^^^^^^^^^^
              help: put a space after the colon: `selector: ...`"#]],
    );
}

#[test]
fn an_unclosed_bracket() {
    check_spec(
        "  selector: {namespace: shop
  mode: Enforce
",
        &expect![[r#"
            policy.yaml:7:7: error: not valid YAML: while parsing a flow mapping, did not find expected ',' or '}'
              7 |   mode: Enforce
                |       ^
              help: check that every bracket has its partner; quote a value that contains one"#]],
    );
}

#[test]
fn an_unclosed_quote() {
    check_spec(
        r#"  selector: {namespace: "shop}
  mode: Enforce
"#,
        &expect![[r#"
            policy.yaml:6:25: error: not valid YAML: unclosed quote
              6 |   selector: {namespace: "shop}
                |                         ^
              help: check that every quote has its partner"#]],
    );
}

#[test]
fn anchors_aliases_tags_and_merge_keys() {
    check_spec(
        "  selector: &s
    namespace: *n
  mode: !!str Enforce
  <<: *s
",
        &expect![[r#"
            policy.yaml:6:13: error: anchors are not supported
              6 |   selector: &s
                |             ^^
              help: remove the `&name`, and write the value out where it is used
            policy.yaml:7:16: error: aliases are not supported
              7 |     namespace: *n
                |                ^^
              help: write the value out; quote it if it is meant to start with `*`
            policy.yaml:8:9: error: tags are not supported
              8 |   mode: !!str Enforce
                |         ^^^^^
              help: remove the `!tag`; quote the value if it is meant to start with `!`
            policy.yaml:9:3: error: merge keys are not supported
              9 |   <<: *s
                |   ^^
              help: write the fields out
            policy.yaml:9:7: error: aliases are not supported
              9 |   <<: *s
                |       ^^
              help: write the value out; quote it if it is meant to start with `*`"#]],
    );
}

#[test]
fn a_key_that_is_a_list() {
    check_spec(
        "  [selector]: {namespace: shop}
  mode: Enforce
",
        &expect![[r#"
            policy.yaml:5:1: error: `spec` has no `selector`
              5 | spec:
                | ^^^^
              help: add `selector: {namespace: my-namespace}`
            policy.yaml:6:3: error: a key must be a name
              6 |   [selector]: {namespace: shop}
                |   ^
              help: quote the key if it is meant to start with `[`, `{` or `?`"#]],
    );
}

#[test]
fn a_directive() {
    check(
        "\
%YAML 1.2
---
apiVersion: plimsoll.dev/v1alpha1
kind: EnforcementPolicy
metadata:
  name: shop
spec:
  selector: {namespace: shop}
  mode: Enforce
",
        &expect![[r#"
            policy.yaml:1:1: error: not valid YAML: YAML directives are disallowed
              1 | %YAML 1.2
                | ^
              help: remove the line; a policy needs no YAML directives"#]],
    );
}

#[test]
fn problems_of_every_document_are_found() {
    check(
        "\
apiVersion: plimsoll.dev/v1alpha1
kind: EnforcementPolicy
metadata:
  name: shop
spec:
  selector: {namespace: shop}
  mode: [
---
apiVersion: plimsoll.dev/v1alpha1
kind: EnforcementPolicy
metadata:
  name: shop
spec:
  selector: {namespace: shop}
  mode: Enforced
",
        &expect![[r#"
            policy.yaml:7:9: error: not valid YAML: unclosed bracket '['
              7 |   mode: [
                |         ^
              help: check that every bracket has its partner; quote a value that contains one
            policy.yaml:15:9: error: `mode` cannot be `Enforced`
              15 |   mode: Enforced
                 |         ^^^^^^^^
              help: did you mean `Enforce`?"#]],
    );
}
