//! dpkg's and apk's databases as they occur.
#![cfg(test)]
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes snapshots so")]

use expect_test::{Expect, expect};
use plimsoll_sbom::{
    DatabaseError, DpkgSources, Limits, NamedSource, PackageDatabase, display_path, parse_apk, parse_dpkg,
};

fn check(database: &PackageDatabase, expected: &Expect) {
    let mut lines = Vec::new();
    for file in &database.files {
        let package = &database.packages[file.package];
        let digest = file.digest.map_or_else(|| "-".to_owned(), |digest| digest.to_string());
        let architecture = package.architecture.as_deref().unwrap_or("?");
        lines.push(format!(
            "{} {digest} {} {} {architecture}",
            display_path(&file.path),
            package.name,
            package.version
        ));
    }
    lines.extend(database.problems.iter().map(ToString::to_string));
    expected.assert_eq(&(lines.join("\n") + "\n"));
}

fn source<'a>(name: &'a str, text: &'a str) -> NamedSource<'a> {
    NamedSource { name, bytes: text.as_bytes() }
}

const STATUS: &str = "\
Package: libc6
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Version: 2.36-9
Conffiles:
 /etc/ld.so.conf.d/x.conf d4e7a7b88a71b5ffd9e2644e71a0cfab
 /etc/new.conf newconffile
 /etc/gone.conf 11111111111111111111111111111111 obsolete
 /etc/odd.conf what
Description: short
 /not/a/conffile 22222222222222222222222222222222

Package: dash
Status: install ok installed
Architecture: amd64
Version: 1:0.5.12-2

Package: removed
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: nameless-version
Status: install ok installed
";

