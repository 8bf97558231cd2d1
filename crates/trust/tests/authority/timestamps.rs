//! A timestamp authority (RFC 3161): `openssl ts`, which knows no time but the present.

use std::{fs, path::Path, process::Command};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;

const SETTINGS: &str = "[stamps]\nserial = serial\nsigner_cert = stamp.pem\nsigner_key = stamp.key\nsigner_digest = sha256\n\
                        default_policy = 1.3.6.1.4.1.57264.2\ndigests = sha256\ness_cert_id_alg = sha256\n";
const EXTENSIONS: &str = "keyUsage = critical, digitalSignature\nextendedKeyUsage = critical, timeStamping\n";
const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

/// A root, and the certificate that signs timestamps.
pub(crate) struct TimestampAuthority {
    directory: TempDir,
}

impl TimestampAuthority {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("settings", SETTINGS);
        write("extensions", EXTENSIONS);
        write("serial", "01\n");
        let this = Self { directory };
        this.openssl(&format!("req -x509 {NEW_KEY} -keyout root.key -out root.pem -subj /CN=root -days 100"));
        this.openssl(&format!("req {NEW_KEY} -keyout stamp.key -out stamp.csr -subj /CN=stamps"));
        this.openssl(
            "x509 -req -in stamp.csr -CA root.pem -CAkey root.key -CAcreateserial -days 90 -extfile extensions \
             -out stamp.pem",
        );
        this
    }

    /// As `trusted_root.json` lists it: the signer first, the root last.
    pub(crate) fn listed(&self) -> Value {
        let certificates = ["stamp.pem", "root.pem"].map(|name| json!({ "rawBytes": self.certificate(name) }));
        json!({
            "subject": { "organization": "example", "commonName": "stamps" },
            "uri": "https://stamps.example",
            "certChain": { "certificates": certificates },
            "validFor": { "start": "2020-01-01T00:00:00Z" },
        })
    }

    /// A timestamp of now over `signature`, as a bundle holds it.
    pub(crate) fn stamp(&self, signature: &[u8]) -> Value {
        fs::write(self.path().join("signature"), signature).unwrap();
        self.openssl("ts -query -data signature -sha256 -cert -out query");
        self.openssl("ts -reply -config settings -section stamps -queryfile query -out reply");
        json!({ "signedTimestamp": STANDARD.encode(fs::read(self.path().join("reply")).unwrap()) })
    }

    /// PEM without its marks is base64 of DER.
    fn certificate(&self, name: &str) -> String {
        let pem = fs::read_to_string(self.path().join(name)).unwrap();
        pem.lines().filter(|line| !line.starts_with('-')).collect()
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn openssl(&self, arguments: &str) {
        let mut openssl = Command::new("openssl");
        let output = openssl.args(arguments.split_whitespace()).current_dir(self.path()).output();
        let output = output.expect("`openssl` starts: `cargo xtask setup` installs it");
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
