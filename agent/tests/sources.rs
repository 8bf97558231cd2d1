//! Which SBOM is used for an image, whose signature it needs, and what it is worth without one.
#![cfg(test)]

#[path = "../../crates/trust/tests/authority/mod.rs"]
mod authority;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use plimsoll_agent::workload::{
    image::Images,
    mounts::Overlay,
    parser::{Limits, Parser},
    sources::{Places, Source, Sources},
};
use plimsoll_policy::{SbomTrust, SignedBy, Unsigned};
use plimsoll_registry::Client;
use plimsoll_rootfs::{LayerCache, Options, index};
use plimsoll_sbom::{EvidenceClass, Sha256, inventory, parse};
use plimsoll_trust::{Allowlist, SigningKey};
use tempfile::TempDir;

use authority::{Authority, Key, statement};

/// A node with one image on it.
struct Node {
    directory: TempDir,
    key: Key,
    overlay: Overlay,
    image: Sha256,
}

impl Node {
    fn new() -> Self {
        // Not in memory: user space must be able to tell the layer's inodes apart.
        let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let layer = directory.path().join("layer");
        for name in ["sboms", "keys", "layer/usr/bin", "layer/var/lib/db/sbom"] {
            fs::create_dir_all(directory.path().join(name)).unwrap();
        }
        let program = layer.join("usr/bin/app");
        fs::write(&program, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let key = Key::new();
        fs::write(directory.path().join("keys/release.pub"), key.public_pem()).unwrap();
        let overlay = Overlay { dev: 0, layers: vec![layer], upper: None };
        Self { directory, key, overlay, image: Sha256::of(b"the image's manifest") }
    }

    fn images(&self, order: &[Source]) -> Images {
        let path = |name: &str| self.directory.path().join(name);
        let places = Places {
            order: order.to_vec(),
            directory: path("sboms"),
            keys: path("keys"),
            root: Some(path("root.json")).filter(|path| path.exists()),
            memory: path("versions.json"),
        };
        let registry =
            plimsoll_registry::Config { offline: true, cache: Some(path("documents")), ..Default::default() };
        let sources = Sources::new(places, Some(Client::new(registry).unwrap()));
        let parser =
            Parser::new(env!("CARGO_BIN_EXE_plimsoll-agent").into(), Limits { memory: 512 << 20, seconds: 60 });
        Images::new(sources, parser, LayerCache::open(&path("layers"), 1 << 20).unwrap(), "/".into())
    }

    /// The evidence of the image's only program, or why there is none.
    fn evidence(&self, order: &[Source], trust: &SbomTrust) -> Result<Option<EvidenceClass>, String> {
        let digest = self.image.to_string();
        let loaded = self.images(order).load(Some(&digest), Some("registry.invalid/app:1"), &self.overlay, trust);
        let image = loaded.map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
        assert_eq!(image.inventory.coverage.files, 1);
        Ok(image.inventory.files[0].evidence)
    }

    fn in_directory(&self, trust: &SbomTrust) -> Result<Option<EvidenceClass>, String> {
        self.evidence(&[Source::Directory], trust)
    }

    fn put(&self, ending: &str, bytes: impl AsRef<[u8]>) {
        let name = format!("sboms/sha256-{}.{ending}", self.image.hex());
        fs::write(self.directory.path().join(name), bytes).unwrap();
    }

    fn sbom(&self) -> Vec<u8> {
        let program = fs::read(self.overlay.layers[0].join("usr/bin/app")).unwrap();
        format!(
            r#"{{"spdxVersion":"SPDX-2.3","files":[{{"SPDXID":"SPDXRef-1","fileName":"usr/bin/app","checksums":[{{"algorithm":"SHA256","checksumValue":"{}"}}]}}]}}"#,
            Sha256::of(&program).hex()
        )
        .into_bytes()
    }

    fn allowlist(&self, key: &SigningKey, version: u64) -> Vec<u8> {
        let image = index(&self.overlay.layers, &Options::default()).unwrap();
        let sbom = parse(&self.sbom(), &plimsoll_sbom::Limits::default()).unwrap();
        let inventory = inventory(&image.listing, &sbom, &image.databases);
        Allowlist::of(&inventory, version, None).sign(self.image, key).unwrap()
    }
}

fn signed_by(name: &str, unsigned: Unsigned) -> SbomTrust {
    SbomTrust { signed_by: vec![SignedBy::Key(name.to_owned())], unsigned }
}

fn signed() -> SbomTrust {
    signed_by("release", Unsigned::Refuse)
}

#[test]
fn an_unsigned_sbom_is_worth_what_the_policy_says() {
    let node = Node::new();
    node.put("json", node.sbom());
    assert_eq!(node.in_directory(&SbomTrust::default()).unwrap(), Some(EvidenceClass::SbomDigest));
    for class in EvidenceClass::ALL {
        let trust = signed_by("release", Unsigned::AtMost(class));
        assert_eq!(node.in_directory(&trust).unwrap(), Some(class));
    }
    let error = node.in_directory(&signed()).unwrap_err();
    assert!(error.contains("not signed; accepted is `release`"), "{error}");
}

#[test]
fn a_signature_must_hold_and_be_about_this_image() {
    let node = Node::new();
    let envelope = |key: &Key, image| key.envelope(&statement(image, &node.sbom()), Some(&key.id())).to_string();
    node.put("json", envelope(&node.key, node.image));
    assert_eq!(node.in_directory(&signed()).unwrap(), Some(EvidenceClass::SbomDigest));
    let capped = signed_by("release", Unsigned::AtMost(EvidenceClass::LayerOnly));
    assert_eq!(node.in_directory(&capped).unwrap(), Some(EvidenceClass::SbomDigest), "the cap is for unsigned ones");
    let error = node.in_directory(&signed_by("other", Unsigned::Refuse)).unwrap_err();
    assert!(error.contains("keys/other.pub"), "{error}");
    node.put("json", envelope(&Key::new(), node.image));
    for trust in [signed(), capped] {
        let error = node.in_directory(&trust).unwrap_err();
        assert!(error.contains("signed with another key"), "a wrong signature is not an absent one: {error}");
    }
    node.put("json", envelope(&node.key, Sha256::of(b"another")));
    for trust in [signed(), SbomTrust::default()] {
        let error = node.in_directory(&trust).unwrap_err();
        assert!(error.contains("swapped"), "{error}");
    }
}

#[test]
fn identities_need_a_trust_root() {
    let (node, authority) = (Node::new(), Authority::new());
    let identity = "https://forge.example/app";
    let bundle = authority.bundle(identity, &statement(node.image, &node.sbom()), authority::IN_TIME);
    node.put("json", bundle.to_string());
    let signer = SignedBy::Identity { identity: identity.into(), issuer: authority::ISSUER.into() };
    let trust = SbomTrust { signed_by: vec![signer], unsigned: Unsigned::Refuse };
    let error = node.in_directory(&trust).unwrap_err();
    assert!(error.contains("no `trust.root` is configured"), "{error}");
    fs::write(node.directory.path().join("root.json"), authority.trusted_root()).unwrap();
    assert_eq!(node.in_directory(&trust).unwrap(), Some(EvidenceClass::SbomDigest));
    let late = authority.bundle(identity, &statement(node.image, &node.sbom()), authority::TOO_LATE);
    node.put("json", late.to_string());
    let error = node.in_directory(&trust).unwrap_err();
    assert!(error.contains("certificate had expired"), "{error}");
}

#[test]
fn a_compiled_allowlist_needs_no_sbom_a_signature_and_a_version_that_never_falls() {
    let node = Node::new();
    let key = SigningKey::from_pem(node.key.private_pem().as_bytes()).unwrap();
    let put = |version| node.put("allowlist.json", node.allowlist(&key, version));
    put(2);
    assert_eq!(node.in_directory(&signed()).unwrap(), Some(EvidenceClass::SbomDigest));
    let error = node.in_directory(&SbomTrust::default()).unwrap_err();
    assert!(error.contains("counts only if a signer"), "{error}");
    put(1);
    let error = node.in_directory(&signed()).unwrap_err();
    assert!(error.contains("rolled back: version 1 of the allowlist of"), "{error}");
    put(3);
    assert_eq!(node.in_directory(&signed()).unwrap(), Some(EvidenceClass::SbomDigest));
    // What the node has is hashed here: other content than the list's is never allowed by it.
    fs::write(node.overlay.layers[0].join("usr/bin/app"), "#!/bin/sh\nexit\n").unwrap();
    assert_eq!(node.in_directory(&signed()).unwrap(), None);
}

#[test]
fn sboms_inside_the_image_count_as_unsigned() {
    let node = Node::new();
    let order = [Source::Directory, Source::Image];
    let error = node.evidence(&order, &SbomTrust::default()).unwrap_err();
    assert!(error.contains("does not exist; the image has none in /var/lib/db/sbom"), "{error}");
    fs::write(node.overlay.layers[0].join("var/lib/db/sbom/app.spdx.json"), node.sbom()).unwrap();
    let found = node.evidence(&order, &SbomTrust::default()).unwrap();
    assert_eq!(found, Some(EvidenceClass::SbomDigest));
    let error = node.evidence(&order, &signed()).unwrap_err();
    assert!(error.contains("inside the image, /var/lib/db/sbom/app.spdx.json"), "{error}");
}

#[test]
fn the_first_place_that_has_anything_decides() {
    let node = Node::new();
    fs::write(node.overlay.layers[0].join("var/lib/db/sbom/app.spdx.json"), node.sbom()).unwrap();
    node.put("json", b"{}");
    let error = node.evidence(&[Source::Directory, Source::Image], &SbomTrust::default()).unwrap_err();
    assert!(error.contains("no SBOM that can be read"), "a spoilt place is no reason to look further: {error}");
    assert!(node.evidence(&[Source::Image, Source::Directory], &SbomTrust::default()).is_ok());
    let error = node.evidence(&[Source::Registry], &SbomTrust::default()).unwrap_err();
    assert!(error.contains("offline, and nothing is kept"), "{error}");
}

#[test]
fn links_in_the_image_lead_nowhere_else() {
    let node = Node::new();
    let outside = node.directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("app.json"), node.sbom()).unwrap();
    let sbom: &Path = &node.overlay.layers[0].join("var/lib/db/sbom");
    fs::remove_dir(sbom).unwrap();
    std::os::unix::fs::symlink(&outside, sbom).unwrap();
    let error = node.evidence(&[Source::Image], &SbomTrust::default()).unwrap_err();
    assert!(error.contains("the image has none"), "{error}");
}
