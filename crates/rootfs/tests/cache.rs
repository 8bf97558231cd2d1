//! A layer is hashed once, whatever number of images have it.
#![cfg(test)]

#[path = "support/mod.rs"]
mod support;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use plimsoll_rootfs::{Image, LayerCache, Options, index};
use plimsoll_sbom::Node;
use proptest::prelude::*;

fn program(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn read(layers: &[&Path], cache: Option<&LayerCache>) -> Image {
    let layers: Vec<_> = layers.iter().map(|path| path.to_path_buf()).collect();
    index(&layers, &Options { cache, ..Options::default() }).unwrap()
}

fn same(with: &Image, without: &Image) {
    let nodes = |image: &Image| -> Vec<(Vec<u8>, Node)> {
        image.listing.iter().map(|(path, node)| (path.to_vec(), node.clone())).collect()
    };
    assert_eq!(nodes(with), nodes(without));
}

#[test]
fn a_second_image_costs_only_its_own_layer() {
    let directory = tempfile::tempdir().unwrap();
    let [base, first, second] = ["base", "first", "second"].map(|name| directory.path().join(name));
    program(&base.join("usr/bin/base"), &[b'b'; 5000]);
    program(&base.join("usr/bin/hidden"), &[b'h'; 700]);
    program(&first.join("usr/bin/app"), &[b'1'; 300]);
    program(&first.join("usr/bin/hidden"), &[b'H'; 70]);
    program(&second.join("usr/bin/app"), &[b'2'; 400]);
    let cache = LayerCache::open(&directory.path().join("cache"), 1 << 20).unwrap();
    let hashed = |top: &Path| {
        let image = read(&[top, &base], Some(&cache));
        same(&image, &read(&[top, &base], None));
        image.hashed_bytes
    };
    assert_eq!(hashed(&first), 5370);
    assert_eq!(hashed(&first), 0, "all of it is known");
    assert_eq!(hashed(&second), 400 + 700, "its own layer, and what the first image hid of the shared one");
    assert_eq!(hashed(&second), 0);
}

#[test]
fn what_changed_is_hashed_again() {
    let directory = tempfile::tempdir().unwrap();
    let layer = directory.path().join("layer");
    program(&layer.join("bin/app"), b"old!");
    program(&layer.join("bin/other"), b"other");
    let cache = LayerCache::open(&directory.path().join("cache"), 1 << 20).unwrap();
    read(&[&layer], Some(&cache));
    let before = fs::metadata(layer.join("bin/app")).unwrap().modified().unwrap();
    // Equal size, and the time of change set back as far as anybody can.
    fs::write(layer.join("bin/app"), b"new!").unwrap();
    fs::File::options().write(true).open(layer.join("bin/app")).unwrap().set_modified(before).unwrap();
    let image = read(&[&layer], Some(&cache));
    assert_eq!(image.hashed_bytes, 4);
    same(&image, &read(&[&layer], None));
}

#[test]
fn a_damaged_index_costs_time_and_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let (layer, store) = (directory.path().join("layer"), directory.path().join("cache"));
    program(&layer.join("bin/app"), b"app");
    let cache = LayerCache::open(&store, 1 << 20).unwrap();
    read(&[&layer], Some(&cache));
    let file = fs::read_dir(&store).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let image = read(&[&layer], Some(&cache));
    assert_eq!((image.hashed_bytes, image.problems.len()), (3, 1));
    assert!(image.problems[0].to_string().contains("is damaged"), "{}", image.problems[0]);
    same(&image, &read(&[&layer], None));
    assert_eq!(read(&[&layer], Some(&cache)).hashed_bytes, 0, "it was written anew");
}

#[test]
fn a_file_that_two_layers_share_is_known_in_both() {
    let directory = tempfile::tempdir().unwrap();
    let (upper, lower) = (directory.path().join("upper"), directory.path().join("lower"));
    program(&lower.join("bin/a"), b"shared");
    fs::create_dir_all(upper.join("bin")).unwrap();
    fs::hard_link(lower.join("bin/a"), upper.join("bin/b")).unwrap();
    let image = read(&[&upper, &lower], None);
    for path in ["bin/a", "bin/b"] {
        let Some(Node::File(file)) = image.listing.get(path) else { panic!("{path}") };
        assert!(file.exec.is_some(), "{path} can run");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_tree_survives_the_wire(names in proptest::collection::btree_set("[a-z]{1,6}", 1..12), cut in 0_usize..50) {
        let directory = tempfile::tempdir().unwrap();
        for (index, name) in names.iter().enumerate() {
            let path = directory.path().join(format!("d{}", index % 3)).join(name);
            program(&path, name.as_bytes());
            if index % 4 == 0 {
                std::os::unix::fs::symlink("../x", path.with_extension("link")).unwrap();
            }
        }
        let image = read(&[directory.path()], None);
        let bytes = plimsoll_rootfs::wire::encode(&image.listing);
        let back = plimsoll_rootfs::wire::decode(&bytes).unwrap();
        prop_assert!(back.iter().eq(image.listing.iter()));
        // Cut anywhere, it is refused or is a shorter tree; nothing panics.
        let _shorter = plimsoll_rootfs::wire::decode(&bytes[..bytes.len().saturating_sub(cut)]);
    }
}
