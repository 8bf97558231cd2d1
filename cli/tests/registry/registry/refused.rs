//! Each way of being wrong has its own words.

use plimsoll_sbom::Sha256;
use serde_json::{Value, json};

use super::{
    image::{BUNDLE, Image, sbom},
    server::plimsoll,
};
use crate::authority::{Key, TOO_LATE, statement};

/// The failure of the only document, in a word and in words.
fn failure(image: &Image, trust: &[&str]) -> (String, String) {
    let answer = plimsoll(&[&["sbom", "verify", &image.reference(), "--json"], trust].concat());
    assert_eq!(answer.code, 1, "{}{}", answer.text, answer.errors);
    let report = answer.json();
    assert_eq!((&report["accepted"], report["documents"].as_array().unwrap().len()), (&json!(false), 1));
    let text = |field: &str| report["documents"][0][field].as_str().unwrap().to_owned();
    (text("failure"), text("reason"))
}

/// What is right first: every test below changes one thing of it.
fn accepted(image: &Image, envelope: &Value) {
    image.attach_attestation(envelope, &[]);
    let answer = plimsoll(&["sbom", "verify", &image.reference(), "--key", &image.path("release.pub")]);
    assert_eq!(answer.code, 0, "{}{}", answer.text, answer.errors);
}

#[test]
fn a_tampered_subject() {
    let image = Image::push();
    let keyid = image.key.id();
    accepted(&image, &image.key.envelope(&image.statement(), Some(&keyid)));
    // Signed for another image; its subject is then written over with this one's digest.
    let mut envelope = image.key.envelope(&statement(Sha256::of(b"another"), &image.sbom), Some(&keyid));
    envelope["payload"] = image.key.envelope(&image.statement(), None)["payload"].clone();
    image.attach_attestation(&envelope, &[]);
    let (name, words) = failure(&image, &["--key", &image.path("release.pub")]);
    assert_eq!(name, "tampered");
    assert!(words.contains("the content was changed after it was signed"), "{words}");
}

#[test]
fn a_wrong_key() {
    let image = Image::push();
    accepted(&image, &image.key.envelope(&image.statement(), None));
    image.attach_attestation(&Key::new().envelope(&image.statement(), None), &[]);
    let (name, words) = failure(&image, &["--key", &image.path("release.pub")]);
    assert_eq!(name, "wrong-key");
    assert_eq!(words, "signed with another key: none of its signatures is by `release`");
}

#[test]
fn an_expired_certificate() {
    let image = Image::push();
    let keyless = image.keyless();
    let trust: Vec<&str> = keyless.iter().map(String::as_str).collect();
    image.attach_referrer(BUNDLE, &image.in_time());
    let answer = plimsoll(&[&["sbom", "verify", &image.reference()], trust.as_slice()].concat());
    assert_eq!(answer.code, 0, "{}{}", answer.text, answer.errors);
    image.attach_referrer(BUNDLE, &image.signed_bundle(TOO_LATE));
    let (name, words) = failure(&image, &trust);
    assert_eq!(name, "expired-certificate");
    assert!(words.contains("valid until 2024-03-03T00:00:00Z, the signature was made at 2024-03-11T"), "{words}");
}

#[test]
fn a_swapped_sbom() {
    let image = Image::push();
    accepted(&image, &image.key.envelope(&image.statement(), None));
    // Rightly signed, about an image of the same team, and put where this image's should be.
    let other = Sha256::of(b"another image of the team");
    image.attach_attestation(&image.key.envelope(&statement(other, &sbom(Sha256::of(b"other"))), None), &[]);
    let (name, words) = failure(&image, &["--key", &image.path("release.pub")]);
    assert_eq!(name, "swapped");
    assert!(words.contains(&other.to_string()) && words.contains(&image.digest.to_string()), "{words}");
}

#[test]
fn content_that_the_registry_swapped() {
    let image = Image::push();
    let envelope = image.key.envelope(&image.statement(), None);
    accepted(&image, &envelope);
    let digest = Sha256::of(envelope.to_string().as_bytes());
    image.server.spoil(digest, Key::new().envelope(&image.statement(), None).to_string().as_bytes());
    let answer = plimsoll(&["sbom", "verify", &image.reference(), "--key", &image.path("release.pub")]);
    assert_eq!(answer.code, 1, "{}", answer.text);
    assert!(answer.errors.contains("gave other content for blobs/"), "{}", answer.errors);
}

#[test]
fn an_unsigned_sbom_where_a_signature_is_asked_for() {
    let image = Image::push();
    accepted(&image, &image.key.envelope(&image.statement(), None));
    let mut envelope = image.key.envelope(&image.statement(), None);
    envelope["signatures"] = json!([]);
    image.attach_attestation(&envelope, &[]);
    assert_eq!(failure(&image, &["--key", &image.path("release.pub")]).0, "unsigned");
}

#[test]
fn another_identity() {
    let image = Image::push();
    let bundle = image.authority.bundle("https://forge.example/else", &image.statement(), crate::authority::IN_TIME);
    image.attach_referrer(BUNDLE, bundle.to_string().as_bytes());
    let keyless = image.keyless();
    let (name, words) = failure(&image, &keyless.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(name, "wrong-identity");
    assert!(words.contains("`https://forge.example/else`"), "{words}");
}

#[test]
fn an_sbom_that_does_not_fit_the_files_it_should_be_compiled_with() {
    let image = Image::push();
    image.write("compiler.pem", Key::new().private_pem());
    let (reference, rootfs, key) = (image.reference(), image.path("rootfs"), image.path("compiler.pem"));
    let (document, output) = (image.path("app.json"), image.path("list.json"));
    let compile = |sbom: &[u8]| {
        image.write("app.json", sbom);
        let arguments =
            ["sbom", "compile", &reference, "--rootfs", &rootfs, "--sbom", &document, "--signing-key", &key];
        plimsoll(&[&arguments, ["--output", &output].as_slice()].concat())
    };
    let refused = compile(&sbom(Sha256::of(b"another build of the program")));
    assert_eq!(refused.code, 1, "{}{}", refused.text, refused.errors);
    assert!(refused.errors.contains("/usr/bin/app: content is not what the SBOM declares"), "{}", refused.errors);
    assert!(refused.errors.contains("is it the SBOM of this image?"), "{}", refused.errors);
    assert!(!std::path::Path::new(&output).exists(), "nothing is written");
    let compiled = compile(&image.sbom);
    assert_eq!(compiled.code, 0, "{}", compiled.errors);
}

#[test]
fn an_image_without_anything_and_no_image() {
    let image = Image::push();
    let nothing = plimsoll(&["sbom", "fetch", &image.reference()]);
    assert_eq!(nothing.code, 3);
    assert!(nothing.errors.contains("has no SBOM, attestation or allowlist for"), "{}", nothing.errors);
    let absent = format!("{}/team/app@{}", image.server.address, Sha256::of(b"x"));
    let no_image = plimsoll(&["sbom", "fetch", &absent]);
    assert_eq!(no_image.code, 3);
    assert!(no_image.errors.contains("has no `team/app@sha256:"), "{}", no_image.errors);
    let by_tag = plimsoll(&["sbom", "fetch", &format!("{}/team/app:v1", image.server.address)]);
    assert!(by_tag.errors.contains("tags move"), "{}", by_tag.errors);
}
