//! apk's `installed`: a text file of one-letter fields, packages apart by empty lines.
//!
//! `Z:` after a file is its digest. apk 3 sets the package flag `f:S` and then writes the first 20 bytes of a SHA-256
//! in the very form apk 2 gives a SHA-1. A symbolic link has a `Z:` too, of its target's text; nobody is misled,
//! because an entry that is a link in the tree is never compared with a file.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    Collector, DatabaseDigest, DatabaseError, DatabaseKind, DatabasePackage, Malformed, PackageDatabase, lines, utf8,
};
use crate::{digest::decode, limits::Limits};

/// Name in messages.
const SOURCE: &str = "installed";

/// Reads the content of `installed`.
pub fn parse_apk(installed: &[u8], limits: &Limits) -> Result<PackageDatabase, DatabaseError> {
    let mut collector = Collector::new(DatabaseKind::Apk, limits);
    let mut block = Block::default();
    for (number, line) in lines(installed) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            std::mem::take(&mut block).finish(&mut collector)?;
        } else if let [field, b':', value @ ..] = line {
            block.field(*field, value, number, &mut collector)?;
        } else {
            collector.problem(SOURCE, number, Malformed::Line);
        }
    }
    block.finish(&mut collector)?;
    Ok(collector.database)
}

/// One package while its lines come in. Digests are decoded last, since the flag may follow them.
#[derive(Default)]
struct Block {
    first_line: Option<usize>,
    name: Option<String>,
    version: Option<String>,
    architecture: Option<String>,
    sha256: bool,
    directory: Vec<u8>,
    files: Vec<Entry>,
}

struct Entry {
    path: Vec<u8>,
    digest: Option<(usize, Vec<u8>)>,
}

impl Block {
    fn field(
        &mut self,
        field: u8,
        value: &[u8],
        line: usize,
        collector: &mut Collector<'_>,
    ) -> Result<(), DatabaseError> {
        self.first_line.get_or_insert(line);
        match field {
            b'P' => self.name = Some(utf8(value, SOURCE, line)?.to_owned()),
            b'V' => self.version = Some(utf8(value, SOURCE, line)?.to_owned()),
            b'A' => self.architecture = Some(utf8(value, SOURCE, line)?.to_owned()),
            b'f' => self.sha256 |= value.contains(&b'S'),
            b'F' => self.directory = value.to_vec(),
            b'R' => {
                let full = [self.directory.as_slice(), b"/", value].concat();
                let path = collector.path(&full, SOURCE, line);
                collector.hold_line()?;
                // An entry left out still takes the `Z:` that follows, so that it cannot reach the file before.
                self.files.push(Entry { path: path.unwrap_or_default(), digest: None });
            }
            b'Z' => match self.files.last_mut() {
                Some(entry) => entry.digest = Some((line, value.to_vec())),
                None => collector.problem(SOURCE, line, Malformed::Line),
            },
            _ => {}
        }
        Ok(())
    }

    fn finish(self, collector: &mut Collector<'_>) -> Result<(), DatabaseError> {
        let Some(first_line) = self.first_line else { return Ok(()) };
        let (Some(name), Some(version)) = (self.name, self.version) else {
            collector.problem(SOURCE, first_line, Malformed::Package);
            return Ok(());
        };
        let package = collector.package(DatabasePackage { name, version, architecture: self.architecture })?;
        for entry in self.files.into_iter().filter(|entry| !entry.path.is_empty()) {
            let digest = entry.digest.and_then(|(line, text)| {
                let digest = digest(&text, self.sha256);
                if digest.is_none() {
                    collector.problem(SOURCE, line, Malformed::Digest);
                }
                digest
            });
            collector.file(entry.path, digest, package)?;
        }
        Ok(())
    }
}

/// `Q1` and base64 of 20 bytes; in very old databases an MD5 in hex.
fn digest(text: &[u8], sha256: bool) -> Option<DatabaseDigest> {
    let Some(encoded) = text.strip_prefix(b"Q1") else {
        return decode(str::from_utf8(text).ok()?).map(DatabaseDigest::Md5);
    };
    let bytes = STANDARD.decode(encoded).ok()?.try_into().ok()?;
    Some(if sha256 { DatabaseDigest::Sha256Prefix(bytes) } else { DatabaseDigest::Sha1(bytes) })
}
