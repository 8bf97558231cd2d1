use super::*;
use crate::authority::{IN_TIME, TOO_LATE, TimestampAuthority, statement};

const CI: &str = "https://forge.example/team/app/release.yml@refs/tags/v1";

#[test]
fn a_certified_identity_that_was_logged_in_time_signs() {
    let authority = Authority::new();
    let bundle = authority.bundle(CI, &statement(image(), SBOM), IN_TIME).to_string();
    for identity in [CI, "https://forge.example/team/*"] {
        let opened = open(&keyless(&authority, identity), bundle.as_bytes()).unwrap();
        assert_eq!((sbom(&opened), opened.signer.as_deref()), (SBOM, Some("ci")));
    }
}

#[test]
fn an_envelope_with_cosigns_annotations_signs() {
    let authority = Authority::new();
    let (envelope, annotations) = authority.annotated(CI, &statement(image(), SBOM), IN_TIME);
    let annotations = annotations.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let bytes = envelope.to_string();
    let candidate = Candidate { bytes: bytes.as_bytes(), annotations: &annotations };
    let opened = keyless(&authority, CI).open(candidate, &[image()]).unwrap();
    assert_eq!(opened.signer.as_deref(), Some("ci"));
    // Without them nothing tells whose envelope it is.
    assert_eq!(open(&keyless(&authority, CI), bytes.as_bytes()).unwrap_err().name(), "wrong-key");
}

#[test]
fn a_certificate_that_had_expired_is_named() {
    let authority = Authority::new();
    let bundle = authority.bundle(CI, &statement(image(), SBOM), TOO_LATE).to_string();
    let error = open(&keyless(&authority, CI), bundle.as_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the signer's certificate had expired: it was valid until 2024-03-03T00:00:00Z, the signature was made at \
         2024-03-11T12:00:00Z"
    );
}

#[test]
fn another_identity_or_issuer_is_named() {
    let authority = Authority::new();
    let bundle = authority.bundle("https://forge.example/else", &statement(image(), SBOM), IN_TIME).to_string();
    let error = open(&keyless(&authority, CI), bundle.as_bytes()).unwrap_err();
    assert_eq!(error.name(), "wrong-identity", "{error}");
    assert!(error.to_string().contains("`https://forge.example/else`"), "{error}");
}

#[test]
fn another_authority_proves_nothing() {
    let (authority, other) = (Authority::new(), Authority::new());
    let bundle = other.bundle(CI, &statement(image(), SBOM), IN_TIME).to_string();
    let error = open(&keyless(&authority, CI), bundle.as_bytes()).unwrap_err();
    assert_eq!(error.name(), "unproven", "{error}");
}

#[test]
fn changed_content_and_borrowed_log_entries_are_refused() {
    let authority = Authority::new();
    let good = authority.bundle(CI, &statement(image(), SBOM), IN_TIME);
    let other = authority.bundle(CI, &statement(other_image(), SBOM), IN_TIME);
    let trust = keyless(&authority, CI);
    assert_eq!(open(&trust, other.to_string().as_bytes()).unwrap_err().name(), "swapped");
    let mut content = good.clone();
    content["dsseEnvelope"]["payload"] = other["dsseEnvelope"]["payload"].clone();
    assert_eq!(open(&trust, content.to_string().as_bytes()).unwrap_err().name(), "tampered");
    let mut entry = good.clone();
    entry["verificationMaterial"]["tlogEntries"] = other["verificationMaterial"]["tlogEntries"].clone();
    assert_eq!(open(&trust, entry.to_string().as_bytes()).unwrap_err().name(), "unproven");
    let mut time = good.clone();
    time["verificationMaterial"]["tlogEntries"][0]["integratedTime"] = (IN_TIME + 60).to_string().into();
    assert_eq!(open(&trust, time.to_string().as_bytes()).unwrap_err().name(), "unproven");
    let mut none = good;
    none["verificationMaterial"]["tlogEntries"] = serde_json::json!([]);
    assert_eq!(open(&trust, none.to_string().as_bytes()).unwrap_err().name(), "unproven");
}