#[test]
fn dpkg_joins_lists_with_checksums_and_conffiles() {
    let info = [
        source(
            "libc6:amd64.list",
            "/.\n/lib\n/lib/libc.so.6\n/etc/ld.so.conf.d/x.conf\n/etc/new.conf\n/lib/no-checksum.so\n/../x\n",
        ),
        source(
            "libc6:amd64.md5sums",
            "00112233445566778899aabbccddeeff  lib/libc.so.6\n\
             0123456789abcdef0123456789abcdef  usr/bin/taken-over-by-another-package\n\
             not a checksum line\n",
        ),
        source("libc6:amd64.conffiles", "/etc/ld.so.conf.d/x.conf\nremove-on-upgrade /etc/old\n"),
        source("dash.md5sums", "00112233445566778899aabbccddeeff *bin/dash\n"),
        source("dash.conffiles", "/etc/dash.conf\n"),
        source("removed.list", "/usr/bin/removed\n"),
        source("libc6:amd64.postinst", "#!/bin/sh\n"),
    ];
    let sources = DpkgSources { status: STATUS.as_bytes(), info: &info, ..DpkgSources::default() };
    check(
        &parse_dpkg(&sources, &Limits::default()).unwrap(),
        &expect![[r#"
        /lib - libc6 2.36-9 amd64
        /lib/libc.so.6 md5:00112233445566778899aabbccddeeff libc6 2.36-9 amd64
        /etc/ld.so.conf.d/x.conf md5:d4e7a7b88a71b5ffd9e2644e71a0cfab libc6 2.36-9 amd64
        /etc/new.conf - libc6 2.36-9 amd64
        /lib/no-checksum.so - libc6 2.36-9 amd64
        /bin/dash md5:00112233445566778899aabbccddeeff dash 1:0.5.12-2 amd64
        /etc/dash.conf - dash 1:0.5.12-2 amd64
        status:10: digest is of no known form; the file counts as having none
        status:24: package has no name or version; it is ignored
        libc6:amd64.list:7: path cannot be in an image; the entry is ignored
        libc6:amd64.md5sums:3: line is of no known form; it is ignored
    "#]],
    );
}

#[test]
fn dpkg_diversions_move_every_package_but_the_one_that_diverts() {
    let status = "Package: dash\nVersion: 1\n\nPackage: bash\nVersion: 2\n\nPackage: other\nVersion: 3\n";
    let info =
        [source("dash.list", "/bin/sh\n"), source("bash.list", "/bin/sh\n"), source("other.list", "/bin/local\n")];
    let diversions = "/bin/sh\n/bin/sh.distrib\ndash\n/bin/local\n/bin/local.orig\n:\n/bin/incomplete\n";
    let sources = DpkgSources {
        status: status.as_bytes(),
        info: &info,
        diversions: diversions.as_bytes(),
        ..DpkgSources::default()
    };
    check(
        &parse_dpkg(&sources, &Limits::default()).unwrap(),
        &expect![[r#"
        /bin/sh - dash 1 ?
        /bin/sh.distrib - bash 2 ?
        /bin/local.orig - other 3 ?
        diversions:7: line is of no known form; it is ignored
    "#]],
    );
}

#[test]
fn distroless_keeps_one_file_per_package() {
    let status_d = [
        source("libssl3", "Package: libssl3\nVersion: 3.0.11-1\nArchitecture: amd64\nMaintainer: x\n"),
        source("libssl3.md5sums", "00112233445566778899aabbccddeeff  usr/lib/libssl.so.3\n"),
        source("bGliYzY", "Package: libc6\nVersion: 2.36\n"),
        source("bGliYzY.md5sums", "ffeeddccbbaa99887766554433221100  lib/libc.so.6\n"),
    ];
    let sources = DpkgSources { status_d: &status_d, ..DpkgSources::default() };
    check(
        &parse_dpkg(&sources, &Limits::default()).unwrap(),
        &expect![[r#"
        /usr/lib/libssl.so.3 md5:00112233445566778899aabbccddeeff libssl3 3.0.11-1 amd64
        /lib/libc.so.6 md5:ffeeddccbbaa99887766554433221100 libc6 2.36 ?
    "#]],
    );
}

#[test]
fn apk_2_and_3_differ_in_a_flag_alone() {
    let installed = "\
C:Q1abc=
P:busybox
V:1.36.1-r2
A:x86_64
F:
R:init
Z:Q1AAECAwQFBgcICQoLDA0ODxAREhM=
F:bin
M:0:0:1777
R:busybox
a:0:0:755
Z:Q1AAECAwQFBgcICQoLDA0ODxAREhM=
R:sh
Z:Q1short
R:nodigest
R:../../escape
Z:Q1AAECAwQFBgcICQoLDA0ODxAREhM=

P:new
V:2-r0
f:S
F:usr/bin
R:new
Z:Q1AAECAwQFBgcICQoLDA0ODxAREhM=
R:ancient
Z:00112233445566778899aabbccddeeff

P:no-version
R:x
";
    check(
        &parse_apk(installed.as_bytes(), &Limits::default()).unwrap(),
        &expect![[r#"
        /init sha1:000102030405060708090a0b0c0d0e0f10111213 busybox 1.36.1-r2 x86_64
        /bin/busybox sha1:000102030405060708090a0b0c0d0e0f10111213 busybox 1.36.1-r2 x86_64
        /bin/sh - busybox 1.36.1-r2 x86_64
        /bin/nodigest - busybox 1.36.1-r2 x86_64
        /usr/bin/new sha256-160:000102030405060708090a0b0c0d0e0f10111213 new 2-r0 ?
        /usr/bin/ancient md5:00112233445566778899aabbccddeeff new 2-r0 ?
        installed:16: path cannot be in an image; the entry is ignored
        installed:14: digest is of no known form; the file counts as having none
        installed:28: package has no name or version; it is ignored
    "#]],
    );
}

#[test]
fn problems_are_counted_beyond_those_kept() {
    let installed = format!("P:p\nV:1\n{}", "?\n".repeat(1000));
    let database = parse_apk(installed.as_bytes(), &Limits::default()).unwrap();
    assert_eq!((database.problems.len(), database.problem_count), (64, 1000));
}

#[test]
fn limits_hold_for_lines_that_never_become_files() {
    let limits = Limits { max_files: 10, ..Limits::default() };
    let installed = format!("P:p\nV:1\n{}", "R:../x\n".repeat(41));
    let error = parse_apk(installed.as_bytes(), &limits).unwrap_err();
    assert_eq!(error.to_string(), "more than 40 lines in the apk database");
    let list = "/a\n".repeat(11);
    let info = [source("p.list", &list)];
    let sources = DpkgSources { status: b"Package: p\nVersion: 1\n", info: &info, ..DpkgSources::default() };
    let error = parse_dpkg(&sources, &limits).unwrap_err();
    assert_eq!(error.to_string(), "more than 10 files in the dpkg database");
}

#[test]
fn names_must_be_text() {
    let error = parse_apk(b"P:x\nV:\xff\n", &Limits::default()).unwrap_err();
    assert!(matches!(error, DatabaseError::NotUtf8 { line: 2, .. }), "{error}");
    let sources = DpkgSources { status: b"Package: \xff\n", ..DpkgSources::default() };
    assert!(parse_dpkg(&sources, &Limits::default()).is_err());
}

#[test]
fn nothing_is_diverted_to_the_root() {
    let status = "Package: dash\nVersion: 1\n";
    let info = [source("dash.list", "/bin/sh\n/bin/dash\n")];
    let diversions = "/bin/sh\n/\nother\n";
    let sources = DpkgSources {
        status: status.as_bytes(),
        info: &info,
        diversions: diversions.as_bytes(),
        ..DpkgSources::default()
    };
    let database = parse_dpkg(&sources, &Limits::default()).unwrap();
    let paths: Vec<String> = database.files.iter().map(|file| display_path(&file.path)).collect();
    assert_eq!(paths, ["/bin/dash"]);
}
