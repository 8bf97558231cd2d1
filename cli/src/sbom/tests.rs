use std::{fs, os::unix::fs::PermissionsExt};

use expect_test::expect;
use plimsoll_sbom::{Changes, EvidenceClass, SbomError, Side};

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

/// An SBOM of the image after a rollout: `tool` has other content, `fresh` is new, `other` is gone.
const AFTER: &str = r#"{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [
  {"type": "library", "name": "tool", "version": "2"},
  {"type": "file", "name": "/usr/bin/tool",
   "hashes": [{"alg": "SHA-256", "content": "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"}]},
  {"type": "file", "name": "/usr/bin/fresh",
   "hashes": [{"alg": "SHA-1", "content": "fe05bcdcdc4928012781a5f1a2a77cbb5398e106"}]}]}"#;

#[test]
fn diff_says_what_a_rollout_allows_and_forbids() {
    let (before, after) = (sbom(), plimsoll_sbom::parse(AFTER.as_bytes(), &Limits::default()).unwrap());
    let side = |sbom| Side::of_document(sbom, EvidenceClass::PackageDigest);
    let changes = Changes::between(&side(&before), &side(&after));
    expect![[r"
        Newly allowed: 1
          /usr/bin/fresh  fe05bcdcdc49  -

        Allowed with other content: 1
          /usr/bin/tool  7692c3ad3540 -> 3fc4ccfe7458  -

        No longer allowed: 1
          /usr/bin/other  -  (after: it is not there)

        Packages: 1
          tool  1 -> 2

        Unchanged: 0 files that the documents list, with evidence package-digest or stronger
        note: documents do not say which of the files could run; --rootfs-before and --rootfs-after compare what could
    "]]
    .assert_eq(&diff::Report::of_documents(&before, &after, &changes).text().unwrap());
}

#[test]
fn of_packages_alone_one_that_changed_is_a_change() {
    let packages = |version: &str| {
        let text = format!(
            r#"{{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [
            {{"type": "library", "name": "tool", "version": "{version}"}},
            {{"type": "library", "name": "tool", "purl": "pkg:deb/debian/tool@{version}?arch=source"}}]}}"#
        );
        plimsoll_sbom::parse(text.as_bytes(), &Limits::default()).unwrap()
    };
    let side = |sbom| Side::of_document(sbom, EvidenceClass::PackageDigest);
    let (one, two) = (packages("1"), packages("2"));
    let same = Changes::between(&side(&one), &side(&one));
    assert!(diff::Report::of_documents(&one, &one, &same).nothing_changes());
    let changes = Changes::between(&side(&one), &side(&two));
    let report = diff::Report::of_documents(&one, &two, &changes);
    assert!(!report.nothing_changes());
    expect![[r"
        Packages: 1
          tool  1 -> 2

        Unchanged: 0 files that the documents list, with evidence package-digest or stronger
        note: without files with digests, only packages are compared, and any that changed counts; --rootfs-before and --rootfs-after compare what could
    "]]
    .assert_eq(&report.text().unwrap());
}

#[test]
fn an_sbom_of_another_image_is_pointed_out() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("usr/bin")).unwrap();
    fs::write(root.path().join("usr/bin/tool"), "#!/bin/sh").unwrap();
    let image = plimsoll_rootfs::index(&[root.path().to_owned()], &plimsoll_rootfs::Options::default()).unwrap();
    let inventory = plimsoll_sbom::inventory(&image.listing, &sbom(), &image.databases);
    let text = allowlist::text(&inventory).unwrap();
    assert!(text.contains("is it the SBOM of this image?"), "{text}");
    let report = coverage::Report::new(EvidenceClass::PackageDigest, &inventory, &sbom(), &image);
    assert!(report.text().unwrap().contains("is it the SBOM of this image?"));
}

#[test]
fn coverage_says_what_is_covered_and_where_the_gaps_are() {
    let root = image();
    let image = plimsoll_rootfs::index(&[root.path().to_owned()], &plimsoll_rootfs::Options::default()).unwrap();
    let inventory = plimsoll_sbom::inventory(&image.listing, &sbom(), &image.databases);
    let report = coverage::Report::new(EvidenceClass::PackageDigest, &inventory, &sbom(), &image);
    expect![[r"
        1 of 3 files that could run are covered (33.3 %), by evidence package-digest or stronger

        evidence             elf  script   other     all
        sbom-digest            0       0       1       1
        package-digest         0       0       0       0
        package-path           0       0       0       0  not covered
        layer-only             0       1       0       1  not covered
        mismatch               0       0       1       1  not covered

        Not covered, by directory:
              1  /usr/bin/dropped

        /usr/bin/other: content is not what the SBOM declares
          declared sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed
          found    sha256:8b5b9db0c13db24256c829aa364aa90c6d2eba318b9232a4ab9313b954d3555f

        Listed, but not in the image: 1
          /usr/bin/absent

        The SBOM declares 1 packages.
    "]]
    .assert_eq(&report.text().unwrap());
}

#[test]
fn what_is_printed_as_json_is_what_the_schema_says() {
    let root = image();
    let image = plimsoll_rootfs::index(&[root.path().to_owned()], &plimsoll_rootfs::Options::default()).unwrap();
    let (before, after) = (sbom(), plimsoll_sbom::parse(AFTER.as_bytes(), &Limits::default()).unwrap());
    let inventory = plimsoll_sbom::inventory(&image.listing, &before, &image.databases);
    let side = |sbom| Side::of_document(sbom, EvidenceClass::PackageDigest);
    let changes = Changes::between(&side(&before), &side(&after));
    let coverage = coverage::Report::new(EvidenceClass::PackageDigest, &inventory, &before, &image);
    let outputs = [
        (schema::Of::Inspect, inspect::json(&before)),
        (schema::Of::Allowlist, allowlist::json(&inventory)),
        (schema::Of::Coverage, serde_json::to_value(&coverage).unwrap()),
        (schema::Of::Diff, serde_json::to_value(diff::Report::of_documents(&before, &after, &changes)).unwrap()),
    ];
    for (of, output) in outputs {
        let schema = schema::schema(of).to_value();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<String> = validator.iter_errors(&output).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?} in {output}");
        let fields: Vec<&String> = output.as_object().unwrap().keys().collect();
        let described = schema["properties"].as_object().unwrap();
        assert!(fields.iter().all(|field| described.contains_key(*field)), "{fields:?} {described:?}");
        assert!(!validator.is_valid(&serde_json::json!({"accept": 7})), "the schema lets anything through");
    }
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
