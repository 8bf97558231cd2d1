//! A document in an envelope: the input is the payload, bundled and bare, and the same must come of it.
#![no_main]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use libfuzzer_sys::fuzz_target;
use plimsoll_sbom::{Limits, Sbom, parse};

fuzz_target!(|bytes: &[u8]| {
    let payload = STANDARD.encode(bytes);
    let dsse = format!(r#"{{"payloadType": "application/vnd.in-toto+json", "payload": "{payload}", "signatures": []}}"#);
    let bundle = format!(r#"{{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "dsseEnvelope": {dsse}}}"#);
    let limits = Limits::default();
    let (plain, wrapped, bundled) =
        (parse(bytes, &limits), parse(dsse.as_bytes(), &limits), parse(bundle.as_bytes(), &limits));
    match (wrapped, bundled) {
        (Ok(wrapped), Ok(bundled)) => {
            let plain = plain.expect("what is good in an envelope is good without");
            assert_eq!(plain, Sbom { digest: plain.digest, wrappings: plain.wrappings.clone(), ..wrapped });
            assert_eq!(plain, Sbom { digest: plain.digest, wrappings: plain.wrappings.clone(), ..bundled });
        }
        (Err(_), Err(_)) => {}
        (wrapped, bundled) => panic!("{wrapped:?} but {bundled:?}"),
    }
});
