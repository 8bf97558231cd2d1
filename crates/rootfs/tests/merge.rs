//! Layers are merged as overlayfs merges them.
#![cfg(test)]

mod support;

use plimsoll_rootfs::RootfsError;
use proptest::prelude::*;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use support::{Layers, lines, script, walk};

#[test]
fn the_top_layer_wins_and_directories_join() {
    let layers = Layers::new(2);
    layers.file(0, "bin/a", b"#!new", 0o755);
    layers.file(1, "bin/a", b"#!old", 0o755);
    layers.file(1, "bin/b", b"#!b", 0o755);
    assert_eq!(
        lines(&layers.index().unwrap().listing),
        ["bin directory".to_owned(), script("bin/a", b"#!new"), script("bin/b", b"#!b")]
    );
}

#[test]
fn whiteouts_hide_and_are_not_seen() {
    let layers = Layers::new(3);
    layers.whiteout(0, "gone");
    layers.whiteout(1, "bin/gone");
    layers.file(2, "gone/x", b"#!", 0o755);
    layers.file(2, "bin/gone", b"#!", 0o755);
    layers.file(2, "bin/stays", b"#!stays", 0o755);
    assert_eq!(lines(&layers.index().unwrap().listing), ["bin directory".to_owned(), script("bin/stays", b"#!stays")]);
}

#[test]
fn opaque_directories_hide_what_lies_below_in_both_attribute_families() {
    for attribute in ["trusted.overlay.opaque", "user.overlay.opaque"] {
        let layers = Layers::new(2);
        layers.file(0, "opt/new", b"#!new", 0o755);
        layers.file(1, "opt/old", b"#!old", 0o755);
        layers.mark(0, "opt", attribute, "y");
        assert_eq!(lines(&layers.index().unwrap().listing), ["opt directory".to_owned(), script("opt/new", b"#!new")]);
    }
}

#[test]
fn whiteouts_by_attribute_count_only_in_directories_that_say_so() {
    let layers = Layers::new(2);
    for directory in ["marked", "plain"] {
        layers.file(0, &format!("{directory}/x"), b"", 0o644);
        layers.mark(0, &format!("{directory}/x"), "trusted.overlay.whiteout", "y");
        layers.file(1, &format!("{directory}/x"), b"#!x", 0o755);
        layers.file(1, &format!("{directory}/y"), b"#!y", 0o755);
    }
    layers.mark(0, "marked", "trusted.overlay.opaque", "x");
    assert_eq!(
        lines(&layers.index().unwrap().listing),
        [
            "marked directory".to_owned(),
            script("marked/y", b"#!y"),
            "plain directory".to_owned(),
            "plain/x data".to_owned(),
            script("plain/y", b"#!y")
        ]
    );
}

#[test]
fn a_file_between_directories_ends_the_joining() {
    let layers = Layers::new(3);
    layers.file(0, "d/top", b"#!top", 0o755);
    layers.file(1, "d", b"#!between", 0o755);
    layers.file(2, "d/bottom", b"#!bottom", 0o755);
    assert_eq!(lines(&layers.index().unwrap().listing), ["d directory".to_owned(), script("d/top", b"#!top")]);
}

#[test]
fn content_that_lies_elsewhere_is_refused_by_name() {
    for (path, attribute) in [
        ("opt", "trusted.overlay.redirect"),
        ("opt", "user.overlay.redirect"),
        ("opt/x", "trusted.overlay.metacopy"),
        ("opt/x", "user.overlay.metacopy"),
    ] {
        let layers = Layers::new(1);
        layers.file(0, "opt/x", b"data", 0o644);
        layers.mark(0, path, attribute, "y");
        let error = layers.index().unwrap_err();
        let shown = error.to_string();
        assert!(matches!(error, RootfsError::OverlayFeature { .. }), "{shown}");
        assert!(shown.contains(attribute) && shown.contains(&layers.at(0, path).display().to_string()), "{shown}");
    }
}

/// Unmounts even if the test fails.
struct Overlay<'a>(&'a Layers);

impl<'a> Overlay<'a> {
    fn mount(layers: &'a Layers) -> Self {
        let merged = layers.root.path().join("merged");
        std::fs::create_dir(&merged).unwrap();
        let lower: Vec<_> = layers.paths.iter().map(|path| path.display().to_string()).collect();
        let options = std::ffi::CString::new(format!("lowerdir={}", lower.join(":"))).unwrap();
        mount("overlay", &merged, "overlay", MountFlags::RDONLY, options.as_c_str())
            .expect("mounting an overlay needs root: run these tests as root");
        Self(layers)
    }

    fn lines(&self) -> Vec<String> {
        walk(&self.0.root.path().join("merged"))
    }
}

impl Drop for Overlay<'_> {
    fn drop(&mut self) {
        unmount(self.0.root.path().join("merged"), UnmountFlags::DETACH).unwrap();
    }
}

#[derive(Clone, Copy, Debug)]
enum Item {
    Script,
    Link,
    Whiteout,
    Directory,
    Opaque,
}

/// Few names and little depth, so that layers meet.
fn item() -> impl Strategy<Value = (usize, String, Item)> {
    const ITEMS: [Item; 5] = [Item::Script, Item::Link, Item::Whiteout, Item::Directory, Item::Opaque];
    (0_usize..3, "[ab](/[ab]){0,2}", prop::sample::select(&ITEMS[..]))
}

fn make(layers: &Layers, number: usize, layer: usize, path: &str, item: Item) {
    let at = layers.at(layer, path);
    let blocked = at
        .ancestors()
        .skip(1)
        .take_while(|above| *above != layers.paths[layer])
        .any(|above| std::fs::symlink_metadata(above).is_ok_and(|metadata| !metadata.is_dir()));
    if blocked || std::fs::symlink_metadata(&at).is_ok() {
        return;
    }
    match item {
        Item::Script => layers.file(layer, path, format!("#!{number}").as_bytes(), 0o755),
        Item::Link => layers.link(layer, path, &format!("to{number}")),
        Item::Whiteout => layers.whiteout(layer, path),
        Item::Directory => layers.directory(layer, path),
        Item::Opaque => {
            layers.directory(layer, path);
            layers.mark(layer, path, "trusted.overlay.opaque", "y");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn the_kernel_merges_alike(items in prop::collection::vec(item(), 1..24)) {
        let layers = Layers::new(3);
        for (number, (layer, path, item)) in items.iter().enumerate() {
            make(&layers, number, *layer, path, *item);
        }
        let mut ours = lines(&layers.index().unwrap().listing);
        ours.sort();
        let kernels = Overlay::mount(&layers).lines();
        prop_assert_eq!(ours, kernels);
    }
}
