//! What is attached in any of the usual ways is found, and believed by its signature.

use plimsoll_sbom::Sha256;
use serde_json::json;

use super::{
    image::{BUNDLE, Image},
    server::{Answer, plimsoll},
};

const ED25519: &str = "-----BEGIN PRIVATE KEY-----\n\
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
-----END PRIVATE KEY-----\n";
const ED25519_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
-----END PUBLIC KEY-----\n";

/// Compiles the image's SBOM as it is attached, with the given signers.
fn compile(image: &Image, version: &str, more: &[&str]) -> Answer {
    compile_as(image, &image.reference(), version, more)
}

/// The same, for the image by another reference.
fn compile_as(image: &Image, reference: &str, version: &str, more: &[&str]) -> Answer {
    image.write("compiler.pem", ED25519);
    let (rootfs, key, output) = (image.path("rootfs"), image.path("compiler.pem"), image.path("list.json"));
    let arguments = ["sbom", "compile", reference, "--rootfs", &rootfs, "--signing-key", &key, "--output", &output];
    plimsoll(&[&arguments, ["--list-version", version, "--json"].as_slice(), more].concat())
}

#[test]
fn a_cosign_attestation_is_fetched_verified_and_compiled() {
    let image = Image::push();
    image.attach_attestation(&image.key.envelope(&image.statement(), None), &[]);
    let (reference, key) = (image.reference(), image.path("release.pub"));
    let fetched = plimsoll(&["sbom", "fetch", &reference, "--json"]);
    assert_eq!(fetched.code, 0, "{}", fetched.errors);
    assert_eq!(fetched.json()["documents"][0]["place"], "attestation-tag");
    let output = image.path("accepted.json");
    let verified = plimsoll(&["sbom", "verify", &reference, "--key", &key, "--output", &output, "--json"]);
    assert_eq!(verified.code, 0, "{}{}", verified.text, verified.errors);
    let document = &verified.json()["documents"][0];
    assert_eq!((&document["signer"], &document["subject"]), (&json!("release"), &json!(image.digest)));
    assert_eq!(std::fs::read(&output).unwrap(), image.sbom, "the SBOM comes out as it went in");
    let compiled = compile(&image, "1", &["--key", &key]);
    assert_eq!(compiled.code, 0, "{}", compiled.errors);
    let report = compiled.json();
    assert_eq!((&report["sbom_signer"], &report["coverage"]["sbom-digest"]), (&json!("release"), &json!(1)));
}

#[test]
fn a_keyless_attestation_with_cosigns_annotations_is_verified() {
    let image = Image::push();
    let (envelope, annotations) =
        image.authority.annotated(super::image::CI, &image.statement(), crate::authority::IN_TIME);
    image.attach_attestation(&envelope, &annotations);
    let keyless = image.keyless();
    let reference = image.reference();
    let arguments: Vec<&str> =
        ["sbom", "verify", &reference, "--json"].into_iter().chain(keyless.iter().map(String::as_str)).collect();
    let verified = plimsoll(&arguments);
    assert_eq!(verified.code, 0, "{}{}", verified.text, verified.errors);
}

#[test]
fn a_referrer_bundle_is_found_by_its_tag_and_verified() {
    let image = Image::push();
    image.attach_referrer(BUNDLE, &image.in_time());
    let keyless = image.keyless();
    let reference = image.reference();
    let arguments: Vec<&str> =
        ["sbom", "verify", &reference, "--json"].into_iter().chain(keyless.iter().map(String::as_str)).collect();
    let verified = plimsoll(&arguments);
    assert_eq!(verified.code, 0, "{}{}", verified.text, verified.errors);
    let document = &verified.json()["documents"][0];
    assert_eq!((&document["place"], &document["signer"]), (&json!("referrer-tag"), &json!(super::image::CI)));
    let more: Vec<&str> = keyless.iter().map(String::as_str).collect();
    assert_eq!(compile(&image, "1", &more).json()["sbom_signer"], super::image::CI);
}

#[test]
fn a_referrer_bundle_with_a_timestamp_and_no_log_entry_is_verified() {
    let image = Image::push();
    let stamps = crate::authority::TimestampAuthority::new();
    image.write("root.json", image.authority.trusted_root_with(&stamps, false));
    let keyless = image.keyless();
    let reference = image.reference();
    let arguments: Vec<&str> =
        ["sbom", "verify", &reference, "--json"].into_iter().chain(keyless.iter().map(String::as_str)).collect();
    let stamped = |until: i32| {
        let bundle = image.authority.stamped(&stamps, super::image::CI, &image.statement(), until);
        image.attach_referrer(BUNDLE, bundle.to_string().as_bytes());
        plimsoll(&arguments)
    };
    let verified = stamped(2039);
    assert_eq!(verified.code, 0, "{}{}", verified.text, verified.errors);
    assert_eq!(verified.json()["documents"][0]["signer"], super::image::CI);
    let expired = stamped(2024);
    assert_eq!((expired.code, &expired.json()["documents"][0]["failure"]), (1, &json!("expired-certificate")));
}

