use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256 as RSA_PKCS1_SHA256_SIGNING},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::*;
use crate::authority::statement;

#[test]
fn a_signed_sbom_of_the_image_is_opened_to_the_byte() {
    let key = Key::new();
    let envelope = key.envelope(&statement(image(), SBOM), None).to_string();
    let opened = open(&trusting(&key), envelope.as_bytes()).unwrap();
    assert_eq!(sbom(&opened), SBOM);
    assert_eq!(opened.signer.as_deref(), Some("release"));
    assert_eq!(opened.subject, Some(image()));
}

#[test]
fn a_bundle_signed_with_a_key_needs_no_certificate() {
    let key = Key::new();
    let bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": { "publicKey": { "hint": "x" }, "tlogEntries": [] },
        "dsseEnvelope": key.envelope(&statement(image(), SBOM), None),
    });
    let opened = open(&trusting(&key), bundle.to_string().as_bytes()).unwrap();
    assert_eq!(opened.signer.as_deref(), Some("release"));
}

#[test]
fn another_key_is_told_from_changed_content() {
    let (key, other) = (Key::new(), Key::new());
    let statement = statement(image(), SBOM);
    for keyid in [None, Some(other.id())] {
        let envelope = other.envelope(&statement, keyid.as_deref()).to_string();
        let error = open(&trusting(&key), envelope.as_bytes()).unwrap_err();
        assert!(matches!(error, TrustError::UnknownSigner { .. }), "{error}");
        assert_eq!(error.to_string(), "signed with another key: none of its signatures is by `release`");
    }
    let mut envelope = key.envelope(&statement, Some(&key.id()));
    envelope["payload"] = STANDARD.encode(authority::statement(image(), b"{}")).into();
    let error = open(&trusting(&key), envelope.to_string().as_bytes()).unwrap_err();
    assert_eq!(error.name(), "tampered", "{error}");
}

#[test]
fn a_subject_changed_to_the_running_image_is_tampering() {
    let key = Key::new();
    let envelope = key.envelope(&statement(other_image(), SBOM), Some(&key.id()));
    // As it was signed, it is about another image.
    let error = open(&trusting(&key), envelope.to_string().as_bytes()).unwrap_err();
    assert_eq!(error.name(), "swapped", "{error}");
    assert!(error.to_string().contains(&other_image().to_string()), "{error}");
    let mut changed = envelope;
    changed["payload"] = STANDARD.encode(statement(image(), SBOM)).into();
    let error = open(&trusting(&key), changed.to_string().as_bytes()).unwrap_err();
    assert_eq!(error.name(), "tampered", "{error}");
}

#[test]
fn without_signers_a_statement_must_still_be_about_the_image() {
    let trust = Trust::default();
    let opened = open(&trust, &statement(image(), SBOM)).unwrap();
    assert_eq!((opened.signer, opened.subject), (None, Some(image())));
    assert_eq!(open(&trust, &statement(other_image(), SBOM)).unwrap_err().name(), "swapped");
}

#[test]
fn unsigned_documents_have_no_signer() {
    let trust = trusting(&Key::new());
    let bare = open(&trust, SBOM).unwrap();
    assert_eq!((sbom(&bare), bare.signer.as_deref(), bare.subject), (SBOM, None, None));
    let mut envelope = Key::new().envelope(&statement(image(), SBOM), None);
    envelope["signatures"] = json!([]);
    assert_eq!(open(&trust, envelope.to_string().as_bytes()).unwrap().signer, None);
}

#[test]
fn the_predicate_may_be_text_or_wrapped() {
    let key = Key::new();
    let text = serde_json::to_string(std::str::from_utf8(SBOM).unwrap()).unwrap();
    let wrapped = format!(r#"{{"Data":{text},"Timestamp":"2023-01-01T00:00:00Z"}}"#);
    for predicate in [text, wrapped] {
        let envelope = key.envelope(&statement(image(), predicate.as_bytes()), None).to_string();
        assert_eq!(sbom(&open(&trusting(&key), envelope.as_bytes()).unwrap()), SBOM);
    }
}

#[test]
fn other_statements_and_payloads_are_refused_by_name() {
    let key = Key::new();
    let about = |from: &str, to: &str| String::from_utf8(statement(image(), SBOM)).unwrap().replace(from, to);
    let provenance = about("https://spdx.dev/Document", "https://slsa.dev/provenance/v1");
    let lookalike = about("https://spdx.dev/Document", "https://spdx.dev/Documents");
    for statement in [provenance, lookalike] {
        let envelope = key.envelope(statement.as_bytes(), None).to_string();
        let error = open(&trusting(&key), envelope.as_bytes()).unwrap_err();
        assert_eq!(error.name(), "other-predicate", "{error}");
    }
    let mut many = key.envelope(&statement(image(), SBOM), None);
    many["signatures"] = vec![many["signatures"][0].clone(); 17].into();
    assert_eq!(open(&trusting(&key), many.to_string().as_bytes()).unwrap_err().name(), "malformed");
}

#[test]
fn ed25519_and_rsa_keys_verify() {
    let ed25519 = Ed25519KeyPair::generate().unwrap();
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let kind = "application/vnd.in-toto+json";
    let payload = statement(image(), SBOM);
    let message = [format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).as_bytes(), &payload].concat();
    let mut by_rsa = vec![0; rsa.public_modulus_len()];
    rsa.sign(&RSA_PKCS1_SHA256_SIGNING, &SystemRandom::new(), &message, &mut by_rsa).unwrap();
    let cases =
        [(der(ed25519.public_key()), ed25519.sign(&message).as_ref().to_vec()), (der(rsa.public_key()), by_rsa)];
    for (public, signature) in cases {
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(public));
        let proof = Proof::Key(PublicKey::from_pem(&pem).unwrap());
        let trust = Trust::new(vec![Signer { name: "release".into(), proof }], None);
        let sign = |signature: &[u8]| {
            json!({ "payloadType": kind, "payload": STANDARD.encode(&payload),
                    "signatures": [{ "sig": STANDARD.encode(signature) }] })
            .to_string()
        };
        assert_eq!(open(&trust, sign(&signature).as_bytes()).unwrap().signer.as_deref(), Some("release"));
        let mut wrong = signature;
        wrong[7] ^= 1;
        assert_eq!(open(&trust, sign(&wrong).as_bytes()).unwrap_err().name(), "wrong-key");
    }
}

fn der<K>(key: &K) -> Vec<u8>
where
    K: AsDer<PublicKeyX509Der<'static>>,
{
    key.as_der().unwrap().as_ref().to_vec()
}