#[test]
fn a_certificate_without_a_root_is_refused_by_name() {
    let authority = Authority::new();
    let bundle = authority.bundle(CI, &statement(image(), SBOM), IN_TIME).to_string();
    let proof = Proof::Identity { identity: IdentityPattern::new(CI).unwrap(), issuer: authority::ISSUER.to_owned() };
    let trust = Trust::new(vec![Signer { name: "ci".into(), proof }], None);
    assert_eq!(open(&trust, bundle.as_bytes()).unwrap_err().name(), "no-trust-root");
    let only_keys = trusting(&Key::new());
    assert_eq!(open(&only_keys, bundle.as_bytes()).unwrap_err().name(), "wrong-key");
    assert!(Root::from_json("{}").is_err());
}

/// A root that knows a timestamp authority and no log.
fn stamped_root(authority: &Authority, stamps: &TimestampAuthority) -> Trust {
    trusting_root(&authority.trusted_root_with(stamps, false), CI)
}

#[test]
fn a_timestamp_alone_proves_when_a_signature_was_made() {
    let (authority, stamps) = (Authority::new(), TimestampAuthority::new());
    let bundle = authority.stamped(&stamps, CI, &statement(image(), SBOM), 2039).to_string();
    let opened = open(&stamped_root(&authority, &stamps), bundle.as_bytes()).unwrap();
    assert_eq!((sbom(&opened), opened.signer.as_deref()), (SBOM, Some("ci")));
}

#[test]
fn a_certificate_that_had_expired_when_it_was_stamped_is_named() {
    let (authority, stamps) = (Authority::new(), TimestampAuthority::new());
    let bundle = authority.stamped(&stamps, CI, &statement(image(), SBOM), 2024).to_string();
    let error = open(&stamped_root(&authority, &stamps), bundle.as_bytes()).unwrap_err();
    assert_eq!(error.name(), "expired-certificate", "{error}");
    assert!(error.to_string().contains("valid until 2024-03-03T00:00:00Z"), "{error}");
}

#[test]
fn other_timestamps_and_none_prove_nothing() {
    let (authority, stamps) = (Authority::new(), TimestampAuthority::new());
    let trust = stamped_root(&authority, &stamps);
    let good = authority.stamped(&stamps, CI, &statement(image(), SBOM), 2039);
    assert!(open(&trust, good.to_string().as_bytes()).is_ok());
    let place = "/verificationMaterial/timestampVerificationData/rfc3161Timestamps";
    let with = |timestamps: serde_json::Value| {
        let mut bundle = good.clone();
        *bundle.pointer_mut(place).unwrap() = timestamps;
        open(&trust, bundle.to_string().as_bytes()).unwrap_err()
    };
    // Of another signature, which the authority did stamp; and of this one, by an authority that nobody trusts.
    let other = authority.stamped(&stamps, CI, &statement(other_image(), SBOM), 2039);
    assert_eq!(with(other.pointer(place).unwrap().clone()).name(), "unproven");
    let stranger = authority.stamped(&TimestampAuthority::new(), CI, &statement(image(), SBOM), 2039);
    assert_eq!(open(&trust, stranger.to_string().as_bytes()).unwrap_err().name(), "unproven");
    let none = with(serde_json::json!([]));
    assert_eq!(none.name(), "unproven");
    assert!(none.to_string().contains("imestamp"), "{none}");
}

#[test]
fn a_timestamp_is_no_log_entry_where_a_log_is_asked_for() {
    let (authority, stamps) = (Authority::new(), TimestampAuthority::new());
    let trust = trusting_root(&authority.trusted_root_with(&stamps, true), CI);
    let logged = authority.bundle(CI, &statement(image(), SBOM), IN_TIME).to_string();
    assert!(open(&trust, logged.as_bytes()).is_ok());
    let stamped = authority.stamped(&stamps, CI, &statement(image(), SBOM), 2039).to_string();
    assert_eq!(open(&trust, stamped.as_bytes()).unwrap_err().name(), "unproven");
}
