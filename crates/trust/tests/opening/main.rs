//! Which documents are believed, and what is said of those that are not.
#![cfg(test)]

#[path = "../authority/mod.rs"]
mod authority;
mod keyless;
mod keys;
mod lists;

use std::collections::BTreeMap;

use plimsoll_sbom::Sha256;
use plimsoll_trust::{Candidate, Content, IdentityPattern, Opened, Proof, PublicKey, Root, Signer, Trust, TrustError};

use authority::{Authority, Key};

const SBOM: &[u8] = br#"{"spdxVersion":"SPDX-2.3","name":"app","packages":[],"files":[]}"#;

fn image() -> Sha256 {
    Sha256::of(b"the image that runs")
}

fn other_image() -> Sha256 {
    Sha256::of(b"another image")
}

fn signer(key: &Key) -> Signer {
    Signer { name: "release".to_owned(), proof: Proof::Key(PublicKey::from_pem(&key.public_pem()).unwrap()) }
}

fn trusting(key: &Key) -> Trust {
    Trust::new(vec![signer(key)], None)
}

fn keyless(authority: &Authority, identity: &str) -> Trust {
    trusting_root(&authority.trusted_root(), identity)
}

fn trusting_root(root: &str, identity: &str) -> Trust {
    let identity = IdentityPattern::new(identity).unwrap();
    let proof = Proof::Identity { identity, issuer: authority::ISSUER.to_owned() };
    let root = Root::from_json(root).unwrap();
    Trust::new(vec![Signer { name: "ci".to_owned(), proof }], Some(root))
}

fn open(trust: &Trust, bytes: &[u8]) -> Result<Opened, TrustError> {
    trust.open(Candidate { bytes, annotations: &BTreeMap::new() }, &[image()])
}

fn sbom(opened: &Opened) -> &[u8] {
    match &opened.content {
        Content::Sbom(bytes) => bytes,
        Content::Allowlist(_) => panic!("an allowlist"),
    }
}
