//! A certificate authority and a transparency log of the test's own, and signers with keys: everything that signs.
#![allow(dead_code, unused_imports, clippy::allow_attributes, reason = "each test program uses its own part")]

mod timestamps;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use plimsoll_sbom::Sha256;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType, date_time_ymd,
};
use serde_json::{Value, json};

pub(crate) use timestamps::TimestampAuthority;

pub(crate) const ISSUER: &str = "https://accounts.example";
/// 1 March 2024, noon: within the certificates' validity.
pub(crate) const IN_TIME: i64 = 1_709_294_400;
/// Ten days later: after it.
pub(crate) const TOO_LATE: i64 = IN_TIME + 864_000;

/// A key pair that signs envelopes.
pub(crate) struct Key {
    pair: KeyPair,
}

impl Key {
    pub(crate) fn new() -> Self {
        Self { pair: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap() }
    }

    pub(crate) fn public_pem(&self) -> String {
        self.pair.public_key_pem()
    }

    pub(crate) fn private_pem(&self) -> String {
        self.pair.serialize_pem()
    }

    pub(crate) fn id(&self) -> String {
        Sha256::of(&self.pair.subject_public_key_info()).hex()
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &self.pair.serialize_der()).unwrap();
        pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }

    /// An envelope as `cosign attest --key` writes it, without a key id unless asked for.
    pub(crate) fn envelope(&self, statement: &[u8], keyid: Option<&str>) -> Value {
        let kind = "application/vnd.in-toto+json";
        let message = [format!("DSSEv1 {} {kind} {} ", kind.len(), statement.len()).as_bytes(), statement].concat();
        json!({
            "payloadType": kind,
            "payload": STANDARD.encode(statement),
            "signatures": [{ "keyid": keyid.unwrap_or_default(), "sig": STANDARD.encode(self.sign(&message)) }],
        })
    }
}

/// A statement that `document` is the SBOM of `image`.
pub(crate) fn statement(image: Sha256, document: &[u8]) -> Vec<u8> {
    let document = std::str::from_utf8(document).unwrap();
    format!(
        r#"{{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://spdx.dev/Document","subject":[{{"name":"registry.example/app","digest":{{"sha256":"{}"}}}}],"predicate":{document}}}"#,
        image.hex()
    )
    .into_bytes()
}

