//! The referrers API. `docker-registry` 2.8 does not have it, so these few answers come from the test; everything else is
//! tested against the real thing.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    thread,
};

use plimsoll_sbom::Sha256;
use serde_json::{Value, json};

use super::{
    image::{INDEX, MANIFEST},
    server::plimsoll,
};
use crate::authority::{Key, statement};

const SBOM: &[u8] = br#"{"spdxVersion":"SPDX-2.3","name":"app","packages":[],"files":[]}"#;

/// Serves `pages` by path, with the next page's path; all else is not there.
fn serve(pages: BTreeMap<String, (Vec<u8>, Option<String>)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let request = lines.next().unwrap().unwrap();
            let _headers = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).count();
            let path = request.split(' ').nth(1).unwrap();
            let (status, body, link) = match pages.get(path) {
                Some((body, Some(next))) => ("200 OK", body.as_slice(), format!("Link: <{next}>; rel=\"next\"\r\n")),
                Some((body, None)) => ("200 OK", body.as_slice(), String::new()),
                None => ("404 Not Found", b"{}".as_slice(), String::new()),
            };
            write!(stream, "HTTP/1.1 {status}\r\n{link}Connection: close\r\nContent-Length: {}\r\n\r\n", body.len())
                .unwrap();
            stream.write_all(body).unwrap();
        }
    });
    address
}

struct Pages(BTreeMap<String, (Vec<u8>, Option<String>)>);

impl Pages {
    fn put(&mut self, kind: &str, bytes: Vec<u8>) -> Sha256 {
        let digest = Sha256::of(&bytes);
        self.0.insert(format!("/v2/app/{kind}/{digest}"), (bytes, None));
        digest
    }

    fn manifest(&mut self, layers: &[Value]) -> Sha256 {
        let config =
            json!({ "mediaType": "application/vnd.oci.empty.v1+json", "digest": Sha256::of(b"{}"), "size": 2 });
        let text = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        self.put("manifests", text.to_string().into_bytes())
    }
}

fn index(manifests: &[Value]) -> Vec<u8> {
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }).to_string().into_bytes()
}

fn referrer(digest: Sha256, kind: &str) -> Value {
    json!({ "mediaType": MANIFEST, "digest": digest, "size": 1, "artifactType": kind })
}

#[test]
fn every_page_of_referrers_is_read_and_what_is_of_no_interest_left() {
    let mut pages = Pages(BTreeMap::new());
    let image = pages.manifest(&[]);
    let key = Key::new();
    let envelope = key.envelope(&statement(image, SBOM), None).to_string().into_bytes();
    let size = envelope.len();
    let blob = pages.put("blobs", envelope);
    let kind = "application/vnd.in-toto+json";
    let attestation = pages.manifest(&[json!({ "mediaType": kind, "digest": blob, "size": size })]);
    let first = format!("/v2/app/referrers/{image}");
    // A signature of another kind, whose manifest is not even there to be fetched.
    let signature = referrer(Sha256::of(b"x"), "application/vnd.dev.cosign.artifact.sig.v1+json");
    pages.0.insert(first.clone(), (index(&[signature]), Some(format!("{first}?page=2"))));
    pages.0.insert(format!("{first}?page=2"), (index(&[referrer(attestation, kind)]), None));
    let address = serve(pages.0);
    let directory = tempfile::tempdir().unwrap();
    let public = directory.path().join("release.pub");
    std::fs::write(&public, key.public_pem()).unwrap();
    let reference = format!("{address}/app@{image}");
    let answer = plimsoll(&["sbom", "verify", &reference, "--key", public.to_str().unwrap(), "--json"]);
    assert_eq!(answer.code, 0, "{}{}", answer.text, answer.errors);
    assert_eq!(answer.json()["documents"][0]["place"], "referrer");
}

#[test]
fn pages_without_end_and_of_other_hosts_are_refused() {
    let mut pages = Pages(BTreeMap::new());
    let image = pages.manifest(&[]);
    let path = format!("/v2/app/referrers/{image}");
    for (next, words) in [(path.clone(), "more than 10 pages"), ("http://192.0.2.1/".into(), "on another host")] {
        pages.0.insert(path.clone(), (index(&[]), Some(next)));
        let answer = plimsoll(&["sbom", "fetch", &format!("{}/app@{image}", serve(pages.0.clone()))]);
        assert_eq!(answer.code, 3);
        assert!(answer.errors.contains(words), "{}", answer.errors);
    }
}

#[test]
fn a_manifest_beyond_the_bound_is_not_read() {
    let mut pages = Pages(BTreeMap::new());
    let image = pages.put("manifests", vec![b' '; 5 << 20]);
    let answer = plimsoll(&["sbom", "fetch", &format!("{}/app@{image}", serve(pages.0))]);
    assert_eq!(answer.code, 3);
    assert!(answer.errors.contains("gave more than 4194304 bytes"), "{}", answer.errors);
}
