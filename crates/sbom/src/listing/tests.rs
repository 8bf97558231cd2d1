use super::*;

fn link(target: &str) -> Node {
    Node::Symlink { target: target.into() }
}

fn file() -> Node {
    Node::File(FileFact { size: 1, mode: 0o644, inode: InodeKey { dev: 1, ino: 1 }, exec: None })
}

fn usrmerged() -> Listing {
    let mut listing = Listing::new();
    listing.insert("/usr/bin/ls", file()).unwrap();
    listing.insert("bin", link("usr/bin")).unwrap();
    listing.insert("./sbin", link("/usr/bin")).unwrap();
    listing.insert("usr/bin/dir", link("ls")).unwrap();
    listing.insert("escape", link("../../../usr/bin")).unwrap();
    listing.insert("loop", link("loop")).unwrap();
    listing.insert("a", link("b")).unwrap();
    listing.insert("b", link("a/x")).unwrap();
    listing
}

#[test]
fn links_are_resolved_inside_the_tree() {
    let listing = usrmerged();
    for (path, expected) in [
        ("bin/ls", Some("usr/bin/ls")),
        ("/sbin/dir", Some("usr/bin/ls")),
        ("escape/ls", Some("usr/bin/ls")),
        ("../../bin/../bin/./ls", Some("usr/bin/ls")),
        ("loop", None),
        ("a", None),
        ("bin/missing", None),
        ("bin/ls/below", None),
        ("/", Some("")),
    ] {
        assert_eq!(listing.resolve(path).as_deref(), expected.map(str::as_bytes), "{path}");
    }
}

#[test]
fn locating_an_entry_does_not_follow_it() {
    let listing = usrmerged();
    assert_eq!(listing.locate("bin/dir").unwrap(), b"usr/bin/dir");
    assert_eq!(listing.locate("loop").unwrap(), b"loop");
    assert_eq!(listing.locate("loop/x"), None);
}

#[test]
fn a_chain_of_links_is_followed_as_far_as_the_kernel_does() {
    let mut listing = Listing::new();
    listing.insert("0", file()).unwrap();
    for step in 1..=41 {
        listing.insert(step.to_string(), link(&(step - 1).to_string())).unwrap();
    }
    assert_eq!(listing.resolve("40").unwrap(), b"0");
    assert_eq!(listing.resolve("41"), None);
}

#[test]
fn names_that_are_not_utf8_are_kept() {
    let mut listing = Listing::new();
    listing.insert(b"bin/\xff", file()).unwrap();
    assert_eq!(listing.names(b"bin").map(|(name, _)| name).collect::<Vec<_>>(), [b"\xff"]);
}

#[test]
fn names_are_those_of_one_directory() {
    let mut listing = Listing::new();
    for path in ["d/a", "d/b/c", "d-x", "d0", "e"] {
        listing.insert(path, file()).unwrap();
    }
    let names: Vec<_> = listing.names(b"d").map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(listing.names(b"").count(), 4);
}

#[test]
fn the_tree_stays_a_tree() {
    let mut listing = usrmerged();
    assert!(matches!(listing.insert("usr/bin/ls", file()), Err(ListingError::Duplicate { .. })));
    assert!(matches!(listing.insert("", file()), Err(ListingError::Duplicate { .. })));
    assert!(matches!(listing.insert("bin/x", file()), Err(ListingError::NotADirectory { .. })));
    assert!(matches!(listing.insert("x/../y", file()), Err(ListingError::Path { .. })));
    assert_eq!(listing.insert("usr/bin", Node::Directory), Ok(()));
}

#[test]
fn exec_capability_is_decided_by_content_first() {
    assert_eq!(ExecKind::of(b"\x7fELF", 0o644), Some(ExecKind::Elf));
    assert_eq!(ExecKind::of(b"#!", 0o600), Some(ExecKind::Script));
    assert_eq!(ExecKind::of(b"x", 0o001), Some(ExecKind::Other));
    assert_eq!(ExecKind::of(b"\x7fEL", 0o644), None);
    assert_eq!(ExecKind::of(b"", 0o755), None);
}