/// Issues certificates to identities, and logs what they sign.
pub(crate) struct Authority {
    root: Certificate,
    issuer: Issuer<'static, KeyPair>,
    log: Key,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2040, 1, 1);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let root = params.self_signed(&key).unwrap();
        Self { root, issuer: Issuer::new(params, key), log: Key::new() }
    }

    /// `trusted_root.json`.
    pub(crate) fn trusted_root(&self) -> String {
        self.root_document().to_string()
    }

    /// `trusted_root.json` of somebody who timestamps signatures instead of logging them, or does both.
    pub(crate) fn trusted_root_with(&self, stamps: &TimestampAuthority, logged_too: bool) -> String {
        let mut root = self.root_document();
        root["timestampAuthorities"] = json!([stamps.listed()]);
        if !logged_too {
            root["tlogs"] = json!([]);
        }
        root.to_string()
    }

    fn root_document(&self) -> Value {
        let log = self.log.pair.subject_public_key_info();
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [{
                "baseUrl": "https://log.example",
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": STANDARD.encode(&log),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": { "start": "2020-01-01T00:00:00Z" },
                },
                "logId": { "keyId": STANDARD.encode(Sha256::of(&log).0) },
            }],
            "certificateAuthorities": [{
                "subject": { "organization": "example", "commonName": "example" },
                "uri": "https://ca.example",
                "certChain": { "certificates": [{ "rawBytes": STANDARD.encode(self.root.der()) }] },
                "validFor": { "start": "2020-01-01T00:00:00Z" },
            }],
            "ctlogs": [],
            "timestampAuthorities": [],
        })
    }

    /// A certificate for `identity`, valid from 1 to 3 March 2024.
    fn issue(&self, identity: &str, key: &Key) -> Certificate {
        self.issue_until(identity, key, 2024)
    }

    /// A certificate for `identity`, valid from 1 March 2024 to 3 March of the year `until`.
    fn issue_until(&self, identity: &str, key: &Key, until: i32) -> Certificate {
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(2024, 3, 1);
        params.not_after = date_time_ymd(until, 3, 3);
        params.subject_alt_names = vec![SanType::URI(identity.try_into().unwrap())];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        let issuer = [&[0x0c, u8::try_from(ISSUER.len()).unwrap()], ISSUER.as_bytes()].concat();
        params.custom_extensions = vec![CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 57264, 1, 8], issuer)];
        params.signed_by(&key.pair, &self.issuer).unwrap()
    }

    /// A sigstore bundle by `identity`, logged at `time` (seconds since 1970).
    pub(crate) fn bundle(&self, identity: &str, statement: &[u8], time: i64) -> Value {
        let key = Key::new();
        let certificate = self.issue(identity, &key);
        let envelope = key.envelope(statement, None);
        let entry = entry(&certificate, &envelope, statement);
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": { "rawBytes": STANDARD.encode(certificate.der()) },
                "tlogEntries": [{
                    "logIndex": "0",
                    "logId": { "keyId": STANDARD.encode(self.log_id().0) },
                    "kindVersion": { "kind": "dsse", "version": "0.0.1" },
                    "integratedTime": time.to_string(),
                    "inclusionPromise": { "signedEntryTimestamp": self.promise(&entry, time) },
                    "inclusionProof": self.proof(&entry),
                    "canonicalizedBody": STANDARD.encode(&entry),
                }],
            },
            "dsseEnvelope": envelope,
        })
    }

    /// A sigstore bundle by `identity`, with a timestamp of now and no log entry; the certificate ends in the year `until`.
    pub(crate) fn stamped(&self, stamps: &TimestampAuthority, identity: &str, statement: &[u8], until: i32) -> Value {
        let key = Key::new();
        let certificate = self.issue_until(identity, &key, until);
        let envelope = key.envelope(statement, None);
        let signature = STANDARD.decode(envelope["signatures"][0]["sig"].as_str().unwrap()).unwrap();
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": { "rawBytes": STANDARD.encode(certificate.der()) },
                "tlogEntries": [],
                "timestampVerificationData": { "rfc3161Timestamps": [stamps.stamp(&signature)] },
            },
            "dsseEnvelope": envelope,
        })
    }

    /// An envelope and the annotations that `cosign` keeps beside it under a `.att` tag.
    pub(crate) fn annotated(
        &self,
        identity: &str,
        statement: &[u8],
        time: i64,
    ) -> (Value, [(&'static str, String); 2]) {
        let key = Key::new();
        let certificate = self.issue(identity, &key);
        let envelope = key.envelope(statement, None);
        let entry = entry(&certificate, &envelope, statement);
        let bundle = json!({
            "SignedEntryTimestamp": self.promise(&entry, time),
            "Payload": {
                "body": STANDARD.encode(&entry),
                "integratedTime": time,
                "logIndex": 0,
                "logID": self.log_id().hex(),
            },
        });
        let annotations = [
            ("dev.sigstore.cosign/certificate", certificate.pem()),
            ("dev.sigstore.cosign/bundle", bundle.to_string()),
        ];
        (envelope, annotations)
    }

    fn log_id(&self) -> Sha256 {
        Sha256::of(&self.log.pair.subject_public_key_info())
    }

    /// The log's signature over the entry and its time.
    fn promise(&self, entry: &[u8], time: i64) -> String {
        let signed = format!(
            r#"{{"body":"{}","integratedTime":{time},"logID":"{}","logIndex":0}}"#,
            STANDARD.encode(entry),
            self.log_id().hex()
        );
        STANDARD.encode(self.log.sign(signed.as_bytes()))
    }

    /// Inclusion in a log of one entry.
    fn proof(&self, entry: &[u8]) -> Value {
        let root = Sha256::of(&[&[0], entry].concat());
        let note = format!("log.example\n1\n{}\n", STANDARD.encode(root.0));
        let signature = [&self.log_id().0[..4], &self.log.sign(note.as_bytes())].concat();
        json!({
            "logIndex": "0",
            "rootHash": STANDARD.encode(root.0),
            "treeSize": "1",
            "hashes": [],
            "checkpoint": { "envelope": format!("{note}\n\u{2014} log.example {}\n", STANDARD.encode(signature)) },
        })
    }
}

/// What the log keeps of a signature.
fn entry(certificate: &Certificate, envelope: &Value, statement: &[u8]) -> Vec<u8> {
    json!({
        "apiVersion": "0.0.1",
        "kind": "dsse",
        "spec": {
            "envelopeHash": { "algorithm": "sha256", "value": Sha256::of(envelope.to_string().as_bytes()).hex() },
            "payloadHash": { "algorithm": "sha256", "value": Sha256::of(statement).hex() },
            "signatures": [{
                "signature": envelope["signatures"][0]["sig"],
                "verifier": STANDARD.encode(certificate.pem()),
            }],
        },
    })
    .to_string()
    .into_bytes()
}
