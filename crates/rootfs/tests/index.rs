//! What is read from a layer, what is refused, and that nothing outside is touched.
#![cfg(test)]

mod support;

use std::{
    fs,
    os::unix::fs::MetadataExt,
    sync::atomic::{AtomicU64, Ordering},
};

use plimsoll_rootfs::{Options, Progress, RootfsError, index};
use plimsoll_sbom::{DatabaseKind, ExecKind, FileFact, Limits, Listing, Node, Sha256, inventory, parse};
use support::Layers;

fn file<'l>(listing: &'l Listing, path: &str) -> &'l FileFact {
    match listing.get(path) {
        Some(Node::File(file)) => file,
        other => panic!("`{path}` is {other:?}"),
    }
}

#[test]
fn exec_capable_files_are_found_and_hashed() {
    let layers = Layers::new(1);
    let large: Vec<u8> = [b"\x7fELF".as_slice(), &vec![7; 1 << 20]].concat();
    layers.file(0, "lib/large.so", &large, 0o644);
    layers.file(0, "bin/script", b"#!/bin/sh\n", 0o600);
    layers.file(0, "bin/odd", b"x", 0o4711);
    layers.file(0, "bin/empty", b"", 0o755);
    layers.file(0, "etc/data", b"data", 0o644);
    let image = layers.index().unwrap();
    let exec = |path: &str| file(&image.listing, path).exec.clone();
    let elf = exec("lib/large.so").unwrap();
    assert_eq!((elf.kind, elf.sha256), (ExecKind::Elf, Sha256::of(&large)));
    let odd = exec("bin/odd").unwrap();
    assert_eq!(odd.kind, ExecKind::Other);
    assert_eq!(odd.sha1[..4], [0x11, 0xf6, 0xad, 0x8e]);
    assert_eq!(odd.md5[..4], [0x9d, 0xd4, 0xe4, 0x61]);
    assert_eq!(exec("bin/script").unwrap().kind, ExecKind::Script);
    assert_eq!((exec("bin/empty"), exec("etc/data")), (None, None));
    assert_eq!(file(&image.listing, "bin/odd").mode, 0o4711);
    assert_eq!(image.hashed_bytes, large.len() as u64 + 11);
}

