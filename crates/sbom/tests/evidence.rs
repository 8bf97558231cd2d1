//! The table that matters: what is said about a file, and what that is worth.
#![cfg(test)]

use expect_test::expect_file;
use md5::Digest as _;
use plimsoll_sbom::{
    DatabaseDigest, DatabaseFile, DatabaseKind, DatabasePackage, Digests, EvidenceClass, ExecFact, ExecKind, FileFact,
    Format, Gap, InodeKey, Inventory, Limits, Listing, MismatchSource, Node, PackageDatabase, RejectedPaths, Sbom,
    SbomFile, SbomPackage, Sha256, inventory, parse,
};

/// Path, digests, index of the package that contains it.
type Listed<'a> = (&'a str, Digests, Option<usize>);

const CONTENT: &[u8] = b"one";
const OTHER: &[u8] = b"two";

fn sha1(content: &[u8]) -> [u8; 20] {
    sha1::Sha1::digest(content).into()
}

fn md5(content: &[u8]) -> [u8; 16] {
    md5::Md5::digest(content).into()
}

fn file(content: &[u8]) -> Node {
    let exec = ExecFact { kind: ExecKind::Elf, sha256: Sha256::of(content), sha1: sha1(content), md5: md5(content) };
    let inode = InodeKey { dev: 8 << 20 | 1, ino: 42 };
    Node::File(FileFact { size: content.len() as u64, mode: 0o755, inode, exec: Some(exec) })
}

/// `usr/bin/x`, with `bin` a link to `usr/bin`.
fn image() -> Listing {
    let mut listing = Listing::new();
    listing.insert("usr/bin/x", file(CONTENT)).unwrap();
    listing.insert("bin", Node::Symlink { target: b"usr/bin".to_vec() }).unwrap();
    listing
}

