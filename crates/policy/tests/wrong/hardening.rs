//! `spec.hardening`.

use expect_test::expect;

use super::check_spec;

const REST: &str = "  selector: {namespace: shop}\n  mode: Enforce\n";

#[test]
fn an_operation_that_is_none() {
    check_spec(
        &format!("{REST}  hardening:\n    ptrcae: Deny\n    mounts: Deny\n    modules: Deny\n"),
        &expect![[r#"
        policy.yaml:9:5: error: unknown field `ptrcae` in `spec.hardening`
          9 |     ptrcae: Deny
            |     ^^^^^^
          help: did you mean `ptrace`?
        policy.yaml:10:5: error: unknown field `mounts` in `spec.hardening`
          10 |     mounts: Deny
             |     ^^^^^^
          help: did you mean `mount`?
        policy.yaml:11:5: error: unknown field `modules` in `spec.hardening`
          11 |     modules: Deny
             |     ^^^^^^^
          help: `spec.hardening` has `ptrace`, `bpf`, `perfEvent`, `kernelCode`, `mount`, `userNamespace`, `setns`, `keyring`, `ioUring`, `kernelFiles`, `kernelLog`, `clock`, `deviceFile`, `chroot`, `capabilities`"#]],
    );
}

#[test]
fn an_operation_with_something_else() {
    check_spec(
        &format!("{REST}  hardening:\n    bpf: deny\n    mount: Audit\n    chroot: true\n    clock:\n"),
        &expect![[r#"
            policy.yaml:9:10: error: `bpf` cannot be `deny`
              9 |     bpf: deny
                |          ^^^^
              help: did you mean `Deny`?
            policy.yaml:10:12: error: `mount` cannot be `Audit`
              10 |     mount: Audit
                 |            ^^^^^
              help: write `Allow` or `Deny`
            policy.yaml:11:13: error: `chroot` cannot be `true`
              11 |     chroot: true
                 |             ^^^^
              help: write `Allow` or `Deny`
            policy.yaml:12:5: error: `clock` has no value
              12 |     clock:
                 |     ^^^^^
              help: write `Allow` or `Deny`"#]],
    );
}

#[test]
fn capabilities_that_are_none() {
    check_spec(
        &format!(
            "{REST}  hardening:\n    capabilities: [NET_BIND_SERVICE, cap_chown, CAP_SYS_ADMN, CAP_ROOT_OF_ALL_EVIL, 12]\n"
        ),
        &expect![[r#"
            policy.yaml:9:20: error: `NET_BIND_SERVICE` is no capability
              9 |     capabilities: [NET_BIND_SERVICE, cap_chown, CAP_SYS_ADMN, CAP_ROOT_OF_ALL_EVIL, 12]
                |                    ^^^^^^^^^^^^^^^^
              help: did you mean `CAP_NET_BIND_SERVICE`?
            policy.yaml:9:38: error: `cap_chown` is no capability
              9 |     capabilities: [NET_BIND_SERVICE, cap_chown, CAP_SYS_ADMN, CAP_ROOT_OF_ALL_EVIL, 12]
                |                                      ^^^^^^^^^
              help: did you mean `CAP_CHOWN`?
            policy.yaml:9:49: error: `CAP_SYS_ADMN` is no capability
              9 |     capabilities: [NET_BIND_SERVICE, cap_chown, CAP_SYS_ADMN, CAP_ROOT_OF_ALL_EVIL, 12]
                |                                                 ^^^^^^^^^^^^
              help: did you mean `CAP_SYS_ADMIN`?
            policy.yaml:9:63: error: `CAP_ROOT_OF_ALL_EVIL` is no capability
              9 |     capabilities: [NET_BIND_SERVICE, cap_chown, CAP_SYS_ADMN, CAP_ROOT_OF_ALL_EVIL, 12]
                |                                                               ^^^^^^^^^^^^^^^^^^^^
              help: write it as in capabilities(7), for example `CAP_NET_BIND_SERVICE`
            policy.yaml:9:85: error: an entry of `capabilities` must be a string, found the number `12`
              9 |     capabilities: [NET_BIND_SERVICE, cap_chown, CAP_SYS_ADMN, CAP_ROOT_OF_ALL_EVIL, 12]
                |                                                                                     ^^
              help: write it in quotes: `"12"`"#]],
    );
}

#[test]
fn a_capability_twice() {
    check_spec(
        &format!("{REST}  hardening:\n    capabilities:\n      - CAP_CHOWN\n      - CAP_CHOWN\n"),
        &expect![[r#"
        policy.yaml:11:9: error: `CAP_CHOWN` is named twice
          11 |       - CAP_CHOWN
             |         ^^^^^^^^^
          help: remove one of them"#]],
    );
}

#[test]
fn capabilities_that_are_no_list() {
    check_spec(
        &format!("{REST}  hardening:\n    capabilities: CAP_CHOWN\n"),
        &expect![[r#"
        policy.yaml:9:19: error: `capabilities` must be a list, found the string `CAP_CHOWN`
          9 |     capabilities: CAP_CHOWN
            |                   ^^^^^^^^^
          help: write each entry on its own line, after `- `"#]],
    );
}

#[test]
fn hardening_that_is_no_mapping() {
    check_spec(
        &format!("{REST}  hardening: Deny\n"),
        &expect![[r#"
        policy.yaml:8:3: error: `spec.hardening` must be a mapping, found the string `Deny`
          8 |   hardening: Deny
            |   ^^^^^^^^^
          help: write its fields on the next lines, indented, as `name: value`"#]],
    );
}

#[test]
fn hardening_in_the_wrong_place() {
    check_spec(
        &format!("{REST}  ptrace: Deny\n"),
        &expect![[r#"
        policy.yaml:8:3: error: unknown field `ptrace` in `spec`
          8 |   ptrace: Deny
            |   ^^^^^^
          help: `ptrace` belongs in `spec.hardening`; check the indentation"#]],
    );
}

#[test]
fn rings_beside_capabilities() {
    check_spec(
        &format!("{REST}  hardening:\n    ioUring: Allow\n    capabilities: [CAP_CHOWN]\n"),
        &expect![[r#"
        policy.yaml:9:14: error: `ioUring: Allow` cannot stand beside `capabilities`
          9 |     ioUring: Allow
            |              ^^^^^
          help: remove one of them: a ring can work with credentials of its own, which no set of capabilities holds"#]],
    );
}
