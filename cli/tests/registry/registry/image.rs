//! An image in a registry, its files, its SBOM, and what is attached to it.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

use plimsoll_sbom::Sha256;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::server::Server;
use crate::authority::{Authority, IN_TIME, Key, statement};

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
pub(super) const CI: &str = "https://forge.example/team/app/release.yml@refs/tags/v1";

/// A pushed image, and what a test signs with.
pub(super) struct Image {
    pub(super) server: Server,
    pub(super) directory: TempDir,
    pub(super) repository: &'static str,
    pub(super) digest: Sha256,
    pub(super) manifest: Value,
    pub(super) sbom: Vec<u8>,
    pub(super) key: Key,
    pub(super) authority: Authority,
}

impl Image {
    pub(super) fn push() -> Self {
        Self::push_to(Server::start())
    }

    /// One layer with one program, whose digest the SBOM states.
    pub(super) fn push_to(server: Server) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let rootfs = directory.path().join("rootfs");
        fs::create_dir_all(rootfs.join("usr/bin")).unwrap();
        let program = rootfs.join("usr/bin/app");
        fs::copy("/usr/bin/true", &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let sbom = sbom(Sha256::of(&fs::read(&program).unwrap()));
        let layer = directory.path().join("layer.tar.gz");
        let packed = Command::new("tar").arg("-czf").arg(&layer).arg("-C").arg(&rootfs).arg(".").status().unwrap();
        assert!(packed.success());
        let repository = "team/app";
        let manifest = image_manifest(&server, repository, &fs::read(&layer).unwrap());
        let digest = server.push_manifest(repository, "v1", &manifest);
        let (key, authority) = (Key::new(), Authority::new());
        fs::write(directory.path().join("release.pub"), key.public_pem()).unwrap();
        fs::write(directory.path().join("root.json"), authority.trusted_root()).unwrap();
        Self { server, directory, repository, digest, manifest, sbom, key, authority }
    }

    /// `registry/repository@digest`
    pub(super) fn reference(&self) -> String {
        format!("{}/{}@{}", self.server.address, self.repository, self.digest)
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    pub(super) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A statement that the SBOM is this image's.
    pub(super) fn statement(&self) -> Vec<u8> {
        statement(self.digest, &self.sbom)
    }

    /// As `cosign attest` does: a tag with an envelope as layer.
    pub(super) fn attach_attestation(&self, envelope: &Value, annotations: &[(&str, String)]) -> Sha256 {
        let bytes = envelope.to_string().into_bytes();
        let kind = "application/vnd.dsse.envelope.v1+json";
        let mut layer = self.layer(kind, &bytes);
        layer["annotations"] = annotations.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        layer["annotations"]["predicateType"] = "https://spdx.dev/Document".into();
        let manifest = self.artifact(None, &[layer]);
        self.server.push_manifest(self.repository, &format!("sha256-{}.att", self.digest.hex()), &manifest);
        Sha256::of(&bytes)
    }

    /// A referrer, listed by the tag that stands for the referrers API.
    pub(super) fn attach_referrer(&self, kind: &str, document: &[u8]) -> Sha256 {
        let layer = self.layer(kind, document);
        let manifest = self.artifact(Some(kind), &[layer]);
        let digest = self.server.push_manifest(self.repository, "", &manifest);
        let size = manifest.to_string().len();
        let index = json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [{ "mediaType": MANIFEST, "digest": digest.to_string(), "size": size, "artifactType": kind }],
        });
        self.server.push_manifest(self.repository, &format!("sha256-{}", self.digest.hex()), &index);
        digest
    }

    /// As `docker buildx build --sbom=true` does: an index with the image and its attestation manifest.
    pub(super) fn attach_buildkit(&self, statement: &[u8]) -> Sha256 {
        let mut layer = self.layer("application/vnd.in-toto+json", statement);
        layer["annotations"] = json!({ "in-toto.io/predicate-type": "https://spdx.dev/Document" });
        let mut provenance = self.layer("application/vnd.in-toto+json", b"{\"not\":\"looked at\"}");
        provenance["annotations"] = json!({ "in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2" });
        let attestation = self.artifact(None, &[layer, provenance]);
        let attestation_digest = self.server.push_manifest(self.repository, "", &attestation);
        let describe = |digest: Sha256, manifest: &Value, os: &str, architecture: &str| {
            json!({
                "mediaType": MANIFEST,
                "digest": digest.to_string(),
                "size": manifest.to_string().len(),
                "platform": { "os": os, "architecture": architecture },
            })
        };
        let mut attached = describe(attestation_digest, &attestation, "unknown", "unknown");
        attached["annotations"] = json!({
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": self.digest.to_string(),
        });
        let image = describe(self.digest, &self.manifest, "linux", "amd64");
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [image, attached] });
        self.server.push_manifest(self.repository, "v1", &index)
    }

    pub(super) fn signed_bundle(&self, time: i64) -> Vec<u8> {
        self.authority.bundle(CI, &self.statement(), time).to_string().into_bytes()
    }

    pub(super) fn keyless(&self) -> [String; 6] {
        let issuer = crate::authority::ISSUER.to_owned();
        let root = self.path("root.json");
        ["--identity".into(), CI.into(), "--issuer".into(), issuer, "--trust-root".into(), root]
    }

    pub(super) fn in_time(&self) -> Vec<u8> {
        self.signed_bundle(IN_TIME)
    }

    fn layer(&self, kind: &str, bytes: &[u8]) -> Value {
        let digest = self.server.push_blob(self.repository, bytes);
        json!({ "mediaType": kind, "digest": digest.to_string(), "size": bytes.len() })
    }

    fn artifact(&self, kind: Option<&str>, layers: &[Value]) -> Value {
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.layer("application/vnd.oci.image.config.v1+json", b"{}"),
            "layers": layers,
        });
        if let Some(kind) = kind {
            manifest["artifactType"] = kind.into();
            manifest["subject"] = json!({
                "mediaType": MANIFEST,
                "digest": self.digest.to_string(),
                "size": self.manifest.to_string().len(),
            });
        }
        manifest
    }
}

fn image_manifest(server: &Server, repository: &str, layer: &[u8]) -> Value {
    let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let config_digest = server.push_blob(repository, config);
    let layer_digest = server.push_blob(repository, layer);
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config_digest.to_string(),
            "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "digest": layer_digest.to_string(),
            "size": layer.len(),
        }],
    })
}

/// An SPDX document that lists the program.
pub(super) fn sbom(program: Sha256) -> Vec<u8> {
    json!({
        "spdxVersion": "SPDX-2.3",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": "app",
        "packages": [],
        "files": [{
            "SPDXID": "SPDXRef-app",
            "fileName": "/usr/bin/app",
            "checksums": [{ "algorithm": "SHA256", "checksumValue": program.hex() }],
        }],
    })
    .to_string()
    .into_bytes()
}
