//! What files say about themselves: the module a Go program was built from, the crate a Rust program was built from
//! (cargo-auditable), the package a directory of `node_modules` or a Java archive holds.
//!
//! That is weaker than a package manager's list: whoever forged the file could have forged this. It ties a file to an
//! entry of the SBOM, by path and without a digest.

use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;
use serde::Deserialize;

use super::{Collector, DatabaseError, DatabaseKind, DatabasePackage, PackageDatabase, lines};
use crate::limits::Limits;

/// Names and versions longer than this are nobody's.
const MAX_TEXT: usize = 1024;
/// Bytes of a Rust program's list of crates, unpacked.
const MAX_CRATES: usize = 8 << 20;

/// Ties files to the packages that they, or what is around them, claim to be of.
pub fn self_described(
    kind: DatabaseKind,
    claims: Vec<(DatabasePackage, Vec<Vec<u8>>)>,
    limits: &Limits,
) -> Result<PackageDatabase, DatabaseError> {
    let mut collector = Collector::new(kind, limits);
    for (package, paths) in claims {
        let package = collector.package(package)?;
        for path in paths {
            collector.file(path, None, package)?;
        }
    }
    Ok(collector.database)
}

fn package(name: &str, version: &str) -> Option<DatabasePackage> {
    let fits = |text: &str| !text.is_empty() && text.len() <= MAX_TEXT;
    (fits(name) && fits(version)).then(|| DatabasePackage {
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: None,
    })
}

/// The main module in a Go program's section `.go.buildinfo`, in the form that Go has written since 1.18.
pub fn go_module(section: &[u8]) -> Option<DatabasePackage> {
    const MAGIC: &[u8] = b"\xff Go buildinf:";
    const INLINE: u8 = 2;
    const STRINGS: usize = 32;
    /// The module text stands between two marks of this length.
    const MARK: usize = 16;
    if !section.starts_with(MAGIC) || section.get(15)? & INLINE == 0 {
        return None;
    }
    let (_compiler, rest) = counted(section.get(STRINGS..)?)?;
    let (modules, _) = counted(rest)?;
    let modules = modules.get(MARK..modules.len().checked_sub(MARK)?)?;
    let main = lines(modules).find_map(|(_, line)| line.strip_prefix(b"mod\t"))?;
    let mut words = str::from_utf8(main).ok()?.split('\t');
    package(words.next()?, words.next()?)
}

/// Bytes after their number, which is in groups of seven bits, the lowest first.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length = 0_usize;
    for (position, byte) in bytes.iter().enumerate().take(4) {
        length |= usize::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            return bytes.get(position + 1..)?.split_at_checked(length);
        }
    }
    None
}

/// The root crate in a Rust program's section `.dep-v0`, as cargo-auditable writes it.
pub fn cargo_crate(section: &[u8]) -> Option<DatabasePackage> {
    #[derive(Deserialize)]
    struct Audit {
        packages: Vec<Crate>,
    }
    #[derive(Deserialize)]
    struct Crate {
        name: String,
        version: String,
        #[serde(default)]
        root: bool,
    }
    let json = decompress_to_vec_zlib_with_limit(section, MAX_CRATES).ok()?;
    let audit: Audit = serde_json::from_slice(&json).ok()?;
    let root = audit.packages.iter().find(|package| package.root)?;
    package(&root.name, &root.version)
}

/// The package that a `package.json` names.
pub fn npm_package(json: &[u8]) -> Option<DatabasePackage> {
    #[derive(Deserialize)]
    struct Manifest {
        name: String,
        version: String,
    }
    let manifest: Manifest = serde_json::from_slice(json).ok()?;
    package(&manifest.name, &manifest.version)
}

/// The artifact that a Java archive's `pom.properties` names, as `group/artifact`.
pub fn java_artifact(properties: &[u8]) -> Option<DatabasePackage> {
    let value = |key: &str| {
        lines(properties).find_map(|(_, line)| {
            let (found, value) = str::from_utf8(line).ok()?.split_once('=')?;
            (found.trim() == key).then(|| value.trim())
        })
    };
    package(&format!("{}/{}", value("groupId")?, value("artifactId")?), value("version")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(package: Option<DatabasePackage>) -> Option<(String, String)> {
        package.map(|package| (package.name, package.version))
    }

    fn named(name: &str, version: &str) -> Option<(String, String)> {
        parts(package(name, version))
    }

    fn go(modules: &str) -> Vec<u8> {
        let mut section = b"\xff Go buildinf:\x08\x02".to_vec();
        section.resize(32, 0);
        section.extend(b"\x08go1.22.1");
        let text = format!("{0}{modules}{0}", "0123456789abcdef");
        let length = u8::try_from(text.len() & 0x7f).unwrap() | 0x80;
        section.extend([length, u8::try_from(text.len() >> 7).unwrap()]);
        section.extend(text.as_bytes());
        section
    }

    #[test]
    fn a_go_program_names_its_main_module() {
        let modules =
            "path\tgithub.com/a/b/cmd/x\nmod\tgithub.com/a/b\tv1.2.3\th1:x=\ndep\tgithub.com/c/d\tv0.1.0\th1:y=\n";
        let section = go(modules);
        assert_eq!(parts(go_module(&section)), named("github.com/a/b", "v1.2.3"));
        for length in 0..section.len() - 1 {
            assert_eq!(parts(go_module(&section[..length])), None, "cut at {length}");
        }
        assert_eq!(parts(go_module(&go("path\tcmd/go\n"))), None);
    }

    #[test]
    fn a_rust_program_names_its_root_crate() {
        let json = br#"{"packages": [{"name": "serde", "version": "1.0.0", "source": "crates.io"},
                        {"name": "tool", "version": "0.3.0", "source": "local", "dependencies": [0], "root": true}]}"#;
        let section = miniz_oxide::deflate::compress_to_vec_zlib(json, 6);
        assert_eq!(parts(cargo_crate(&section)), named("tool", "0.3.0"));
        let bomb = miniz_oxide::deflate::compress_to_vec_zlib(&vec![b' '; MAX_CRATES + 1], 6);
        assert_eq!(parts(cargo_crate(&bomb)), None);
    }

    #[test]
    fn manifests_name_their_package() {
        assert_eq!(parts(npm_package(br#"{"name": "@a/b", "version": "1.0.0", "x": 1}"#)), named("@a/b", "1.0.0"));
        assert_eq!(parts(npm_package(br#"{"name": "@a/b"}"#)), None);
        let properties = b"#comment\nversion=1.2\ngroupId = org.example\nartifactId=tool\r\n";
        assert_eq!(parts(java_artifact(properties)), named("org.example/tool", "1.2"));
        assert_eq!(parts(java_artifact(b"version=1\n")), None);
    }
}