fn sbom(packages: &[(&str, &str, Option<&str>)], files: &[Listed<'_>]) -> Sbom {
    Sbom {
        format: Format::Spdx,
        spec_version: "2.3".into(),
        name: String::new(),
        generator: None,
        packages: packages
            .iter()
            .map(|(name, version, purl)| SbomPackage {
                name: (*name).into(),
                version: Some((*version).into()),
                purl: purl.map(str::to_owned),
            })
            .collect(),
        files: files
            .iter()
            .map(|(path, digests, package)| SbomFile { path: (*path).into(), digests: *digests, package: *package })
            .collect(),
        rejected: RejectedPaths::default(),
        digest: Sha256::of(b"document"),
        wrappings: Vec::new(),
        statement: None,
    }
}

fn database(kind: DatabaseKind, files: &[(&str, Option<DatabaseDigest>)]) -> PackageDatabase {
    PackageDatabase {
        kind,
        packages: vec![DatabasePackage { name: "p".into(), version: "1".into(), architecture: Some("amd64".into()) }],
        files: files
            .iter()
            .map(|(path, digest)| DatabaseFile { path: path.as_bytes().to_vec(), digest: *digest, package: 0 })
            .collect(),
        problems: Vec::new(),
        problem_count: 0,
    }
}

fn strong(content: &[u8]) -> Digests {
    Digests { sha256: Some(Sha256::of(content)), ..Digests::default() }
}

fn weak(content: &[u8]) -> Digests {
    Digests { sha1: Some(sha1(content)), md5: Some(md5(content)), ..Digests::default() }
}

fn describe(inventory: &Inventory) -> String {
    let [file] = inventory.files.as_slice() else { panic!("one file expected: {inventory:?}") };
    let package = file.package.as_ref().map_or("-", |package| &package.name);
    match (&file.evidence, &file.gap) {
        (Some(evidence), None) => format!("{evidence} {package}"),
        (Some(evidence), Some(Gap::Undeclared)) => format!("{evidence} undeclared {package}"),
        (None, Some(Gap::Mismatch { expected, by })) => {
            format!("mismatch with {by} {} {package}", expected.split(':').next().unwrap())
        }
        other => panic!("{other:?} makes no sense"),
    }
}

/// Every combination of what the SBOM says of the path, what the database says of it, and whether the SBOM declares the
/// database's package.
#[test]
fn table_of_evidence() {
    let sboms: [(&str, &[Listed<'_>]); 8] = [
        ("silent", &[]),
        ("path only", &[("usr/bin/x", Digests::default(), Some(0))]),
        ("path, no package", &[("usr/bin/x", Digests::default(), None)]),
        ("sha256 agrees", &[("usr/bin/x", strong(CONTENT), None)]),
        ("sha256 differs", &[("usr/bin/x", strong(OTHER), Some(0))]),
        ("weak agrees", &[("usr/bin/x", weak(CONTENT), None)]),
        ("weak differs", &[("usr/bin/x", weak(OTHER), None)]),
        ("alternatives", &[("usr/bin/x", strong(OTHER), None), ("bin/x", strong(CONTENT), None)]),
    ];
    let databases: [(&str, Option<Option<DatabaseDigest>>); 4] = [
        ("silent", None),
        ("path only", Some(None)),
        ("agrees", Some(Some(DatabaseDigest::Md5(md5(CONTENT))))),
        ("differs", Some(Some(DatabaseDigest::Md5(md5(OTHER))))),
    ];
    let mut table = String::new();
    for declared in [true, false] {
        let purl = if declared { "pkg:deb/debian/p@1?arch=amd64" } else { "pkg:deb/debian/p@2?arch=amd64" };
        for (sbom_says, files) in &sboms {
            for (database_says, digest) in &databases {
                let sbom = sbom(&[("in-sbom", "1", Some(purl))], files);
                let owned: Vec<_> = digest.iter().map(|digest| ("bin/x", *digest)).collect();
                let found = inventory(&image(), &sbom, &[database(DatabaseKind::Dpkg, &owned)]);
                let declared = if declared { "declared" } else { "undeclared" };
                let line = format!("{declared:<10} | {sbom_says:<16} | {database_says:<9} | {}\n", describe(&found));
                table.push_str(&line);
            }
        }
    }
    expect_file!["fixtures/evidence.txt"].assert_eq(&table);
}

#[test]
fn mixed_weak_digests_must_all_agree() {
    let digests = Digests { sha1: Some(sha1(CONTENT)), md5: Some(md5(OTHER)), sha256: None };
    let found = inventory(&image(), &sbom(&[], &[("usr/bin/x", digests, None)]), &[]);
    assert_eq!(describe(&found), "mismatch with SBOM sha1 -");
}

#[test]
fn a_sha256_that_differs_is_not_saved_by_a_weaker_one_that_agrees() {
    let digests = Digests { sha1: Some(sha1(CONTENT)), ..strong(OTHER) };
    let found = inventory(&image(), &sbom(&[], &[("usr/bin/x", digests, None)]), &[]);
    let expected = Sha256::of(OTHER).to_string();
    assert_eq!(found.files[0].gap, Some(Gap::Mismatch { expected, by: MismatchSource::Sbom }));
    assert_eq!(found.files[0].evidence, None);
}

#[test]
fn packages_are_identified_by_url_or_else_by_name_and_version() {
    let agrees = [("usr/bin/x", Some(DatabaseDigest::Md5(md5(CONTENT))))];
    for (name, version, purl, expected) in [
        ("x", "0", Some("pkg:deb/debian/p@1?arch=amd64"), true),
        ("x", "0", Some("pkg:deb/ubuntu/p@1"), true),
        ("x", "0", Some("pkg:deb/debian/p@1?arch=all"), true),
        ("p", "1", None, true),
        ("p", "1", Some(""), true),
        ("p", "1", Some("pkg:deb/debian/p@1?arch=i386"), false),
        ("p", "1", Some("pkg:deb/debian/p@1?arch=source"), false),
        ("p", "1", Some("pkg:deb/debian/p"), false),
        ("p", "1", Some("pkg:pypi/p@1"), false),
        ("p", "1", Some("pkg:apk/alpine/p@1"), false),
        ("p", "1", Some("no package URL"), false),
        ("p", "2", None, false),
    ] {
        let found = inventory(&image(), &sbom(&[(name, version, purl)], &[]), &[database(DatabaseKind::Dpkg, &agrees)]);
        let class = if expected { EvidenceClass::PackageDigest } else { EvidenceClass::LayerOnly };
        assert_eq!(found.files[0].evidence, Some(class), "{name} {version} {purl:?}");
        assert!(found.files[0].package.is_some(), "the package is named even if undeclared");
    }
}

#[test]
fn apk_3_records_the_start_of_a_sha256() {
    let prefix: [u8; 20] = Sha256::of(CONTENT).0[..20].try_into().unwrap();
    let sbom = sbom(&[("p", "1", None)], &[]);
    for (digest, expected) in [
        (DatabaseDigest::Sha256Prefix(prefix), "package-digest p"),
        (DatabaseDigest::Sha1(prefix), "mismatch with apk database sha1 p"),
        (DatabaseDigest::Sha1(sha1(CONTENT)), "package-digest p"),
    ] {
        let found = inventory(&image(), &sbom, &[database(DatabaseKind::Apk, &[("bin/x", Some(digest))])]);
        assert_eq!(describe(&found), expected);
    }
}

#[test]
fn an_entry_that_names_a_link_says_nothing_about_its_target() {
    let mut listing = image();
    listing.insert("usr/bin/link", Node::Symlink { target: b"x".to_vec() }).unwrap();
    let apk = [("bin/link", Some(DatabaseDigest::Sha1(sha1(b"x"))))];
    let listed = [("usr/bin/link", strong(OTHER), Some(0))];
    let found = inventory(&listing, &sbom(&[("p", "1", None)], &listed), &[database(DatabaseKind::Apk, &apk)]);
    assert_eq!(describe(&found), "layer-only undeclared -");
    assert_eq!(found.coverage.missing, 0);
}

#[test]
fn a_file_taken_over_by_another_package_is_judged_by_the_digest_that_agrees() {
    let mut both = database(DatabaseKind::Dpkg, &[("bin/x", Some(DatabaseDigest::Md5(md5(OTHER))))]);
    both.packages.push(DatabasePackage { name: "q".into(), version: "1".into(), architecture: None });
    let digest = Some(DatabaseDigest::Md5(md5(CONTENT)));
    both.files.push(DatabaseFile { path: b"usr/bin/x".to_vec(), digest, package: 1 });
    let found = inventory(&image(), &sbom(&[("p", "1", None), ("q", "1", None)], &[]), &[both]);
    assert_eq!(describe(&found), "package-digest q");
}

#[test]
fn missing_files_are_reported_once_and_only_if_they_look_like_code() {
    let listed = [
        ("usr/bin/gone", strong(OTHER), Some(0)),
        ("usr/bin/gone", strong(CONTENT), None),
        ("usr/share/doc/gone", strong(OTHER), None),
    ];
    let owned = [("usr/bin/gone", None), ("usr/lib/gone.so.1", None), ("usr/share/gone", None)];
    let sbom = sbom(&[("p", "1", None)], &listed);
    let found = inventory(&image(), &sbom, &[database(DatabaseKind::Dpkg, &owned)]);
    let missing: Vec<_> =
        found.missing.iter().map(|file| (&*file.path, file.package.as_ref().map(|package| &*package.name))).collect();
    assert_eq!(missing, [("/usr/bin/gone", Some("p")), ("/usr/lib/gone.so.1", Some("p"))]);
    assert_eq!(found.coverage.missing, 2);
}

#[test]
fn missing_files_are_bounded_and_counted() {
    let paths: Vec<String> = (0..1500).map(|index| format!("bin/{index:04}")).collect();
    let files: Vec<_> = paths.iter().map(|path| (&**path, Digests::default(), None)).collect();
    let found = inventory(&Listing::new(), &sbom(&[], &files), &[]);
    assert_eq!((found.missing.len(), found.coverage.missing), (1000, 1500));
    assert_eq!(found.missing[0].path, "/bin/0000");
}

#[test]
fn files_are_sorted_and_counted() {
    let mut listing = image();
    listing.insert(b"opt/\xff", file(OTHER)).unwrap();
    listing
        .insert("a", Node::File(FileFact { size: 0, mode: 0o644, inode: InodeKey { dev: 0, ino: 1 }, exec: None }))
        .unwrap();
    let found = inventory(&listing, &sbom(&[], &[("usr/bin/x", strong(CONTENT), None)]), &[]);
    let paths: Vec<_> = found.files.iter().map(|file| &*file.path).collect();
    assert_eq!(paths, ["/opt/\\xff", "/usr/bin/x"]);
    let coverage = found.coverage;
    assert_eq!((coverage.files, coverage.sbom_digest, coverage.layer_only), (2, 1, 1));
    assert_eq!(coverage.accepted(EvidenceClass::PackageDigest), 1);
    assert_eq!(coverage.accepted(EvidenceClass::LayerOnly), 2);
    assert_eq!(found.sbom_digest, Sha256::of(b"document"));
}

#[test]
fn a_document_leads_to_evidence() {
    let document = include_bytes!("fixtures/valid/spdx-2.3.json");
    let mut listing = Listing::new();
    listing.insert("usr/bin/ls", file(OTHER)).unwrap();
    let found = inventory(&listing, &parse(document, &Limits::default()).unwrap(), &[]);
    assert_eq!(describe(&found), "sbom-digest coreutils");
}

#[test]
fn classes_are_ordered_and_named() {
    assert!(EvidenceClass::ALL.is_sorted());
    for class in EvidenceClass::ALL {
        assert_eq!(class.to_string().parse(), Ok(class));
    }
    let error = "sbom".parse::<EvidenceClass>().unwrap_err().to_string();
    assert!(error.starts_with("`sbom` is not an evidence class; these are: layer-only"), "{error}");
}
