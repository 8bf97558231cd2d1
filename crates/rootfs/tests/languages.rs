//! Code that the distribution's package manager did not bring, and what ties it to an SBOM.
#![cfg(test)]

mod support;

use std::{fs, io::Write as _, path::Path, process::Command};

use plimsoll_sbom::{EvidenceClass, Limits, inventory, parse};
use support::Layers;
use zip::{ZipWriter, write::SimpleFileOptions};

/// A script of ten bytes.
const SCRIPT: &[u8] = b"#!/bin/sh\n";

/// `path  evidence  package` of every exec-capable file, under an SBOM of these package URLs.
fn evidence(layers: &Layers, purls: &[&str]) -> Vec<String> {
    let component = |purl: &&str| format!(r#"{{"type": "library", "name": "x", "version": "0", "purl": "{purl}"}}"#);
    let components: Vec<String> = purls.iter().map(component).collect();
    let document =
        format!(r#"{{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{}]}}"#, components.join(","));
    let sbom = parse(document.as_bytes(), &Limits::default()).unwrap();
    let image = layers.index().unwrap();
    assert_eq!(image.problems, []);
    let files = inventory(&image.listing, &sbom, &image.databases).files;
    files
        .iter()
        .map(|file| {
            let evidence = file.evidence.map_or("mismatch", EvidenceClass::name);
            let package = file.package.as_ref().map_or("-", |package| package.purl.as_deref().unwrap_or(&package.name));
            format!("{} {evidence} {package}", file.path)
        })
        .collect()
}

#[test]
fn python_files_have_the_digest_of_their_record() {
    let layers = Layers::new(1);
    layers.file(0, "usr/lib/python3/site-packages/a/native.so", b"\x7fELF", 0o644);
    layers.file(0, "usr/lib/python3/site-packages/a/edited.so", b"\x7fELF2", 0o644);
    layers.file(0, "usr/bin/tool", SCRIPT, 0o755);
    layers.file(0, "usr/lib/python3/site-packages/A_b-1.0.dist-info/METADATA", b"Name: A_b\nVersion: 1.0\n\n", 0o644);
    let record = "a/native.so,sha256=O9u0_oOXzSuEJDCznM_wGoZjx1GUXvXpoJ4mf7ix01k,4\n\
                  a/edited.so,sha256=O9u0_oOXzSuEJDCznM_wGoZjx1GUXvXpoJ4mf7ix01k,4\n\
                  ../../../bin/tool,sha256=qAdtPSjSHgIBKyDq99v3VAmmJ3E0Q5Al8oLjaOMwWr8,10\nA_b-1.0.dist-info/RECORD,,\n";
    layers.file(0, "usr/lib/python3/site-packages/A_b-1.0.dist-info/RECORD", record.as_bytes(), 0o644);
    let purl = "pkg:pypi/a-b@1.0";
    let found = evidence(&layers, &[purl]);
    assert_eq!(
        found,
        [
            format!("/usr/bin/tool package-digest {purl}"),
            format!("/usr/lib/python3/site-packages/a/edited.so mismatch {purl}"),
            format!("/usr/lib/python3/site-packages/a/native.so package-digest {purl}"),
        ]
    );
    assert!(evidence(&layers, &["pkg:pypi/a-b@1.1"]).iter().all(|line| line.ends_with("layer-only a-b")));
}

#[test]
fn modules_of_node_have_their_path() {
    let layers = Layers::new(1);
    layers.file(0, "app/node_modules/@s/a/build/native.node", b"\x7fELF", 0o644);
    layers.file(0, "app/node_modules/@s/a/package.json", br#"{"name": "@s/a", "version": "2.0.0"}"#, 0o644);
    layers.file(0, "app/node_modules/b/cli.js", b"#!/usr/bin/env node\n", 0o755);
    layers.file(0, "app/node_modules/b/package.json", b"not JSON", 0o644);
    let found = evidence(&layers, &["pkg:npm/%40s/a@2.0.0", "pkg:npm/b@1.0.0"]);
    assert_eq!(
        found,
        [
            "/app/node_modules/@s/a/build/native.node package-path pkg:npm/%40s/a@2.0.0",
            "/app/node_modules/b/cli.js layer-only -",
        ]
    );
}

fn with_section(program: &Path, name: &str, content: &[u8]) -> Vec<u8> {
    let scratch = tempfile::tempdir().unwrap();
    let (section, out) = (scratch.path().join("section"), scratch.path().join("out"));
    fs::write(&section, content).unwrap();
    let add = format!("{name}={}", section.display());
    let status = Command::new("objcopy").args(["--add-section", &add]).arg(program).arg(&out).status().unwrap();
    assert!(status.success(), "objcopy failed");
    fs::read(out).unwrap()
}

#[test]
fn programs_say_what_they_were_built_from_unless_a_package_has_them() {
    let layers = Layers::new(1);
    let program = Path::new("/bin/true");
    let mut go = b"\xff Go buildinf:\x08\x02".to_vec();
    go.resize(32, 0);
    go.extend(b"\x06go1.22\x38________________mod\texample.org/m\tv1.0.0\t\n________________");
    layers.file(0, "opt/go", &with_section(program, ".go.buildinfo", &go), 0o755);
    let crates = br#"{"packages": [{"name": "tool", "version": "0.1.0", "root": true}]}"#;
    let crates = miniz_oxide::deflate::compress_to_vec_zlib(crates, 6);
    let rust = with_section(program, ".dep-v0", &crates);
    layers.file(0, "opt/rust", &rust, 0o755);
    layers.file(0, "usr/bin/owned", &rust, 0o755);
    layers.file(0, "opt/broken", &rust[..rust.len() / 2], 0o755);
    layers.file(0, "var/lib/dpkg/status", b"Package: p\nVersion: 1\n", 0o644);
    layers.file(0, "var/lib/dpkg/info/p.list", b"/usr/bin/owned\n", 0o644);
    let found = evidence(&layers, &["pkg:golang/example.org/m@v1.0.0", "pkg:cargo/tool@0.1.0"]);
    assert_eq!(
        found,
        [
            "/opt/broken layer-only -",
            "/opt/go package-path pkg:golang/example.org/m@v1.0.0",
            "/opt/rust package-path pkg:cargo/tool@0.1.0",
            "/usr/bin/owned layer-only p",
        ]
    );
}

#[test]
fn an_archive_that_can_run_names_its_artifact() {
    let layers = Layers::new(1);
    let mut archive = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    archive.start_file("META-INF/maven/org.example/app/pom.properties", SimpleFileOptions::default()).unwrap();
    archive.write_all(b"groupId=org.example\nartifactId=app\nversion=3\n").unwrap();
    let bytes = archive.finish().unwrap().into_inner();
    layers.file(0, "srv/app.jar", &bytes, 0o755);
    layers.file(0, "srv/cut.jar", &bytes[..60], 0o755);
    layers.file(0, "srv/data.jar", &bytes, 0o644);
    let found = evidence(&layers, &["pkg:maven/org.example/app@3"]);
    assert_eq!(found, ["/srv/app.jar package-path pkg:maven/org.example/app@3", "/srv/cut.jar layer-only -"]);
}
