//! `spec.sbom`.

use expect_test::expect;
use plimsoll_policy::{Limits, SbomTrust, SignedBy, Unsigned, parse};
use plimsoll_sbom::EvidenceClass;

use super::{HEAD, check_spec};

const SPEC: &str = "  selector: {namespace: shop}\n  mode: Enforce\n";

fn sbom(text: &str) -> SbomTrust {
    parse("policy.yaml", format!("{HEAD}{SPEC}{text}").as_bytes(), &Limits::default()).unwrap().sbom
}

#[test]
fn what_is_right() {
    assert_eq!(sbom(""), SbomTrust::default());
    let signed = sbom(
        "  sbom:\n    signedBy:\n      - key: release\n      - identity: https://forge.example/team/*\n        issuer: https://accounts.example\n",
    );
    let identity = SignedBy::Identity {
        identity: "https://forge.example/team/*".into(),
        issuer: "https://accounts.example".into(),
    };
    assert_eq!(signed.signed_by, [SignedBy::Key("release".into()), identity]);
    assert_eq!(signed.unsigned, Unsigned::Refuse, "naming signers does not mean that everybody may leave them out");
    let capped = sbom("  sbom: {signedBy: [{key: release}], unsigned: package-path}\n");
    assert_eq!(capped.unsigned, Unsigned::AtMost(EvidenceClass::PackagePath));
    assert_eq!(sbom("  sbom: {unsigned: Refuse}\n").signed_by, []);
}

#[test]
fn every_mistake_in_signers() {
    check_spec(
        &format!(
            "{SPEC}  sbom:\n    signedBy:\n      - key: ../release\n      - identity: \"*\"\n        issuer: accounts.example\n      - identity: a@b.example\n      - {{}}\n      - key: a\n        identity: b\n    unsigned: Allow\n"
        ),
        &expect![[r#"
            policy.yaml:10:14: error: `../release` is not a key's name
              10 |       - key: ../release
                 |              ^^^^^^^^^^
              help: name a file of the node's directory of keys without its `.pub`, such as `release`
            policy.yaml:11:19: error: `*` is not an identity
              11 |       - identity: "*"
                 |                   ^^^
              help: write the certificate's e-mail address or URI; a `*` at its end stands for anything
            policy.yaml:12:17: error: `accounts.example` is not an issuer
              12 |         issuer: accounts.example
                 |                 ^^^^^^^^^^^^^^^^
              help: write the OpenID Connect issuer as certificates have it, such as `https://accounts.example`
            policy.yaml:13:9: error: an identity without its `issuer`
              13 |       - identity: a@b.example
                 |         ^^^^^^^^^^^^^^^^^^^^^
              help: add the `issuer` that vouches for the identity, such as `https://accounts.example`
            policy.yaml:14:9: error: an empty signer is nobody
              14 |       - {}
                 |         ^
              help: name a `key`, or an `identity` with its `issuer`
            policy.yaml:15:9: error: a signer has a key or an identity, not both
              15 |       - key: a
                 |         ^^^^^^
              help: make two entries of it: either may then sign
            policy.yaml:17:15: error: `unsigned` cannot be `Allow`
              17 |     unsigned: Allow
                 |               ^^^^^
              help: write `Refuse`, `layer-only`, `package-path`, `package-digest` or `sbom-digest`"#]],
    );
}

#[test]
fn an_empty_sbom() {
    check_spec(
        &format!("{SPEC}  sbom: {{}}\n"),
        &expect![[r#"
            policy.yaml:8:3: error: `sbom` says nothing
              8 |   sbom: {}
                |   ^^^^
              help: name who must sign under `signedBy`, or what `unsigned` is worth, or remove the field"#]],
    );
    check_spec(
        &format!("{SPEC}  sbom: {{signedBy: []}}\n"),
        &expect![[r#"
            policy.yaml:8:10: error: `signedBy` is empty
              8 |   sbom: {signedBy: []}
                |          ^^^^^^^^
              help: name a signer, or remove the field"#]],
    );
}
