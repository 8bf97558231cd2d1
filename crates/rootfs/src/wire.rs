//! A tree as bytes, for a process that may not read it itself. Both ends are one program, so there is no version.

use plimsoll_sbom::{ExecFact, FileFact, InodeKey, Listing, Node, Sha256};

use crate::cache::{kind_number, kind_of};

/// Writes `listing`.
pub fn encode(listing: &Listing) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (path, node) in listing.iter() {
        text(&mut bytes, path);
        match node {
            Node::Directory => bytes.push(0),
            Node::Other => bytes.push(1),
            Node::Symlink { target } => {
                bytes.push(2);
                text(&mut bytes, target);
            }
            Node::File(file) => {
                bytes.push(3);
                bytes.extend(file.size.to_le_bytes());
                bytes.extend(file.mode.to_le_bytes());
                bytes.extend(file.inode.dev.to_le_bytes());
                bytes.extend(file.inode.ino.to_le_bytes());
                bytes.push(file.exec.as_ref().map_or(0, |exec| kind_number(exec.kind)));
                if let Some(exec) = &file.exec {
                    bytes.extend(exec.sha256.0);
                    bytes.extend(exec.sha1);
                    bytes.extend(exec.md5);
                }
            }
        }
    }
    bytes
}

/// Reads what [`encode`] wrote; nothing if it did not write this.
pub fn decode(bytes: &[u8]) -> Option<Listing> {
    let mut reader = Reader(bytes);
    let mut listing = Listing::new();
    while !reader.0.is_empty() {
        let path = reader.text()?;
        let [kind] = reader.take()?;
        let node = match kind {
            0 => Node::Directory,
            1 => Node::Other,
            2 => Node::Symlink { target: reader.text()?.to_vec() },
            3 => Node::File(reader.file()?),
            _ => return None,
        };
        match listing.insert(path, node) {
            Ok(()) => {}
            Err(_not_a_tree) => return None,
        }
    }
    Some(listing)
}

fn text(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text);
}

struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    fn text(&mut self) -> Option<&'b [u8]> {
        let length = usize::try_from(u64::from_le_bytes(self.take()?)).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }

    fn file(&mut self) -> Option<FileFact> {
        let size = u64::from_le_bytes(self.take()?);
        let mode = u32::from_le_bytes(self.take()?);
        let dev = u32::from_le_bytes(self.take()?);
        let ino = u64::from_le_bytes(self.take()?);
        let [kind] = self.take()?;
        let exec = match kind {
            0 => None,
            kind => Some(ExecFact {
                kind: kind_of(kind)?,
                sha256: Sha256(self.take()?),
                sha1: self.take()?,
                md5: self.take()?,
            }),
        };
        Some(FileFact { size, mode, inode: InodeKey { dev, ino }, exec })
    }
}