#[test]
fn inodes_are_in_the_kernels_encoding() {
    let layers = Layers::new(1);
    layers.file(0, "x", b"#!", 0o755);
    let image = layers.index().unwrap();
    let metadata = fs::metadata(layers.at(0, "x")).unwrap();
    let (major, minor) = (rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
    let inode = file(&image.listing, "x").inode;
    assert_eq!((inode.dev, inode.ino), (major << 20 | minor, metadata.ino()));
}

#[test]
fn hard_links_are_hashed_once_and_all_known() {
    let layers = Layers::new(1);
    layers.file(0, "bin/perl", b"#!perl", 0o755);
    fs::hard_link(layers.at(0, "bin/perl"), layers.at(0, "bin/perl5")).unwrap();
    let image = layers.index().unwrap();
    assert_eq!(file(&image.listing, "bin/perl").exec, file(&image.listing, "bin/perl5").exec);
    assert!(file(&image.listing, "bin/perl5").exec.is_some());
    assert_eq!(image.hashed_bytes, 6);
}

#[test]
fn links_never_lead_out_of_the_image() {
    let layers = Layers::new(1);
    let outside = layers.root.path().join("outside");
    fs::create_dir_all(outside.join("var/lib/dpkg")).unwrap();
    fs::write(outside.join("secret"), b"#!secret").unwrap();
    fs::write(outside.join("var/lib/dpkg/status"), b"Package: evil\nVersion: 1\n").unwrap();
    layers.link(0, "bin", outside.to_str().unwrap());
    layers.link(0, "var", &format!("{}/var", outside.display()));
    layers.link(0, "lib", "../../../../lib");
    let image = layers.index().unwrap();
    assert_eq!(image.listing.len(), 3);
    assert_eq!(image.databases, []);
    assert_eq!(image.hashed_bytes, 0);
}

#[test]
fn special_files_are_neither_opened_nor_lost() {
    let layers = Layers::new(1);
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, layers.at(0, "fifo"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert_eq!(layers.index().unwrap().listing.get("fifo"), Some(&Node::Other));
}

#[test]
fn names_that_are_not_utf8_are_indexed() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let layers = Layers::new(1);
    fs::write(layers.paths[0].join(OsStr::from_bytes(b"x\xff")), b"#!x").unwrap();
    let image = layers.index().unwrap();
    assert!(matches!(image.listing.get(b"x\xff"), Some(Node::File(file)) if file.exec.is_some()));
}

#[test]
fn limits_name_what_went_beyond_them() {
    let layers = Layers::new(1);
    layers.file(0, "bin/a", b"#!12345678", 0o755);
    layers.file(0, "var/lib/dpkg/status", b"Package: p\nVersion: 1\n", 0o644);
    let error = |options: Options<'_>| index(&layers.paths, &options).unwrap_err();
    assert!(matches!(error(Options { max_nodes: 3, ..Options::default() }), RootfsError::TooManyNodes { limit: 3 }));
    match error(Options { max_file_bytes: 9, ..Options::default() }) {
        RootfsError::FileTooLarge { path, size: 10, limit: 9 } => assert_eq!(path, layers.at(0, "bin/a")),
        other => panic!("{other}"),
    }
    match error(Options { max_database_bytes: 10, ..Options::default() }) {
        RootfsError::DatabaseTooLarge { path, limit: 10 } => assert_eq!(path, layers.at(0, "var/lib/dpkg/status")),
        other => panic!("{other}"),
    }
}

#[test]
fn errors_name_the_file() {
    let layers = Layers::new(1);
    let absent = layers.root.path().join("absent");
    let error = index(std::slice::from_ref(&absent), &Options::default()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot open `{}`", absent.display()));
    assert!(matches!(index(&[], &Options::default()), Err(RootfsError::NoLayers)));
}

#[test]
fn a_mount_inside_an_image_is_refused() {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    let layers = Layers::new(1);
    layers.directory(0, "proc");
    let point = layers.at(0, "proc");
    mount("tmpfs", &point, "tmpfs", MountFlags::empty(), None).expect("mounting needs root: run these tests as root");
    let result = layers.index();
    unmount(&point, UnmountFlags::DETACH).unwrap();
    match result.unwrap_err() {
        RootfsError::MountPoint { path } => assert_eq!(path, point),
        other => panic!("{other}"),
    }
}

#[test]
fn progress_ends_with_everything() {
    let layers = Layers::new(1);
    for number in 0..50 {
        layers.file(0, &format!("bin/{number}"), b"#!12", 0o755);
    }
    let (calls, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    let progress = |progress: Progress| {
        calls.fetch_add(1, Ordering::Relaxed);
        bytes.fetch_max(progress.bytes, Ordering::Relaxed);
        assert_eq!(progress.total_files, 50);
    };
    index(&layers.paths, &Options { progress: Some(&progress), ..Options::default() }).unwrap();
    assert_eq!((calls.into_inner(), bytes.into_inner()), (50, 200));
}

/// A usr-merged image whose databases lie in two layers.
fn debian() -> Layers {
    let layers = Layers::new(2);
    layers.file(1, "usr/bin/sh", b"x", 0o755);
    layers.file(1, "usr/bin/edited", b"edited", 0o755);
    layers.link(1, "bin", "usr/bin");
    layers.file(1, "var/lib/dpkg/status", b"Package: sh\nVersion: 0\n", 0o644);
    layers.file(0, "var/lib/dpkg/status", b"Package: sh\nVersion: 1\nArchitecture: all\n", 0o644);
    layers.file(1, "var/lib/dpkg/info/sh.list", b"/bin/sh\n/bin/edited\n/bin/absent\n", 0o644);
    let sums = b"9dd4e461268c8034f5c8564e155c67a6  bin/sh\n9dd4e461268c8034f5c8564e155c67a6  bin/edited\nnonsense\n";
    layers.file(1, "var/lib/dpkg/info/sh.md5sums", sums, 0o644);
    layers
}

#[test]
fn dpkg_is_read_from_the_merged_tree_and_leads_to_evidence() {
    let image = debian().index().unwrap();
    assert_eq!(image.databases.len(), 1);
    assert_eq!(image.databases[0].packages[0].version, "1");
    assert_eq!(image.problems.len(), 1);
    assert_eq!(image.problems[0].to_string(), "dpkg database: sh.md5sums:3: line is of no known form; it is ignored");
    let sbom = br#"{"bomFormat": "CycloneDX", "specVersion": "1.6",
                    "components": [{"type": "library", "name": "sh", "version": "1", "purl": "pkg:deb/debian/sh@1"}]}"#;
    let sbom = parse(sbom, &Limits::default()).unwrap();
    let inventory = inventory(&image.listing, &sbom, &image.databases);
    let found: Vec<_> = inventory
        .files
        .iter()
        .map(|file| (&*file.path, file.evidence.map_or("mismatch", plimsoll_sbom::EvidenceClass::name)))
        .collect();
    assert_eq!(found, [("/usr/bin/edited", "mismatch"), ("/usr/bin/sh", "package-digest")]);
    assert_eq!(inventory.missing[0].path, "/bin/absent");
}

#[test]
fn apk_is_read_once_even_if_two_paths_lead_to_it() {
    let layers = Layers::new(1);
    layers.file(0, "usr/lib/apk/db/installed", b"P:busybox\nV:1\nF:bin\nR:busybox\n", 0o644);
    layers.link(0, "lib", "usr/lib");
    let image = layers.index().unwrap();
    assert_eq!(image.databases.len(), 1);
    assert_eq!(image.databases[0].kind, DatabaseKind::Apk);
    assert_eq!(image.databases[0].files[0].path, b"bin/busybox");
}

#[test]
fn distroless_databases_are_found() {
    let layers = Layers::new(1);
    layers.file(0, "var/lib/dpkg/status.d/base", b"Package: base\nVersion: 1\n", 0o644);
    layers.file(0, "var/lib/dpkg/status.d/base.md5sums", b"9dd4e461268c8034f5c8564e155c67a6  usr/bin/x\n", 0o644);
    let image = layers.index().unwrap();
    assert_eq!(image.databases[0].files[0].path, b"usr/bin/x");
}

#[test]
fn databases_that_are_not_understood_are_named() {
    let layers = Layers::new(1);
    layers.file(0, "var/lib/pacman/local/ALPM_DB_VERSION", b"9", 0o644);
    layers.file(0, "usr/lib/sysimage/rpm/rpmdb.sqlite", b"SQLite", 0o644);
    layers.file(0, "usr/share/rpm/Packages.db", include_bytes!("../../sbom/tests/fixtures/rpm/Packages.db"), 0o644);
    layers.file(0, "usr/share/rpm/Packages.db-wal", b"pending", 0o644);
    layers.link(0, "var/lib/rpm", "../../usr/share/rpm");
    let image = layers.index().unwrap();
    let kinds: Vec<_> = image.databases.iter().map(|database| (database.kind, database.packages.len())).collect();
    assert_eq!(kinds, [(DatabaseKind::Rpm, 4)]);
    let problems: Vec<String> = image.problems.iter().map(ToString::to_string).collect();
    let expected = [
        "`/usr/lib/sysimage/rpm/rpmdb.sqlite` cannot be read, and only digests in the SBOM cover its files: it is neither \
         SQLite, ndb nor a Berkeley DB hash",
        "`/usr/share/rpm/Packages.db-wal` is not empty: what rpm changed last is not in its database yet; ask for an image \
         made after `rpmdb --rebuilddb`",
        "`/var/lib/pacman/local/ALPM_DB_VERSION` is a package database of a kind that is not read; only digests in the SBOM \
         cover its files",
    ];
    assert_eq!(problems, expected);
}
