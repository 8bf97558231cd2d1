//! Private registries, mirrors, and none at all.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{
    image::Image,
    server::{Server, plimsoll, plimsoll_with},
};

fn signed() -> Image {
    signed_in(Server::start())
}

fn signed_in(server: Server) -> Image {
    let image = Image::push_to(server);
    image.attach_attestation(&image.key.envelope(&image.statement(), None), &[]);
    image
}

#[test]
fn a_private_registry_wants_its_certificate_and_a_login() {
    let image = signed_in(Server::private());
    let (reference, ca) = (image.reference(), image.server.authority().display().to_string());
    let unknown = plimsoll(&["sbom", "fetch", &reference]);
    assert_eq!(unknown.code, 3, "neither plain HTTP nor an unknown certificate will do: {}", unknown.text);
    let anonymous = plimsoll(&["sbom", "fetch", &reference, "--ca", &ca]);
    assert_eq!(anonymous.code, 3);
    assert!(anonymous.errors.contains("(401): no login for it is configured"), "{}", anonymous.errors);
    let config = |password: &str| {
        let auth = STANDARD.encode(format!("ali:{password}"));
        image.write("config.json", json!({ "auths": { &image.server.address: { "auth": auth } } }).to_string());
        plimsoll(&["sbom", "fetch", &reference, "--ca", &ca, "--credentials", &image.path("config.json")])
    };
    let wrong = config("open says me");
    assert_eq!(wrong.code, 3);
    assert!(wrong.errors.contains("was not accepted"), "{}", wrong.errors);
    let right = config("open sesame");
    assert_eq!(right.code, 0, "{}", right.errors);
}

#[test]
fn a_credential_helper_gives_the_login() {
    let image = signed_in(Server::private());
    let helper = image.write(
        "docker-credential-test",
        "#!/bin/sh\ncat >/dev/null\necho '{\"ServerURL\":\"x\",\"Username\":\"ali\",\"Secret\":\"open sesame\"}'\n",
    );
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    image.write("config.json", json!({ "credHelpers": { &image.server.address: "test" } }).to_string());
    let (reference, ca) = (image.reference(), image.server.authority().display().to_string());
    let credentials = image.path("config.json");
    let arguments = ["sbom", "fetch", &reference, "--ca", &ca, "--credentials", &credentials];
    let answer = plimsoll_with(&arguments, Some(image.directory.path()));
    assert_eq!(answer.code, 0, "{}", answer.errors);
    let without = plimsoll(&arguments);
    assert_eq!(without.code, 3);
    assert!(without.errors.contains("cannot use the login"), "{}", without.errors);
}

#[test]
fn a_mirror_is_asked_first_and_a_dead_one_passed_over() {
    let image = signed();
    let reference = format!("registry.invalid/team/app@{}", image.digest);
    let mirror = format!("registry.invalid={}", image.server.address);
    let answer = plimsoll(&["sbom", "fetch", &reference, "--mirror", &mirror, "--json"]);
    assert_eq!((answer.code, &answer.json()["from"]), (0, &json!(image.server.address)), "{}", answer.errors);
    let dead = format!("{}=127.0.0.1:1", image.server.address);
    let answer = plimsoll(&["sbom", "fetch", &image.reference(), "--mirror", &dead]);
    assert_eq!(answer.code, 0, "{}", answer.errors);
}

#[test]
fn what_was_fetched_is_used_offline_and_checked() {
    let image = signed();
    let (reference, cache, key) = (image.reference(), image.path("cache"), image.path("release.pub"));
    let verify =
        |more: &[&str]| plimsoll(&[&["sbom", "verify", &reference, "--key", &key, "--cache", &cache], more].concat());
    let nothing = verify(&["--offline"]);
    assert_eq!(nothing.code, 3);
    assert!(nothing.errors.contains("offline, and nothing is kept"), "{}", nothing.errors);
    assert_eq!(verify(&[]).code, 0);
    image.server.stop();
    let unreachable = verify(&["--timeout", "5"]);
    assert_eq!(unreachable.code, 3);
    assert!(unreachable.errors.contains("cannot reach registry"), "{}", unreachable.errors);
    assert_eq!(verify(&["--offline"]).code, 0);
    let blob = fs::read_dir(Path::new(&cache).join("blobs")).unwrap().next().unwrap().unwrap().path();
    fs::write(blob, b"damage").unwrap();
    let damaged = verify(&["--offline"]);
    assert_eq!(damaged.code, 3);
    assert!(damaged.errors.contains("is damaged"), "{}", damaged.errors);
}
