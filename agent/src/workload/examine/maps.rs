//! Lines of `/proc/PID/maps`.
//!
//! `7f00-7f80 r-xp 00001000 08:01 1234    /usr/lib/x.so`; a name's line breaks are written `\012`, and nothing else is escaped.

use plimsoll_sbom::InodeKey;

/// A mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mapping<'t> {
    pub(super) executable: bool,
    pub(super) writable: bool,
    /// What is written stays the process's own.
    pub(super) private: bool,
    pub(super) what: Mapped<'t>,
}

/// What is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mapped<'t> {
    /// Code that the kernel gives to every process.
    Kernel,
    /// No file: heap, stack, and what the process made.
    Memory,
    File {
        inode: InodeKey,
        /// Seen from the root of the container's mounts.
        path: &'t [u8],
        /// It has no name any more.
        deleted: bool,
    },
}

impl<'t> Mapping<'t> {
    /// Number and path of the file; zero and empty if there is none.
    pub(super) fn file(&self) -> (InodeKey, &'t [u8]) {
        match self.what {
            Mapped::File { inode, path, .. } => (inode, path),
            Mapped::Kernel | Mapped::Memory => (InodeKey { dev: 0, ino: 0 }, b""),
        }
    }
}

/// Every line; `None` for one that no kernel writes.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = Option<Mapping<'_>>> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(parse)
}

/// A file's path without the mark of one that was removed.
pub(super) fn without_mark(path: &[u8]) -> (&[u8], bool) {
    match path.strip_suffix(b" (deleted)") {
        Some(path) => (path, true),
        None => (path, false),
    }
}

fn parse(line: &[u8]) -> Option<Mapping<'_>> {
    let mut fields = line.splitn(6, |byte| *byte == b' ');
    let (_range, permissions, _offset) = (fields.next()?, fields.next()?, fields.next()?);
    let (major, minor) = std::str::from_utf8(fields.next()?).ok()?.split_once(':')?;
    let dev = u32::from_str_radix(major, 16).ok()?.checked_mul(1 << 20)? | u32::from_str_radix(minor, 16).ok()?;
    let ino = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let name = fields.next().unwrap_or_default().trim_ascii_start();
    let [_read, write, execute, shared] = *permissions else { return None };
    let what = match name {
        b"[vdso]" | b"[vsyscall]" | b"[uprobes]" | b"[vvar]" => Mapped::Kernel,
        // A name in brackets is the kernel's: a path begins with a slash.
        name if !name.starts_with(b"/") => Mapped::Memory,
        name => {
            let (path, deleted) = without_mark(name);
            Mapped::File { inode: InodeKey { dev, ino }, path, deleted }
        }
    };
    Some(Mapping { executable: execute == b'x', writable: write == b'w', private: shared == b'p', what })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Option<Mapping<'_>> {
        lines(line.as_bytes()).next().unwrap()
    }

    #[test]
    fn a_mapping_of_a_file_has_its_inode_and_path() {
        let mapping =
            one("7f1c2000-7f1c4000 r-xp 00001000 fd:01 1234                       /usr/lib/a b.so\n").unwrap();
        assert!(mapping.executable && mapping.private && !mapping.writable);
        let inode = InodeKey { dev: (0xfd << 20) | 1, ino: 1234 };
        assert_eq!(mapping.what, Mapped::File { inode, path: b"/usr/lib/a b.so", deleted: false });
        let removed = one("1-2 rwxs 0 00:01 9  /memfd:x (deleted)").unwrap();
        let inode = InodeKey { dev: 1, ino: 9 };
        assert_eq!(removed.what, Mapped::File { inode, path: b"/memfd:x", deleted: true });
        assert!(removed.executable && removed.writable && !removed.private);
    }

    #[test]
    fn memory_and_the_kernels_own_have_no_file() {
        for name in ["", " ", "   [heap]", "   [stack]", "   [anon:jit]"] {
            assert_eq!(one(&format!("1-2 rwxp 00000000 00:00 0{name}")).unwrap().what, Mapped::Memory, "{name}");
        }
        assert_eq!(one("1-2 r-xp 0 00:00 0  [vdso]").unwrap().what, Mapped::Kernel);
    }

    #[test]
    fn lines_that_no_kernel_writes_are_told_apart() {
        for line in ["x", "1-2 r-x 0 00:00 0", "1-2 r-xp 0 zz:00 0", "1-2 r-xp 0 00:00 -1", "1-2 r-xp 0 ffffffff:0 1"] {
            assert_eq!(one(line), None, "{line}");
        }
    }
}
