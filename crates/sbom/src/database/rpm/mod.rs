//! rpm's database, in the three forms it has had: SQLite (`rpmdb.sqlite`), ndb (`Packages.db`), and Berkeley DB's hash
//! (`Packages`). Each keeps one header per package, in one and the same format.
//!
//! The containers are read by hand, and only as far as getting the headers out needs: the file is written by whoever
//! built the image, the reader runs in a privileged process, and the C libraries that know these formats are made for
//! files one trusts. Every page or block is used at most once, so work and memory stay within the file's size.

mod bdb;
mod bytes;
mod header;
mod ndb;
mod sqlite;

use std::borrow::Cow;

use super::{Collector, DatabaseDigest, DatabaseError, DatabaseKind, DatabasePackage, Malformed, PackageDatabase};
use crate::{digest::decode, limits::Limits};
use header::Header;

/// Why a container cannot be read; there is one place in the file, and it is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenContainer {
    /// None of the three.
    #[error("it is neither SQLite, ndb nor a Berkeley DB hash")]
    Unknown,
    /// Something points behind the end.
    #[error("it is cut off: something at byte {at} points outside of it")]
    OutOfBounds {
        /// Where, or near where.
        at: usize,
    },
    /// A page or block is used twice, so pointers may form a loop.
    #[error("page {page} is used twice")]
    Reused {
        /// Number of the page or block.
        page: usize,
    },
    /// A page is not of the kind that what points to it says.
    #[error("page {page} is not what it should be")]
    Page {
        /// Number of the page or block.
        page: usize,
    },
    /// SQLite without the table that has the headers.
    #[error("it has no table `Packages`")]
    NoTable,
}

/// Reads the content of `rpmdb.sqlite`, `Packages.db` or `Packages`, whichever it is; that is told by content.
pub fn parse_rpm(name: &str, bytes: &[u8], limits: &Limits) -> Result<PackageDatabase, DatabaseError> {
    let broken = |what| DatabaseError::Broken { kind: DatabaseKind::Rpm, source_name: name.to_owned(), what };
    let mut collector = Collector::new(DatabaseKind::Rpm, limits);
    for (index, blob) in blobs(bytes).map_err(broken)?.iter().enumerate() {
        match Header::parse(blob) {
            Some(header) => take(&header, name, index + 1, &mut collector)?,
            None => collector.problem(name, index + 1, Malformed::Header),
        }
    }
    Ok(collector.database)
}

fn blobs(bytes: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, BrokenContainer> {
    if sqlite::is(bytes) {
        sqlite::blobs(bytes)
    } else if ndb::is(bytes) {
        ndb::blobs(bytes)
    } else if bdb::is(bytes) {
        bdb::blobs(bytes)
    } else {
        Err(BrokenContainer::Unknown)
    }
}

/// Takes in one package; `record` is its number in the database.
fn take(header: &Header<'_>, source: &str, record: usize, collector: &mut Collector<'_>) -> Result<(), DatabaseError> {
    let texts = (header.text(header::NAME), header.text(header::VERSION), header.text(header::RELEASE));
    let (Some(name), Some(version), Some(release)) = texts else {
        collector.problem(source, record, Malformed::Package);
        return Ok(());
    };
    let version = match header.integer(header::EPOCH) {
        Some(epoch) if epoch > 0 => format!("{epoch}:{version}-{release}"),
        _ => format!("{version}-{release}"),
    };
    let architecture = header.text(header::ARCH).map(str::to_owned);
    let package = collector.package(DatabasePackage { name: name.to_owned(), version, architecture })?;
    let algorithm = header.integer(header::FILE_DIGEST_ALGORITHM).unwrap_or(header::MD5);
    let Some(files) = header.files(collector.limits.max_files) else {
        collector.problem(source, record, Malformed::Header);
        return Ok(());
    };
    for file in files {
        let Some(path) = collector.path(&[file.directory, file.name].concat(), source, record) else { continue };
        let digest = digest(file.digest, algorithm);
        if path.is_empty() || !file.is_installed() {
            continue;
        }
        if digest.is_none() && file.is_claimed(algorithm) {
            collector.problem(source, record, Malformed::Digest);
        }
        collector.file(path, digest, package)?;
    }
    Ok(())
}

/// Directories and links have an empty digest or one of zeros. Of algorithms that are not computed, none is made up.
fn digest(text: &[u8], algorithm: u32) -> Option<DatabaseDigest> {
    let text = str::from_utf8(text).ok().filter(|text| text.bytes().any(|digit| digit != b'0'))?;
    match algorithm {
        header::MD5 => decode(text).map(DatabaseDigest::Md5),
        header::SHA1 => decode(text).map(DatabaseDigest::Sha1),
        header::SHA256 => decode(text).map(DatabaseDigest::Sha256),
        _ => None,
    }
}
