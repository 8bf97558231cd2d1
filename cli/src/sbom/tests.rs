use std::{fs, os::unix::fs::PermissionsExt};

use expect_test::expect;
use plimsoll_sbom::SbomError;

use super::*;

const SBOM: &str = r#"{"bomFormat": "CycloneDX", "specVersion": "1.6",
 "metadata": {"component": {"name": "app\u001b[2J"}, "tools": [{"name": "scanner", "version": "1"}]},
 "components": [
  {"type": "library", "name": "tool", "version": "1"},
  {"type": "file", "name": "/usr/bin/tool",
   "hashes": [{"alg": "SHA-256", "content": "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"}]},
  {"type": "file", "name": "/usr/bin/other",
   "hashes": [{"alg": "SHA-256", "content": "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"}]},
  {"type": "file", "name": "/usr/bin/absent"},
  {"type": "file", "name": "../x"}]}"#;

fn image() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("usr/bin")).unwrap();
    for (name, content) in [("tool", "one"), ("other", "three"), ("dropped", "#!/bin/sh")] {
        let path = root.path().join("usr/bin").join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    root
}

fn sbom() -> Sbom {
    plimsoll_sbom::parse(SBOM.as_bytes(), &Limits::default()).unwrap()
}

#[test]
fn inspect_says_what_the_document_can_prove() {
    expect![[r"
        format      CycloneDX 1.6
        describes   app�[2J
        written by  scanner 1
        digest      sha256:83a6dbab1a5c053388fd6eaeb3689fd46a3927f944cc4711357931e6ab0b8c66
        packages    1, 0 of them with a package URL
        files       3
                    2 with SHA-256
                    0 with SHA-1 or MD5 only
                    1 without a digest
                    0 tied to a package
        left out    1, because no file of an image can have such a path: /../x
        evidence    sbom-digest for the files with SHA-256; package-digest or package-path for other files of listed packages, by the image's package database
    "]].assert_eq(&inspect::text(&sbom()).unwrap());
}

#[test]
fn inspect_says_what_was_around_the_document() {
    let digest = "ab".repeat(32);
    let statement = format!(
        r#"{{"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://cyclonedx.org/bom", "subject": [
            {{"name": "registry.example/app", "digest": {{"sha256": "{digest}"}}}}, {{"digest": {{"sha1": "00"}}}}],
            "predicate": {SBOM}}}"#
    );
    let sbom = plimsoll_sbom::parse(statement.as_bytes(), &Limits::default()).unwrap();
    let text = inspect::text(&sbom).unwrap();
    let around: Vec<&str> = text.lines().skip(4).take_while(|line| !line.starts_with("packages")).collect();
    let expected = [
        "wrapped in  in-toto statement; signatures were not checked",
        "predicate   https://cyclonedx.org/bom",
        &format!("subject     sha256:{digest} registry.example/app"),
        "subject     (no SHA-256) (no name)",
    ];
    assert_eq!(around, expected);
}

#[test]
fn allowlist_says_what_may_run_and_why_the_rest_may_not() {
    let root = image();
    let image = plimsoll_rootfs::index(&[root.path().to_owned()], &plimsoll_rootfs::Options::default()).unwrap();
    let inventory = plimsoll_sbom::inventory(&image.listing, &sbom(), &image.databases);
    expect![[r"
        May run: 1 files with evidence package-digest or stronger
          /usr/bin/tool  7692c3ad3540  sbom-digest     -

        May not run: 2 files
          /usr/bin/dropped  3af71adb278a  layer-only      -
          /usr/bin/other    8b5b9db0c13d  mismatch        -

        /usr/bin/other: content is not what the SBOM declares
          declared sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed
          found    sha256:8b5b9db0c13db24256c829aa364aa90c6d2eba318b9232a4ab9313b954d3555f

        Listed, but not in the image: 1
          /usr/bin/absent  -

        SBOM sha256:83a6dbab1a5c053388fd6eaeb3689fd46a3927f944cc4711357931e6ab0b8c66
              3 files can run
              1 sbom-digest    accepted
              0 package-digest accepted
              0 package-path   not accepted
              1 layer-only     not accepted
              1 mismatch       never accepted
        note: a note
    "]]
    .assert_eq(&allowlist::text(&inventory).unwrap());
}

#[test]
fn an_oversized_document_is_refused_unread() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(1 << 40).unwrap();
    assert!(matches!(load(file.path()).unwrap(), Err(SbomError::TooLarge { size: 1_099_511_627_776, .. })));
}

#[test]
fn an_unreadable_document_is_named() {
    let error = load(Path::new("/nonexistent/sbom.json")).unwrap_err();
    assert_eq!(error.to_string(), "cannot read `/nonexistent/sbom.json`");
}
