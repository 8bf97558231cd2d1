//! dpkg's database, and the reduced form of it in distroless images.
//!
//! A package's `.list` says what it owns and `.md5sums` what it shipped; the latter keeps entries of files that another
//! package has taken over since, so it alone says nothing where both exist. Paths are those of the package, before
//! merged `/usr`: [`crate::Listing::locate`] finds where they lie. Diversions have moved files before that.

use std::collections::{BTreeMap, HashMap};

use super::{
    Collector, DatabaseDigest, DatabaseError, DatabaseKind, DatabasePackage, Malformed, NamedSource, PackageDatabase,
    lines, utf8,
};
use crate::{digest::decode, limits::Limits};

/// The files of one dpkg database; those an image lacks stay empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct DpkgSources<'a> {
    /// `var/lib/dpkg/status`.
    pub status: &'a [u8],
    /// Everything in `var/lib/dpkg/status.d` (distroless): `<package>` and `<package>.md5sums`.
    pub status_d: &'a [NamedSource<'a>],
    /// `*.list`, `*.md5sums` and `*.conffiles` of `var/lib/dpkg/info`; others are ignored.
    pub info: &'a [NamedSource<'a>],
    /// `var/lib/dpkg/diversions`.
    pub diversions: &'a [u8],
}

/// Reads the whole database.
pub fn parse_dpkg(sources: &DpkgSources<'_>, limits: &Limits) -> Result<PackageDatabase, DatabaseError> {
    let mut collector = Collector::new(DatabaseKind::Dpkg, limits);
    let mut packages = Packages::default();
    packages.read_status(sources.status, "status", None, &mut collector)?;
    for source in sources.status_d.iter().filter(|source| extension(source.name).is_none()) {
        packages.read_status(source.bytes, source.name, Some(source.name), &mut collector)?;
    }
    for source in sources.info.iter().chain(sources.status_d) {
        if let Some((stem, extension)) = extension(source.name) {
            packages.read_files(stem, extension, source, &mut collector)?;
        }
    }
    let diversions = Diversions::read(sources.diversions, &mut collector)?;
    packages.finish(&diversions, &mut collector)?;
    Ok(collector.database)
}

/// Only these three tell about files; package names may have dots themselves.
fn extension(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once('.').filter(|(_, extension)| matches!(*extension, "list" | "md5sums" | "conffiles"))
}

#[derive(Default)]
struct Packages {
    /// Info file stem, such as `libc6` or `libc6:amd64`, to the package's index.
    by_stem: HashMap<String, usize>,
    /// By package index.
    files: Vec<PackageFiles>,
}

#[derive(Default)]
struct PackageFiles {
    listed: Option<Vec<Vec<u8>>>,
    digests: BTreeMap<Vec<u8>, Option<DatabaseDigest>>,
}

impl Packages {
    /// Reads stanzas; `stem` is the name that the `.md5sums` beside a `status.d` file has.
    fn read_status(
        &mut self,
        bytes: &[u8],
        source: &str,
        stem: Option<&str>,
        collector: &mut Collector<'_>,
    ) -> Result<(), DatabaseError> {
        let mut stanza = Stanza::default();
        for (number, line) in lines(bytes) {
            if line.iter().all(u8::is_ascii_whitespace) {
                self.finish_stanza(std::mem::take(&mut stanza), source, stem, collector)?;
            } else {
                stanza.line(line, source, number, collector)?;
            }
        }
        self.finish_stanza(stanza, source, stem, collector)
    }

    fn finish_stanza(
        &mut self,
        stanza: Stanza,
        source: &str,
        stem: Option<&str>,
        collector: &mut Collector<'_>,
    ) -> Result<(), DatabaseError> {
        let Some(first_line) = stanza.first_line else { return Ok(()) };
        if !stanza.is_installed() {
            return Ok(());
        }
        let (Some(name), Some(version)) = (stanza.name, stanza.version) else {
            collector.problem(source, first_line, Malformed::Package);
            return Ok(());
        };
        let stems = [
            stem.map(str::to_owned),
            stanza.architecture.as_ref().map(|architecture| format!("{name}:{architecture}")),
            Some(name.clone()),
        ];
        let package = DatabasePackage { name, version, architecture: stanza.architecture };
        let index = collector.package(package)?;
        for stem in stems.into_iter().flatten() {
            self.by_stem.entry(stem).or_insert(index);
        }
        self.files.push(PackageFiles { listed: None, digests: stanza.conffiles });
        Ok(())
    }

    /// Files of a package that is not installed (any more) are nobody's.
    fn read_files(
        &mut self,
        stem: &str,
        extension: &str,
        source: &NamedSource<'_>,
        collector: &mut Collector<'_>,
    ) -> Result<(), DatabaseError> {
        let package = self.by_stem.get(stem).and_then(|index| self.files.get_mut(*index));
        let Some(package) = package else { return Ok(()) };
        for (number, line) in lines(source.bytes).filter(|(_, line)| !line.is_empty()) {
            collector.hold_line()?;
            match extension {
                "list" => {
                    let listed = package.listed.get_or_insert_default();
                    listed.extend(collector.path(line, source.name, number));
                }
                "md5sums" => package.md5sum(line, source.name, number, collector),
                _ => package.conffile(line, source.name, number, collector),
            }
        }
        Ok(())
    }

