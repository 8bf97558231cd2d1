//! File rules.

use expect_test::expect;

use super::check_spec;

#[test]
fn an_operation_that_is_none() {
    check_spec(
        "  selector: {namespace: shop}
  mode: Enforce
  files:
    - path: /etc/shadow
      deny: [read]
",
        &expect![[r#"
            policy.yaml:10:14: error: `read` is no operation on files
              10 |       deny: [read]
                 |              ^^^^
              help: did you mean `Read`?"#]],
    );
}

#[test]
fn a_rule_that_says_nothing() {
    check_spec(
        "  selector: {namespace: shop}
  mode: Enforce
  files:
    - path: /etc/shadow
    - path: /etc/passwd
      deny: []
",
        &expect![[r#"
            policy.yaml:9:7: error: a file rule that says nothing
              9 |     - path: /etc/shadow
                |       ^^^^^^^^^^^^^^^^^
              help: add for example `deny: [Write, Remove]`
            policy.yaml:11:7: error: `deny` is empty
              11 |       deny: []
                 |       ^^^^
              help: name an operation, or remove the field"#]],
    );
}

#[test]
fn a_rule_that_contradicts_itself() {
    check_spec(
        "  selector: {namespace: shop}
  mode: Enforce
  files:
    - path: /data/**
      deny: [Write, Remove]
      allow: [Remove]
",
        &expect![[r#"
            policy.yaml:9:7: error: `Remove` is denied and allowed by the same rule
              9 |     - path: /data/**
                |       ^^^^^^^^^^^^^^
              help: keep it in one of the two lists"#]],
    );
}

#[test]
fn two_rules_for_one_path() {
    check_spec(
        "  selector: {namespace: shop}
  mode: Enforce
  files:
    - {path: /data/**, deny: [Write]}
    - {path: /data, deny: [Write]}
    - {path: /data/**, allow: [Remove]}
",
        &expect![[r#"
            policy.yaml:11:7: error: a second rule for `/data/**`
              11 |     - {path: /data/**, allow: [Remove]}
                 |       ^
              help: add its operations to the rule on line 9"#]],
    );
}

#[test]
fn paths_that_are_none() {
    check_spec(
        "  selector: {namespace: shop}
  mode: Enforce
  files:
    - {path: etc/shadow, deny: [Read]}
    - {path: /etc/../shadow, deny: [Read]}
    - {path: /data/*/secret, deny: [Read]}
    - {path: /data/, deny: [Read]}
    - {path: /1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20, deny: [Read]}
",
        &expect![[r#"
            policy.yaml:9:14: error: a path starts with `/`
              9 |     - {path: etc/shadow, deny: [Read]}
                |              ^^^^^^^^^^
              help: write it from the container's root
            policy.yaml:10:14: error: the path has an empty, `.` or `..` part
              10 |     - {path: /etc/../shadow, deny: [Read]}
                 |              ^^^^^^^^^^^^^^
              help: write it without them, and without a slash at its end
            policy.yaml:11:14: error: a wildcard in the middle of a path
              11 |     - {path: /data/*/secret, deny: [Read]}
                 |              ^^^^^^^^^^^^^^
              help: name the file, or end the path in `/**` for a whole directory
            policy.yaml:12:14: error: the path has an empty, `.` or `..` part
              12 |     - {path: /data/, deny: [Read]}
                 |              ^^^^^^
              help: write it without them, and without a slash at its end
            policy.yaml:13:14: error: the path has more than 19 parts
              13 |     - {path: /1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20, deny: [Read]}
                 |              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              help: name a directory further up, with `/**`"#]],
    );
}

#[test]
fn a_field_of_other_tools() {
    check_spec(
        "  selector: {namespace: shop}
  mode: Enforce
  files:
    - path: /etc/shadow
      action: Deny
      operations: [Read]
",
        &expect![[r#"
            policy.yaml:10:7: error: unknown field `action` in an entry of `spec.files`
              10 |       action: Deny
                 |       ^^^^^^
              help: an entry of `spec.files` has `path`, `deny`, `allow`
            policy.yaml:11:7: error: unknown field `operations` in an entry of `spec.files`
              11 |       operations: [Read]
                 |       ^^^^^^^^^^
              help: an entry of `spec.files` has `path`, `deny`, `allow`"#]],
    );
}
