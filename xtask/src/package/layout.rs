//! An OCI layout of one layer, byte for byte the same for the same files.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::step;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What a container of the image runs.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) entrypoint: String,
    /// `user:group` in numbers; root's if empty.
    pub(super) user: String,
}

/// A blob that was written.
struct Blob {
    digest: String,
    size: usize,
}

impl Image {
    /// Writes the files below `root` to the new directory `layout`, tag `latest`. Answers the manifest's digest.
    pub(super) fn pack(&self, root: &Path, layout: &Path) -> Result<String> {
        let blobs = layout.join("blobs/sha256");
        fs::create_dir_all(&blobs).with_context(|| format!("cannot create {}", blobs.display()))?;
        let (tar, packed) = (layout.join("layer.tar"), layout.join("layer.tar.gz"));
        archive(root, &tar)?;
        let content = digest(&fs::read(&tar)?);
        // Without name and time, which gzip keeps otherwise.
        step::quietly(Command::new("gzip").args(["--no-name", "--best"]).arg(&tar))?;
        let layer = write(&blobs, &fs::read(&packed)?)?;
        fs::remove_file(&packed)?;
        let config = write(&blobs, self.config(&content).to_string().as_bytes())?;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": described("application/vnd.oci.image.config.v1+json", &config),
            "layers": [described("application/vnd.oci.image.layer.v1.tar+gzip", &layer)],
        });
        let manifest = write(&blobs, manifest.to_string().as_bytes())?;
        let index = json!({ "schemaVersion": 2, "manifests": [{
            "mediaType": MANIFEST, "digest": manifest.digest, "size": manifest.size,
            "annotations": { "org.opencontainers.image.ref.name": "latest" },
        }] });
        fs::write(layout.join("index.json"), index.to_string())?;
        fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(manifest.digest)
    }

    fn config(&self, layer: &str) -> Value {
        json!({
            "created": "1970-01-01T00:00:00Z", "architecture": "amd64", "os": "linux",
            "config": { "Entrypoint": [self.entrypoint], "User": self.user, "WorkingDir": "/" },
            "rootfs": { "type": "layers", "diff_ids": [layer] },
            "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "cargo xtask image" }],
        })
    }
}

/// A tar archive in which nothing is this machine's: sorted, owned by root, without times.
fn archive(root: &Path, file: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.args(["--create", "--format=gnu", "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"]);
    // Whatever this process' file mode mask is.
    tar.arg("--mode=u=rwX,go=rX").arg("--file").arg(file).arg("--directory").arg(root);
    step::quietly(tar.args(["--transform=s,^\\./,,", "."]))
}

fn write(blobs: &Path, bytes: &[u8]) -> Result<Blob> {
    let digest = digest(bytes);
    let name = digest.strip_prefix("sha256:").unwrap_or(&digest);
    fs::write(blobs.join(name), bytes).with_context(|| format!("cannot write blob {digest}"))?;
    Ok(Blob { digest, size: bytes.len() })
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn described(kind: &str, blob: &Blob) -> Value {
    json!({ "mediaType": kind, "digest": blob.digest, "size": blob.size })
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt as _, time::UNIX_EPOCH};

    use super::*;

    fn files(content: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("usr/bin")).unwrap();
        for name in ["b", "a", "c"] {
            let path = root.path().join("usr/bin").join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        root
    }

    fn pack(root: &Path) -> (tempfile::TempDir, String) {
        let layout = tempfile::tempdir().unwrap();
        let image = Image { entrypoint: "/usr/bin/a".to_owned(), user: "65532:65532".to_owned() };
        let digest = image.pack(root, layout.path()).unwrap();
        (layout, digest)
    }

    #[test]
    fn the_same_files_give_the_same_image_and_others_another() {
        let (one, other) = (files("x"), files("x"));
        let file = fs::File::open(other.path().join("usr/bin/a")).unwrap();
        file.set_modified(UNIX_EPOCH).unwrap();
        let first = pack(one.path()).1;
        assert_eq!(first, pack(other.path()).1);
        assert_ne!(first, pack(files("y").path()).1);
    }

    #[test]
    fn others_read_the_image() {
        let root = files("#!/bin/sh\n");
        let (layout, digest) = pack(root.path());
        let reference = format!("{}:latest", layout.path().display());
        let seen = step::output(Command::new("skopeo").args([
            "inspect",
            "--format",
            "{{.Digest}}",
            &format!("oci:{reference}"),
        ]));
        assert_eq!(seen.unwrap().trim(), digest);
        let bundle = layout.path().join("bundle");
        step::quietly(Command::new("umoci").args(["unpack", "--rootless", "--image", &reference]).arg(&bundle))
            .unwrap();
        let program = fs::metadata(bundle.join("rootfs/usr/bin/a")).unwrap();
        assert_eq!(program.permissions().mode() & 0o777, 0o755);
    }
}