    fn finish(self, diversions: &Diversions, collector: &mut Collector<'_>) -> Result<(), DatabaseError> {
        for (index, mut files) in self.files.into_iter().enumerate() {
            let name = collector.database.packages.get(index).map(|package| package.name.clone()).unwrap_or_default();
            let owned: Vec<(Vec<u8>, Option<DatabaseDigest>)> = match files.listed {
                Some(listed) => listed
                    .into_iter()
                    .map(|path| {
                        let digest = files.digests.remove(&path).flatten();
                        (path, digest)
                    })
                    .collect(),
                None => files.digests.into_iter().collect(),
            };
            // The root is nobody's, and nothing can have been diverted to it.
            let moved = owned.into_iter().map(|(path, digest)| (diversions.apply(path, &name), digest));
            for (path, digest) in moved.filter(|(path, _)| !path.is_empty()) {
                collector.file(path, digest, index)?;
            }
        }
        Ok(())
    }
}

impl PackageFiles {
    /// `<32 hex digits>  path`, or with ` *` where the checksum was taken in binary mode.
    fn md5sum(&mut self, line: &[u8], source: &str, number: usize, collector: &mut Collector<'_>) {
        let (digest, rest) = line.split_at_checked(32).unwrap_or((line, b""));
        let path = rest.strip_prefix(b"  ").or_else(|| rest.strip_prefix(b" *"));
        let digest = str::from_utf8(digest).ok().and_then(decode).map(DatabaseDigest::Md5);
        match (digest, path) {
            (Some(digest), Some(path)) => {
                if let Some(path) = collector.path(path, source, number) {
                    self.digests.insert(path, Some(digest));
                }
            }
            _ => collector.problem(source, number, Malformed::Line),
        }
    }

    /// A path, after the flag `remove-on-upgrade` if it has one.
    fn conffile(&mut self, line: &[u8], source: &str, number: usize, collector: &mut Collector<'_>) {
        if line.first() == Some(&b'/')
            && let Some(path) = collector.path(line, source, number)
        {
            self.digests.entry(path).or_default();
        }
    }
}

/// One paragraph of `status`.
#[derive(Default)]
struct Stanza {
    first_line: Option<usize>,
    in_conffiles: bool,
    name: Option<String>,
    version: Option<String>,
    architecture: Option<String>,
    status: Option<String>,
    conffiles: BTreeMap<Vec<u8>, Option<DatabaseDigest>>,
}

impl Stanza {
    fn line(
        &mut self,
        line: &[u8],
        source: &str,
        number: usize,
        collector: &mut Collector<'_>,
    ) -> Result<(), DatabaseError> {
        self.first_line.get_or_insert(number);
        if line.first().is_some_and(u8::is_ascii_whitespace) {
            if self.in_conffiles {
                collector.hold_line()?;
                self.conffile(line, source, number, collector);
            }
            return Ok(());
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            collector.problem(source, number, Malformed::Line);
            return Ok(());
        };
        let (field, value) = line.split_at(colon);
        let field = field.to_ascii_lowercase();
        self.in_conffiles = field == b"conffiles";
        let slot = match field.as_slice() {
            b"package" => &mut self.name,
            b"version" => &mut self.version,
            b"architecture" => &mut self.architecture,
            b"status" => &mut self.status,
            _ => return Ok(()),
        };
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        *slot = Some(utf8(value, source, number)?.to_owned()).filter(|value| !value.is_empty());
        Ok(())
    }

    /// ` /etc/x <md5> [obsolete]`; the digest is `newconffile` until it is known.
    fn conffile(&mut self, line: &[u8], source: &str, number: usize, collector: &mut Collector<'_>) {
        let line = line.trim_ascii();
        let line = line.strip_suffix(b" obsolete").or_else(|| line.strip_suffix(b" remove-on-upgrade")).unwrap_or(line);
        let Some(space) = line.iter().rposition(|byte| *byte == b' ') else {
            return collector.problem(source, number, Malformed::Line);
        };
        let (path, digest) = line.split_at(space);
        let digest = digest.trim_ascii();
        let known = str::from_utf8(digest).ok().and_then(decode).map(DatabaseDigest::Md5);
        if known.is_none() && digest != b"newconffile" {
            collector.problem(source, number, Malformed::Digest);
        }
        if let Some(path) = collector.path(path, source, number) {
            self.conffiles.insert(path, known);
        }
    }

    /// The third word of `Status`; `status.d` has none, and lists only what is there.
    fn is_installed(&self) -> bool {
        self.status.as_deref().is_none_or(|status| status.split_ascii_whitespace().nth(2) == Some("installed"))
    }
}

/// Path -> where it went, and the package whose own file stayed.
struct Diversions(HashMap<Vec<u8>, (Vec<u8>, String)>);

impl Diversions {
    /// Three lines each: path, diverted path, package (`:` for the administrator).
    fn read(bytes: &[u8], collector: &mut Collector<'_>) -> Result<Self, DatabaseError> {
        let mut diversions = HashMap::new();
        let mut lines = lines(bytes).filter(|(_, line)| !line.is_empty());
        while let Some((number, from)) = lines.next() {
            let (Some((_, to)), Some((last, package))) = (lines.next(), lines.next()) else {
                collector.problem("diversions", number, Malformed::Line);
                break;
            };
            let package = utf8(package, "diversions", last)?.to_owned();
            let paths = (collector.path(from, "diversions", number), collector.path(to, "diversions", number));
            if let (Some(from), Some(to)) = paths {
                diversions.insert(from, (to, package));
            }
        }
        Ok(Self(diversions))
    }

    fn apply(&self, path: Vec<u8>, package: &str) -> Vec<u8> {
        match self.0.get(&path) {
            Some((to, owner)) if owner != package => to.clone(),
            _ => path,
        }
    }
}
