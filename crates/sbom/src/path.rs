//! Paths inside an image. Documents write one file as `usr/bin/x`, `/usr/bin/x` or `./usr/bin/x`; here it is
//! `usr/bin/x`, as bytes, because file names need not be UTF-8. People are shown `/usr/bin/x`.

/// Longest path taken in, bytes; `PATH_MAX` of Linux.
const MAX_PATH: usize = 4096;

/// Why a path cannot name a file of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// It could leave the directory it is meant to be in.
    #[error("path has a `..` component")]
    Parent,
    /// No file name has one.
    #[error("path has a NUL byte")]
    Nul,
    /// Longer than the kernel takes.
    #[error("path is longer than 4096 bytes")]
    TooLong,
}

/// Brings the three spellings to one: no leading `/` or `./`, no empty or `.` components. The root is empty.
pub(crate) fn normalise(path: &[u8]) -> Result<Vec<u8>, InvalidPath> {
    if path.len() > MAX_PATH {
        return Err(InvalidPath::TooLong);
    }
    if path.contains(&0) {
        return Err(InvalidPath::Nul);
    }
    let mut normal = Vec::with_capacity(path.len());
    for component in components(path) {
        if component == b".." {
            return Err(InvalidPath::Parent);
        }
        if !normal.is_empty() {
            normal.push(b'/');
        }
        normal.extend_from_slice(component);
    }
    Ok(normal)
}

/// The components that count, `..` included.
pub(crate) fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|component| !component.is_empty() && *component != b".")
}

/// `path` as people and policies write it: absolute, with backslashes, control characters and bytes that are not UTF-8
/// as `\xNN`. No two paths look alike, and none can move a terminal's cursor.
pub fn display_path(path: &[u8]) -> String {
    let mut shown = String::with_capacity(path.len() + 1);
    if path.first() != Some(&b'/') {
        shown.push('/');
    }
    for chunk in path.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '\\' || character.is_control() {
                let mut buffer = [0; 4];
                escape(&mut shown, character.encode_utf8(&mut buffer).as_bytes());
            } else {
                shown.push(character);
            }
        }
        escape(&mut shown, chunk.invalid());
    }
    shown
}

fn escape(shown: &mut String, bytes: &[u8]) {
    for byte in bytes {
        shown.push_str("\\x");
        shown.push_str(&hex::encode([*byte]));
    }
}

/// Whether a file of this name would normally be code: reported when it is listed but absent.
pub(crate) fn looks_executable(path: &[u8]) -> bool {
    let mut reversed = components(path).rev();
    let Some(name) = reversed.next() else { return false };
    let parent = reversed.next().unwrap_or_default();
    let shared_object = name.ends_with(b".so") || name.windows(4).any(|window| window == b".so.");
    matches!(parent, b"bin" | b"sbin" | b"libexec") || shared_object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_spellings_are_one_path() {
        for spelling in ["usr/bin/x", "/usr/bin/x", "./usr/bin/x", "//usr/./bin//x/"] {
            assert_eq!(normalise(spelling.as_bytes()).unwrap(), b"usr/bin/x", "{spelling}");
        }
        assert_eq!(normalise(b"/").unwrap(), b"");
    }

    #[test]
    fn paths_that_name_no_file_of_the_image_are_refused() {
        assert_eq!(normalise(b"usr/../../etc/shadow"), Err(InvalidPath::Parent));
        assert_eq!(normalise(b"usr/bin/\0"), Err(InvalidPath::Nul));
        assert_eq!(normalise(&[b'a'; 4097]), Err(InvalidPath::TooLong));
        assert!(normalise(b"usr/..bin/x..").is_ok());
    }

    #[test]
    fn shown_paths_are_unambiguous() {
        assert_eq!(display_path(b"usr/bin/\xff"), "/usr/bin/\\xff");
        assert_eq!(display_path(b"usr/bin/\\xff"), "/usr/bin/\\x5cxff");
        assert_eq!(display_path("bin/\u{1b}[2J\u{e9}".as_bytes()), "/bin/\\x1b[2J\u{e9}");
        assert_eq!(display_path(b""), "/");
    }

    #[test]
    fn code_is_recognised_by_where_it_lies() {
        for path in ["usr/bin/ls", "bin/x", "usr/libexec/y", "usr/lib/libc.so.6", "opt/z.so"] {
            assert!(looks_executable(path.as_bytes()), "{path}");
        }
        for path in ["", "usr/share/doc/x", "usr/bin", "etc/x.source"] {
            assert!(!looks_executable(path.as_bytes()), "{path}");
        }
    }
}
