//! Events in one SQLite file. One thread writes; every query opens its own connection, which cannot.
//!
//! The file is in WAL mode with `synchronous=FULL`: a transaction that returned is on the disk, power cut included.

mod buckets;
mod chain;
mod checkpoint;
mod export;
mod filter;
mod findings;
mod gaps;
mod insert;
mod migrations;
mod nodes;
mod outputs;
mod query;
mod retention;
mod silence;
mod writer;

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, OpenFlags};

use self::migrations::VERSION;
pub(crate) use self::{
    buckets::{Bucket, Group, Width, buckets},
    export::{Certified, Numbering, Row, certificates, checkpoints, gaps, losses, numberings, oldest, page},
    filter::{Filter, MAX_SECONDS, TEXT},
    findings::{Kind as FindingKind, findings},
    nodes::{Node, nodes},
    outputs::{Dead, Progress, Reading, Standing, Stored, dead_letters, newest, read, standing},
    query::{Cursor, events},
    writer::{Done, Health, Job, Writer},
};

const BUSY: Duration = Duration::from_secs(5);

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot use `{path}`")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the database `{path}` is in use by another collector; stop it, or give this one another `database`")]
    InUse { path: PathBuf },
    #[error("cannot use the database `{path}`")]
    Open {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    #[error(
        "the database `{path}` has schema version {found}, this collector knows {VERSION}; run the collector that \
         wrote it, or name another `database`"
    )]
    Version { path: PathBuf, found: u32 },
}

/// A database that is ready to be written, and the lock that keeps other collectors out.
#[derive(Debug)]
pub(crate) struct Opened {
    connection: Connection,
    _lock: File,
}

/// Opens, or makes, the database. Only its owner may read a new one: events tell what runs where.
pub(crate) fn open(path: &Path) -> Result<Opened, StoreError> {
    let io_failed = |path: &Path| {
        let path = path.to_owned();
        move |source| StoreError::Io { path, source }
    };
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o750).create(directory).map_err(io_failed(directory))?;
    }
    let private = || {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true).mode(0o600);
        options
    };
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock_path = PathBuf::from(lock_path);
    let lock = private().open(&lock_path).map_err(io_failed(&lock_path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(StoreError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => return Err(io_failed(&lock_path)(source)),
    }
    private().open(path).map_err(io_failed(path))?;
    let failed = |source| StoreError::Open { path: path.to_owned(), source };
    let mut connection = Connection::open(path).map_err(failed)?;
    match prepare(&mut connection).map_err(failed)? {
        VERSION => Ok(Opened { connection, _lock: lock }),
        found => Err(StoreError::Version { path: path.to_owned(), found }),
    }
}

/// The schema's version, after making or migrating the schema.
fn prepare(connection: &mut Connection) -> rusqlite::Result<u32> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cache_size", -32_768)?;
    migrations::migrate(connection)
}

/// A connection that only reads.
pub(crate) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// Nanoseconds since 1970, within what SQLite's integers hold.
fn now_unix_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
