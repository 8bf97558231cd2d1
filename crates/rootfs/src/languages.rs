//! Code that no package manager of the distribution put into the image: Python's distributions, `node_modules`, Java
//! archives, and Go and Rust programs that say what they were built from.
//!
//! Python's `RECORD`s are all read. The rest is asked only about exec-capable files that no database owns, and what
//! makes no sense says nothing: the file then is what it would have been without.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    fs::File,
    io::Read,
};

use object::{
    Object as _, ObjectSection as _,
    read::{File as Elf, ReadCache},
};
use plimsoll_sbom::{
    DatabaseKind, DatabasePackage, ExecKind, Node, PackageDatabase, PythonDistribution, cargo_crate, go_module,
    java_artifact, npm_package, parse_python, self_described,
};
use zip::ZipArchive;

use crate::{Options, error::RootfsError, packages::Source};

/// Bytes of one section of an ELF file, or of one file in a Java archive.
const MAX_PART: u64 = 16 << 20;
/// Entries of an archive's directory that are looked at.
const MAX_ARCHIVE: usize = 65_536;

type Claims = Vec<(DatabasePackage, Vec<Vec<u8>>)>;

/// Reads what is there. `databases` are those found already.
pub(crate) fn discover(
    source: &mut Source<'_>,
    databases: &[PackageDatabase],
    options: &Options<'_>,
) -> Result<Vec<PackageDatabase>, RootfsError> {
    let python = python(source, options)?;
    let owned: HashSet<Vec<u8>> = databases
        .iter()
        .chain(&python)
        .flat_map(|database| &database.files)
        .filter_map(|file| source.listing.locate(&file.path))
        .collect();
    let listing = source.listing;
    let unowned = listing.iter().filter_map(|(path, node)| match node {
        Node::File(fact) => fact.exec.as_ref().filter(|_| !owned.contains(path)).map(|exec| (path, exec.kind)),
        _ => None,
    });
    let mut claims: BTreeMap<DatabaseKind, Claims> = BTreeMap::new();
    let mut modules: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
    for (path, kind) in unowned {
        if let Some(directory) = module_of(path) {
            modules.entry(directory.to_vec()).or_default().push(path.to_vec());
        } else if let Some((kind, package)) = itself(source, path, kind)? {
            claims.entry(kind).or_default().push((package, vec![path.to_vec()]));
        }
    }
    for (directory, files) in modules {
        let manifest = source.file(&[directory.as_slice(), b"/package.json"].concat())?;
        if let Some(package) = manifest.and_then(|json| npm_package(&json)) {
            claims.entry(DatabaseKind::Npm).or_default().push((package, files));
        }
    }
    let described = claims.into_iter().map(|(kind, claims)| self_described(kind, claims, &options.database_limits));
    Ok(python.into_iter().chain(described.collect::<Result<Vec<_>, _>>()?).collect())
}

fn python(source: &mut Source<'_>, options: &Options<'_>) -> Result<Option<PackageDatabase>, RootfsError> {
    let listing = source.listing;
    let records: Vec<&[u8]> =
        listing.iter().map(|(path, _)| path).filter(|path| path.ends_with(b".dist-info/RECORD")).collect();
    let mut found = Vec::new();
    for path in records {
        let Some(info) = path.strip_suffix(b"/RECORD") else { continue };
        let (directory, name) = parent_and_name(info);
        let (record, metadata) = (source.file(path)?, source.file(&[info, b"/METADATA"].concat())?);
        if let (Some(record), Some(metadata)) = (record, metadata) {
            found.push((String::from_utf8_lossy(name).into_owned(), directory, metadata, record));
        }
    }
    if found.is_empty() {
        return Ok(None);
    }
    let distributions: Vec<_> = found
        .iter()
        .map(|(name, directory, metadata, record)| PythonDistribution { name, directory, metadata, record })
        .collect();
    Ok(Some(parse_python(&distributions, &options.database_limits)?))
}

fn parent_and_name(path: &[u8]) -> (&[u8], &[u8]) {
    let slash = path.iter().rposition(|byte| *byte == b'/');
    slash.map_or((b"", path), |at| (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()))
}

