//! Finds package databases in the merged tree. Paths in it may be links, as `lib` is to `usr/lib`; they are resolved in
//! the listing, and the file is then opened in the layer that shows it.

use std::{collections::BTreeSet, fs::File, io::Read};

use plimsoll_sbom::{
    DatabaseError, DpkgSources, Listing, NamedSource, Node, PackageDatabase, display_path, parse_apk, parse_dpkg,
    parse_rpm,
};
use rustix::io::Errno;

use crate::{Files, Options, Problem, error::RootfsError, languages};

const DPKG: &str = "var/lib/dpkg";
const APK: [&str; 2] = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];
/// Where rpm's database may be; of one directory the newest form counts.
const RPM: [&str; 3] = ["var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm"];
const RPM_FILES: [&str; 3] = ["rpmdb.sqlite", "Packages.db", "Packages"];
const UNSUPPORTED: [&str; 1] = ["var/lib/pacman/local/ALPM_DB_VERSION"];

/// Reads every database of a known kind.
pub(crate) fn discover(
    files: &mut dyn Files,
    listing: &Listing,
    options: &Options<'_>,
    problems: &mut Vec<Problem>,
) -> Result<Vec<PackageDatabase>, RootfsError> {
    let mut source = Source::new(files, listing, options.max_database_bytes);
    let mut databases = Vec::new();
    databases.extend(dpkg(&mut source, options)?);
    let installed: BTreeSet<_> = APK.iter().filter_map(|path| listing.resolve(path)).collect();
    for path in installed {
        if let Some(bytes) = source.file(&path)? {
            databases.push(parse_apk(&bytes, &options.database_limits)?);
        }
    }
    databases.extend(rpm(&mut source, options, problems)?);
    databases.extend(languages::discover(&mut source, &databases, options)?);
    problems.extend(databases.iter().flat_map(problems_of));
    let unsupported = UNSUPPORTED.iter().filter(|path| listing.resolve(path).is_some());
    problems.extend(unsupported.map(|path| Problem::UnsupportedDatabase { path: display_path(path.as_bytes()) }));
    Ok(databases)
}

fn problems_of(database: &PackageDatabase) -> impl Iterator<Item = Problem> {
    let kind = database.kind;
    let more = database.problem_count - database.problems.len();
    let listed = database.problems.iter().cloned().map(move |problem| Problem::Database { kind, problem });
    listed.chain((more > 0).then_some(Problem::MoreInDatabase { kind, count: more }))
}

fn dpkg(source: &mut Source<'_>, options: &Options<'_>) -> Result<Option<PackageDatabase>, RootfsError> {
    let Some(root) = source.listing.resolve(DPKG) else { return Ok(None) };
    let below = |name: &str| [root.as_slice(), b"/", name.as_bytes()].concat();
    let status = source.file(&below("status"))?;
    let status_d = source.directory(&below("status.d"), |_| true)?;
    if status.is_none() && status_d.is_empty() {
        return Ok(None);
    }
    let tells_of_files = |name: &str| {
        name.rsplit_once('.').is_some_and(|(_, extension)| matches!(extension, "list" | "md5sums" | "conffiles"))
    };
    let info = source.directory(&below("info"), tells_of_files)?;
    let diversions = source.file(&below("diversions"))?;
    let sources = DpkgSources {
        status: status.as_deref().unwrap_or_default(),
        status_d: &named(&status_d),
        info: &named(&info),
        diversions: diversions.as_deref().unwrap_or_default(),
    };
    Ok(Some(parse_dpkg(&sources, &options.database_limits)?))
}

/// One database for each directory that has one; two names of a directory are one.
fn rpm(
    source: &mut Source<'_>,
    options: &Options<'_>,
    problems: &mut Vec<Problem>,
) -> Result<Vec<PackageDatabase>, RootfsError> {
    let directories: BTreeSet<_> = RPM.iter().filter_map(|path| source.listing.resolve(path)).collect();
    let mut databases = Vec::new();
    for directory in directories {
        let below = |name: &str| [directory.as_slice(), b"/", name.as_bytes()].concat();
        for name in RPM_FILES {
            let Some(bytes) = source.file(&below(name))? else { continue };
            match parse_rpm(name, &bytes, &options.database_limits) {
                Ok(database) => databases.push(database),
                // Its files have less evidence then, never more.
                Err(DatabaseError::Broken { what, .. }) => {
                    let path = display_path(&below(name));
                    problems.push(Problem::BrokenDatabase { path, reason: what.to_string() });
                }
                Err(error) => return Err(error.into()),
            }
            let log = below(&format!("{name}-wal"));
            if matches!(source.listing.get(&log), Some(Node::File(fact)) if fact.size > 0) {
                problems.push(Problem::WriteAheadLog { path: display_path(&log) });
            }
            break;
        }
    }
    Ok(databases)
}

fn named(files: &[(String, Vec<u8>)]) -> Vec<NamedSource<'_>> {
    files.iter().map(|(name, bytes)| NamedSource { name, bytes }).collect()
}

/// Files of the merged tree, read into memory within one bound for all of them.
pub(crate) struct Source<'a> {
    files: &'a mut dyn Files,
    pub(crate) listing: &'a Listing,
    limit: u64,
    read: u64,
}

impl<'a> Source<'a> {
    pub(crate) fn new(files: &'a mut dyn Files, listing: &'a Listing, limit: u64) -> Self {
        Self { files, listing, limit, read: 0 }
    }

    /// The content of the file that `path` leads to; nothing if there is none.
    pub(crate) fn file(&mut self, path: &[u8]) -> Result<Option<Vec<u8>>, RootfsError> {
        let Some(path) = self.listing.resolve(path) else { return Ok(None) };
        let Some(Node::File(fact)) = self.listing.get(&path) else { return Ok(None) };
        if self.read + fact.size > self.limit {
            return Err(RootfsError::DatabaseTooLarge { path: self.files.locate(&path), limit: self.limit });
        }
        let Some(file) = self.files.open(&path)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(fact.size + 1).read_to_end(&mut bytes).map_err(|error| RootfsError::Io {
            action: "read",
            path: self.files.locate(&path),
            source: Errno::from_io_error(&error).unwrap_or(Errno::IO),
        })?;
        if bytes.len() as u64 != fact.size {
            return Err(RootfsError::Changed { path: self.files.locate(&path) });
        }
        self.read += fact.size;
        Ok(Some(bytes))
    }

    /// Opens the file at `path`, which must be free of links; nothing if there is none. Not bounded: whoever reads it is.
    pub(crate) fn open(&mut self, path: &[u8]) -> Result<Option<File>, RootfsError> {
        self.files.open(path)
    }

    /// Names and contents of the wanted files of a directory.
    fn directory(&mut self, path: &[u8], wanted: impl Fn(&str) -> bool) -> Result<Vec<(String, Vec<u8>)>, RootfsError> {
        let Some(path) = self.listing.resolve(path) else { return Ok(Vec::new()) };
        let mut files = Vec::new();
        for (name, _) in self.listing.names(&path) {
            let shown = String::from_utf8_lossy(name).into_owned();
            if wanted(&shown)
                && let Some(bytes) = self.file(&[path.as_slice(), b"/", name].concat())?
            {
                files.push((shown, bytes));
            }
        }
        Ok(files)
    }
}
