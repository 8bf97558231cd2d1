//! The registry's process, and pushing to it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use plimsoll_sbom::Sha256;
use rcgen::{CertificateParams, KeyPair, SanType};
use serde_json::Value;
use tempfile::TempDir;

/// `open sesame`, as `htpasswd -B` writes it.
const PASSWORDS: &str = "ali:$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n";

pub(super) struct Server {
    process: Child,
    /// `127.0.0.1:port`
    pub(super) address: String,
    directory: TempDir,
}

impl Server {
    /// Open to everybody, without TLS.
    pub(super) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::with(directory, "")
    }

    /// With TLS and a password; [`Server::authority`] signed the certificate.
    pub(super) fn private() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
        fs::write(path("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(path("key.pem"), key.serialize_pem()).unwrap();
        fs::write(path("passwords"), PASSWORDS).unwrap();
        let more = format!(
            "  tls:\n    certificate: {}\n    key: {}\nauth:\n  htpasswd:\n    realm: test\n    path: {}\n",
            path("ca.pem"),
            path("key.pem"),
            path("passwords")
        );
        Self::with(directory, &more)
    }

    fn with(directory: TempDir, more: &str) -> Self {
        let config = directory.path().join("config.yml");
        let root = directory.path().join("data");
        let text = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:0\n{more}",
            root.display()
        );
        fs::write(&config, text).unwrap();
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("`docker-registry` starts: `cargo xtask setup` installs it");
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map(|line| line.expect("the registry logs"))
            .find_map(|line| {
                let (_, rest) = line.split_once("listening on ")?;
                Some(rest.split(['"', ',', ' ']).next()?.to_owned())
            })
            .expect("the registry says where it listens");
        // Its log must not fill the pipe.
        thread::spawn(move || lines.for_each(drop));
        Self { process, address, directory }
    }

    /// What signed the server's certificate.
    pub(super) fn authority(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// Writes other bytes where the registry keeps the blob.
    pub(super) fn spoil(&self, digest: Sha256, bytes: &[u8]) {
        let hex = digest.hex();
        let path = format!("data/docker/registry/v2/blobs/sha256/{}/{hex}/data", hex.get(..2).unwrap());
        let path = self.directory.path().join(path);
        assert!(path.exists(), "{}", path.display());
        fs::write(path, bytes).unwrap();
    }

    pub(super) fn stop(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn curl(&self) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--http1.1", "--silent", "--show-error", "--fail-with-body", "--user", "ali:open sesame"]);
        if self.authority().exists() {
            curl.arg("--cacert").arg(self.authority());
        }
        curl
    }

    fn url(&self, path: &str) -> String {
        let scheme = if self.authority().exists() { "https" } else { "http" };
        if path.starts_with("http") { path.to_owned() } else { format!("{scheme}://{}{path}", self.address) }
    }

    pub(super) fn push_blob(&self, repository: &str, bytes: &[u8]) -> Sha256 {
        let digest = Sha256::of(bytes);
        let start = self.url(&format!("/v2/{repository}/blobs/uploads/"));
        let headers =
            run(self.curl().args(["--request", "POST", "--dump-header", "-", "--output", "/dev/null", &start]));
        let location = headers.lines().find_map(|line| line.strip_prefix("Location: ")).expect("an upload's place");
        let location = self.url(location.trim());
        let target = format!("{location}{}digest={digest}", if location.contains('?') { '&' } else { '?' });
        self.put(&target, "application/octet-stream", bytes);
        digest
    }

    pub(super) fn push_manifest(&self, repository: &str, name: &str, manifest: &Value) -> Sha256 {
        let bytes = manifest.to_string().into_bytes();
        let digest = Sha256::of(&bytes);
        let name = if name.is_empty() { digest.to_string() } else { name.to_owned() };
        let kind = manifest["mediaType"].as_str().unwrap();
        self.put(&self.url(&format!("/v2/{repository}/manifests/{name}")), kind, &bytes);
        digest
    }

    fn put(&self, url: &str, kind: &str, bytes: &[u8]) {
        let body = self.directory.path().join("body");
        fs::write(&body, bytes).unwrap();
        let kind = format!("Content-Type: {kind}");
        let body = format!("@{}", body.display());
        run(self.curl().args(["--request", "PUT", "--header", &kind, "--data-binary", &body, url]));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been stopped already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("curl starts: `cargo xtask setup` installs it");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What a command line answered.
pub(super) struct Answer {
    /// `fetch`, `verify`...
    command: String,
    pub(super) code: i32,
    pub(super) text: String,
    pub(super) errors: String,
}

impl Answer {
    /// What `--json` printed, which must be what `plimsoll sbom schema` says of the command.
    pub(super) fn json(&self) -> Value {
        let printed: Value =
            serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}{}", self.text, self.errors));
        let schema: Value = serde_json::from_str(&plimsoll(&["sbom", "schema", &self.command]).text).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<String> = validator.iter_errors(&printed).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?} in {printed}");
        let described = schema["properties"].as_object().unwrap();
        let undescribed = printed.as_object().unwrap().keys().find(|field| !described.contains_key(*field));
        assert_eq!(undescribed, None, "fields that the schema does not have");
        assert!(!validator.is_valid(&serde_json::json!({})), "the schema lets anything through");
        printed
    }
}

/// Runs `plimsoll sbom` with a home directory of its own.
pub(super) fn plimsoll(arguments: &[&str]) -> Answer {
    plimsoll_with(arguments, None)
}

/// As [`plimsoll`], with programs in `programs` before others.
pub(super) fn plimsoll_with(arguments: &[&str], programs: Option<&Path>) -> Answer {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.args(arguments).env_remove("DOCKER_CONFIG").env("HOME", "/nonexistent");
    if let Some(programs) = programs {
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", programs.display()));
    }
    let output = command.output().unwrap();
    Answer {
        command: (*arguments.get(1).unwrap()).to_owned(),
        code: output.status.code().expect("no signal ended it"),
        text: String::from_utf8(output.stdout).unwrap(),
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}
