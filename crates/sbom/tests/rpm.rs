//! One and the same set of packages in the three containers rpm has had.
//!
//! The headers are those rpm 4.18 wrote when it installed packages made with `rpmbuild`: `Packages.db` is its own file; in
//! `rpmdb.sqlite` SQLite itself put them into pages of 512 bytes, and in `Packages` Berkeley DB 5.3 did, so that trees
//! and chains of pages occur in small files.
#![cfg(test)]
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes snapshots so")]

use std::path::Path;

use expect_test::expect;
use plimsoll_sbom::{DatabaseError, DatabaseKind, Limits, PackageDatabase, display_path, parse_rpm};
use proptest::prelude::*;

const CONTAINERS: [&str; 3] = ["rpmdb.sqlite", "Packages.db", "Packages"];

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rpm").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read(name: &str) -> PackageDatabase {
    parse_rpm(name, &fixture(name), &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Sorted, since the containers keep their packages in orders of their own.
fn lines(database: &PackageDatabase) -> Vec<String> {
    let file = |file: &plimsoll_sbom::DatabaseFile| {
        let package = &database.packages[file.package];
        let digest = file.digest.map_or_else(|| "-".to_owned(), |digest| digest.to_string());
        format!("{} {} {} {digest}", display_path(&file.path), package.name, package.version)
    };
    let mut lines: Vec<String> = database.files.iter().map(file).collect();
    lines.sort();
    lines
}

#[test]
fn the_three_containers_say_the_same() {
    let sqlite = read("rpmdb.sqlite");
    assert_eq!((sqlite.kind, sqlite.problem_count), (DatabaseKind::Rpm, 0));
    let mut packages: Vec<_> = sqlite.packages.iter().map(|package| format!("{package:?}")).collect();
    packages.sort();
    expect![[r#"
        DatabasePackage { name: "old", version: "0.9-1", architecture: Some("noarch") }
        DatabasePackage { name: "tool", version: "1:1.2-3", architecture: Some("noarch") }
        DatabasePackage { name: "tool-empty", version: "1:1.2-3", architecture: Some("noarch") }
        DatabasePackage { name: "tool-libs", version: "1:1.2-3", architecture: Some("noarch") }"#]]
    .assert_eq(&packages.join("\n"));
    let shown: Vec<String> = lines(&sqlite).into_iter().filter(|line| !line.contains("/lib/tool/lib")).collect();
    expect![[r#"
        /etc/tool.conf tool 1:1.2-3 sha256:a3a5e715f0cc574a73c3f9bebb6bc24f32ffd5b67b387244c2c909da779a1478
        /usr/bin/old old 0.9-1 md5:e1323552aeb9530184d07456a6ffa56a
        /usr/bin/tool tool 1:1.2-3 sha256:299001868fb8c02fd431c336c6d058f5558c5dff5b5af5e6fe04b870a6a9cbba
        /usr/bin/tool-link tool 1:1.2-3 -
        /usr/lib/tool tool-libs 1:1.2-3 -
        /usr/lib/tool/empty tool-libs 1:1.2-3 sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"#]].assert_eq(&shown.join("\n"));
    assert_eq!(sqlite.files.len(), shown.len() + 40);
    for name in CONTAINERS {
        assert_eq!(lines(&read(name)), lines(&sqlite), "{name}");
    }
}

#[test]
fn a_container_cut_anywhere_is_refused_or_has_fewer_files() {
    for name in CONTAINERS {
        let (whole, all) = (fixture(name), read(name).files.len());
        for length in (0..whole.len()).step_by(97) {
            match parse_rpm(name, &whole[..length], &Limits::default()) {
                Ok(database) => {
                    assert!(database.files.len() < all || length > whole.len() - 4096, "{name} at {length}");
                }
                Err(error) => assert!(matches!(error, DatabaseError::Broken { .. }), "{name} at {length}: {error}"),
            }
        }
    }
}

#[test]
fn loops_and_shared_pages_are_refused() {
    // Every page's overflow pointer to itself; every child of an inner page the same.
    for name in CONTAINERS {
        let mut bytes = fixture(name);
        let size = if name == "Packages.db" { 16 } else { 512 };
        let (at, pointer) = match name {
            "rpmdb.sqlite" => (0, 4),
            "Packages.db" => (8, 12),
            _ => (16, 20),
        };
        let template = bytes[size * 2 + at..size * 2 + pointer].to_vec();
        for page in bytes.chunks_mut(size).skip(3) {
            if page.len() == size {
                page[at..pointer].copy_from_slice(&template);
            }
        }
        let result = parse_rpm(name, &bytes, &Limits::default());
        assert!(matches!(result, Err(DatabaseError::Broken { .. })), "{name}: {result:?}");
    }
}

#[test]
fn limits_are_kept() {
    let parse = |limits| parse_rpm("rpmdb.sqlite", &fixture("rpmdb.sqlite"), &limits);
    let few = Limits { max_packages: 2, ..Limits::default() };
    assert_eq!(parse(few).unwrap_err().to_string(), "more than 2 packages in the rpm database");
    // A package with more files than there may be has none.
    let database = parse(Limits { max_files: 10, ..Limits::default() }).unwrap();
    assert_eq!((database.packages.len(), database.problem_count), (4, 1));
    assert_eq!(
        database.problems[0].to_string(),
        "rpmdb.sqlite:1: package header does not fit together; its files count as nobody's"
    );
}

#[test]
fn what_is_no_database_is_named() {
    let error = parse_rpm("Packages", b"hello", &Limits::default()).unwrap_err();
    let words = "the rpm database `Packages` cannot be read: it is neither SQLite, ndb nor a Berkeley DB hash";
    assert_eq!(error.to_string(), words);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

    #[test]
    fn a_mutated_container_is_read_or_refused(
        container in 0..CONTAINERS.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let name = CONTAINERS[container];
        let mut bytes = fixture(name);
        for (place, byte) in edits {
            let at = place.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(database) = parse_rpm(name, &bytes, &Limits::default()) {
            for file in &database.files {
                prop_assert!(file.package < database.packages.len());
                prop_assert!(!file.path.is_empty() && file.path[0] != b'/');
            }
        }
    }
}
