use jiff as _;
use plimsoll_sbom::{EvidenceClass, ExecFact, ExecKind, FileFact, InodeKey, Listing, Node, inventory, parse};
use plimsoll_trust::{Allowlist, AllowlistError, BundledPolicy, PolicyBundle, SigningKey};
use proptest::prelude::*;

use super::*;

/// RFC 8032's first test key, in PKCS #8 as `openssl genpkey` writes it.
const ED25519: &str = "-----BEGIN PRIVATE KEY-----\n\
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
-----END PRIVATE KEY-----\n";

fn file(content: &[u8], ino: u64) -> Node {
    let exec = ExecFact { kind: ExecKind::Elf, sha256: Sha256::of(content), sha1: [0; 20], md5: [0; 16] };
    Node::File(FileFact { size: 4, mode: 0o755, inode: InodeKey { dev: 1, ino }, exec: Some(exec) })
}

fn listing(files: &[(&str, &[u8])]) -> Listing {
    let mut listing = Listing::new();
    for ((path, content), ino) in files.iter().zip(1..) {
        listing.insert(path, file(content, ino)).unwrap();
    }
    listing
}

fn list() -> Allowlist {
    let document = format!(
        r#"{{"spdxVersion":"SPDX-2.3","name":"app","files":[{{"SPDXID":"SPDXRef-1","fileName":"/bin/app","checksums":[{{"algorithm":"SHA256","checksumValue":"{}"}}]}}]}}"#,
        Sha256::of(b"app").hex()
    );
    let sbom = parse(document.as_bytes(), &plimsoll_sbom::Limits::default()).unwrap();
    let listing = listing(&[("bin/app", b"app"), ("bin/tool", b"tool")]);
    Allowlist::of(&inventory(&listing, &sbom, &[]), 3, Some("release".into()))
}

#[test]
fn a_compiled_list_is_signed_and_opened_as_any_attestation() {
    let key = SigningKey::from_pem(ED25519.as_bytes()).unwrap();
    let proof = Proof::Key(key.public().unwrap());
    let trust = Trust::new(vec![Signer { name: "compiler".into(), proof }], None);
    let signed = list().sign(image(), &key).unwrap();
    assert_eq!(signed, list().sign(image(), &key).unwrap(), "the same input, the same bytes");
    let opened = open(&trust, &signed).unwrap();
    let Content::Allowlist(found) = opened.content else { panic!("no allowlist") };
    assert_eq!((*found, opened.signer.as_deref()), (list(), Some("compiler")));
    let other = list().sign(other_image(), &key).unwrap();
    assert_eq!(open(&trust, &other).unwrap_err().name(), "swapped");
}

#[test]
fn a_list_binds_to_content_and_nothing_else() {
    let node = listing(&[("bin/app", b"app"), ("bin/new", b"new"), ("bin/tool", b"changed")]);
    let (inventory, binding) = list().bind(&node);
    let evidence: Vec<_> = inventory.files.iter().map(|file| (file.path.as_str(), file.evidence)).collect();
    let expected = [
        ("/bin/app", Some(EvidenceClass::SbomDigest)),
        ("/bin/new", Some(EvidenceClass::LayerOnly)),
        ("/bin/tool", None),
    ];
    assert_eq!(evidence, expected);
    assert_eq!((binding.bound, binding.unknown, binding.changed, binding.absent), (1, 1, 1, 0));
    assert_eq!(inventory.files[0].inode, InodeKey { dev: 1, ino: 1 });
    assert_eq!((inventory.coverage.files, inventory.coverage.mismatch), (3, 1));
}

#[test]
fn only_the_canonical_encoding_is_read() {
    let text = String::from_utf8(list().encode().unwrap()).unwrap();
    assert_eq!(Allowlist::read(&text).unwrap(), list());
    for changed in [text.replace(":3,", ": 3,"), text.replace("\"version\"", "\"versio\\u006e\"")] {
        assert_ne!(changed, text);
        let error = Allowlist::read(&changed).unwrap_err();
        assert!(matches!(error, AllowlistError::NotCanonical), "{error}");
    }
    let mut unsorted = list();
    unsorted.files.reverse();
    let error = Allowlist::read(std::str::from_utf8(&unsorted.encode().unwrap()).unwrap()).unwrap_err();
    assert!(matches!(error, AllowlistError::Order(_)), "{error}");
}

#[test]
fn policy_bundles_have_a_signer_and_an_end() {
    let key = SigningKey::from_pem(ED25519.as_bytes()).unwrap();
    let signers = [Signer { name: "security".into(), proof: Proof::Key(key.public().unwrap()) }];
    let bundle = PolicyBundle {
        name: "fleet".into(),
        version: 7,
        expires: "2030-01-01T00:00:00Z".parse().unwrap(),
        policies: vec![BundledPolicy { file: "shop.yaml".into(), text: "kind: x".into() }],
    };
    let signed = bundle.sign(&key).unwrap();
    assert_eq!(PolicyBundle::open(&signed, &signers).unwrap(), (bundle.clone(), "security".to_owned()));
    bundle.check_expiry("2029-12-31T23:59:59Z".parse().unwrap()).unwrap();
    let error = bundle.check_expiry("2030-01-01T00:00:00Z".parse().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "it expired at 2030-01-01T00:00:00Z; sign a new one");
    let error = PolicyBundle::open(&signed, &[signer(&Key::new())]).unwrap_err();
    assert!(error.to_string().contains("another key"), "{error}");
    // A signed allowlist is no bundle of policies, whoever signed it.
    let error = PolicyBundle::open(&list().sign(image(), &key).unwrap(), &signers).unwrap_err();
    assert!(error.to_string().contains("application/vnd.in-toto+json"), "{error}");
}

#[test]
fn keys_of_every_usual_spelling_are_read() {
    assert!(SigningKey::from_pem(Key::new().private_pem().as_bytes()).is_ok());
    for wrong in
        ["", "-----BEGIN ENCRYPTED COSIGN PRIVATE KEY-----\nAA==\n-----END ENCRYPTED COSIGN PRIVATE KEY-----\n"]
    {
        assert!(SigningKey::from_pem(wrong.as_bytes()).is_err());
        assert!(PublicKey::from_pem(wrong).is_err());
    }
}

proptest! {
    #[test]
    fn hostile_documents_are_refused_without_a_crash(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let trust = trusting(&Key::new());
        if let Ok(opened) = open(&trust, &bytes) {
            prop_assert_eq!(opened.signer, None);
        }
    }

    #[test]
    fn no_single_changed_byte_of_an_envelope_is_believed(position in 0_usize..400, change in 1_u8..255) {
        let key = SigningKey::from_pem(ED25519.as_bytes()).unwrap();
        let trust = Trust::new(vec![Signer { name: "compiler".into(), proof: Proof::Key(key.public().unwrap()) }], None);
        let mut bytes = list().sign(image(), &key).unwrap();
        let length = bytes.len();
        bytes[position % length] ^= change;
        // What was signed is read, or nothing is: a key id may change, the content may not.
        if let Ok(Opened { signer: Some(_), content: Content::Allowlist(found), .. }) = open(&trust, &bytes) {
            prop_assert_eq!(*found, list());
        }
    }
}