#[test]
fn buildkits_attestation_is_found_from_index_and_platform_digest() {
    let image = Image::push();
    let index = image.attach_buildkit(&image.statement());
    let repository = format!("{}/{}", image.server.address, image.repository);
    let by_index = format!("{repository}@{index}");
    let by_tag_and_digest = format!("{repository}:v1@{}", image.digest);
    for reference in [&by_index, &by_tag_and_digest] {
        let verified = plimsoll(&["sbom", "verify", reference, "--platform", "linux/amd64", "--json"]);
        assert_eq!(verified.code, 0, "{reference}: {}{}", verified.text, verified.errors);
        let report = verified.json();
        let document = &report["documents"][0];
        assert_eq!((&document["place"], &document["subject"]), (&json!("buildkit"), &json!(image.digest)));
        assert_eq!(report["documents"].as_array().unwrap().len(), 1, "provenance is passed over");
    }
    let compiled = compile_as(&image, &by_tag_and_digest, "1", &["--platform", "linux/amd64"]);
    assert_eq!(compiled.code, 0, "{}", compiled.errors);
    let report = compiled.json();
    assert_eq!((&report["sbom_signer"], &report["coverage"]["sbom-digest"]), (&json!(null), &json!(1)));
    let key = image.path("release.pub");
    let refused = plimsoll(&["sbom", "verify", &by_index, "--platform", "linux/amd64", "--key", &key, "--json"]);
    assert_eq!((refused.code, &refused.json()["documents"][0]["failure"]), (1, &json!("unsigned")));
    let other = plimsoll(&["sbom", "fetch", &by_index, "--platform", "linux/arm64"]);
    assert_eq!(other.code, 3, "no attestation is about another platform's image: {}", other.text);
}

#[test]
fn an_old_sbom_tag_is_found_and_signed_by_nobody() {
    let image = Image::push();
    let layer = image.server.push_blob(image.repository, &image.sbom);
    let config = image.server.push_blob(image.repository, b"{}");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": super::image::MANIFEST,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.to_string(), "size": 2 },
        "layers": [{ "mediaType": "text/spdx+json", "digest": layer.to_string(), "size": image.sbom.len() }],
    });
    image.server.push_manifest(image.repository, &format!("sha256-{}.sbom", image.digest.hex()), &manifest);
    let verified = plimsoll(&["sbom", "verify", &image.reference(), "--json"]).json();
    assert_eq!(verified["documents"][0]["place"], "sbom-tag");
    assert_eq!(verified["documents"][0]["signer"], json!(null));
}

#[test]
fn a_compiled_allowlist_is_attached_found_and_never_rolled_back() {
    let image = Image::push();
    image.attach_attestation(&image.key.envelope(&image.statement(), None), &[]);
    image.write("compiler.pub", ED25519_PUBLIC);
    let (reference, key, compiler) = (image.reference(), image.path("release.pub"), image.path("compiler.pub"));
    let remember = image.path("versions.json");
    let kind = "application/vnd.dsse.envelope.v1+json";
    let attach = |version: &str| {
        assert_eq!(compile(&image, version, &["--key", &key]).code, 0);
        let list = std::fs::read(image.path("list.json")).unwrap();
        image.attach_referrer(kind, &list);
        list
    };
    let verify = || plimsoll(&["sbom", "verify", &reference, "--key", &compiler, "--remember", &remember, "--json"]);
    let failures = |answer: &Answer| -> Vec<String> {
        let report = answer.json();
        report["documents"].as_array().unwrap().iter().map(|one| one["failure"].to_string()).collect()
    };
    let second = attach("2");
    assert_eq!(second, attach("2"), "the same input gives the same file, its signature included");
    let accepted = verify();
    assert_eq!((accepted.code, &accepted.json()["documents"][0]["content"]), (0, &json!("allowlist")));
    attach("1");
    let refused = verify();
    assert_eq!(refused.code, 1, "{}", refused.text);
    assert!(failures(&refused).contains(&"\"rolled-back\"".to_owned()), "{}", refused.text);
    let words = refused.json()["documents"][0]["reason"].to_string();
    assert!(words.contains("version 1 of the allowlist of") && words.contains("older than version 2"), "{words}");
    attach("3");
    assert_eq!(verify().code, 0);
    assert_ne!(Sha256::of(&second), Sha256::of(&std::fs::read(image.path("list.json")).unwrap()));
}