/// `a/node_modules/b` of `a/node_modules/b/c/d`, and `a/node_modules/@s/b` of what is below that; the innermost counts.
fn module_of(path: &[u8]) -> Option<&[u8]> {
    const MARK: &[u8] = b"node_modules/";
    let at = path.windows(MARK.len()).rposition(|window| window == MARK)?;
    let is_whole = at == 0 || path.get(at - 1) == Some(&b'/');
    let below = path.get(at + MARK.len()..).filter(|_| is_whole)?;
    let depth = if below.starts_with(b"@") { 2 } else { 1 };
    let name: usize = below.split(|byte| *byte == b'/').take(depth).map(|word| word.len() + 1).sum();
    path.get(..at + MARK.len() + name - 1).filter(|module| module.len() < path.len())
}

/// What the file says about itself.
fn itself(
    source: &mut Source<'_>,
    path: &[u8],
    kind: ExecKind,
) -> Result<Option<(DatabaseKind, DatabasePackage)>, RootfsError> {
    let is_archive = [b".jar".as_slice(), b".war", b".ear"].iter().any(|suffix| path.ends_with(suffix));
    if kind != ExecKind::Elf && !is_archive {
        return Ok(None);
    }
    let Some(file) = source.open(path)? else { return Ok(None) };
    Ok(if kind == ExecKind::Elf { of_elf(file) } else { of_archive(file).map(|package| (DatabaseKind::Java, package)) })
}

fn of_elf(mut file: File) -> Option<(DatabaseKind, DatabasePackage)> {
    let mut head = [0; 64];
    file.read_exact(&mut head).ok()?;
    // More sections than this field can count would have to be read first to be counted.
    let [is_64, is_big] = [*head.get(4)? == 2, *head.get(5)? == 2];
    let at = if is_64 { 60 } else { 48 };
    let count = [*head.get(at)?, *head.get(at + 1)?];
    let count = if is_big { u16::from_be_bytes(count) } else { u16::from_le_bytes(count) };
    if count == 0 {
        return None;
    }
    let cache = ReadCache::new(file);
    let elf = Elf::parse(&cache).ok()?;
    let section = |name| {
        let section = elf.section_by_name(name)?;
        let (_, size) = section.file_range()?;
        if size <= MAX_PART { section.data().ok() } else { None }
    };
    let go = section(".go.buildinfo").and_then(go_module).map(|package| (DatabaseKind::Go, package));
    go.or_else(|| section(".dep-v0").and_then(cargo_crate).map(|package| (DatabaseKind::Cargo, package)))
}

/// An archive of several artifacts is of the one that has its name.
fn of_archive(file: File) -> Option<DatabasePackage> {
    let mut archive = ZipArchive::new(file).ok()?;
    if archive.len() > MAX_ARCHIVE {
        return None;
    }
    let is_pom = |name: &Cow<'_, str>| name.starts_with("META-INF/maven/") && name.ends_with("/pom.properties");
    let names = archive.file_names().filter_map(Result::ok).filter(is_pom).map(Cow::into_owned);
    let names: Vec<String> = names.take(2).collect();
    let [name] = names.as_slice() else { return None };
    let mut text = Vec::new();
    archive.by_name(name).ok()?.take(MAX_PART).read_to_end(&mut text).ok()?;
    java_artifact(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_the_innermost_directory_below_node_modules() {
        let cases: [(&str, Option<&str>); 7] = [
            ("app/node_modules/a/bin/x", Some("app/node_modules/a")),
            ("node_modules/@s/a/x.node", Some("node_modules/@s/a")),
            ("app/node_modules/a/node_modules/b/x", Some("app/node_modules/a/node_modules/b")),
            ("app/node_modules/x", None),
            ("app/not_node_modules/a/x", None),
            ("node_modules/@s/x", None),
            ("usr/bin/x", None),
        ];
        for (path, module) in cases {
            assert_eq!(module_of(path.as_bytes()), module.map(str::as_bytes), "{path}");
        }
    }
}
