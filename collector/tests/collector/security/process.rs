//! The collector's program, with certificates of its own, and clients that show theirs.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant, SystemTime},
};

use plimsoll_proto::v1::collector_client::CollectorClient;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyIdMethod, KeyPair,
    RevokedCertParams, SanType, SerialNumber,
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::harness::{Stream, within};

/// As long as the slowest machine needs for ten thousand handshakes.
const DEADLINE: Duration = Duration::from_mins(3);

pub(super) struct Process {
    child: Child,
    pub(super) grpc: SocketAddr,
    http: SocketAddr,
    issuer: Issuer<'static, KeyPair>,
    ca: String,
    /// Certificate, key and serial number by node.
    nodes: Mutex<HashMap<String, (String, String, u64)>>,
    _directory: tempfile::TempDir,
}

impl Process {
    pub(super) fn start(flags: &[(&str, PathBuf)]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), flags)
    }

    /// Lists of revocations that flags name are made, empty.
    pub(super) fn start_in(directory: tempfile::TempDir, flags: &[(&str, PathBuf)]) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let path = |name: &str| directory.path().join(name);
        fs::write(path("ca.pem"), &ca).unwrap();
        let (certificate, own) = issue(&issuer, SanType::DnsName("localhost".try_into().unwrap()), 1);
        fs::write(path("server.pem"), certificate).unwrap();
        fs::write(path("server.key"), own).unwrap();
        for (_, list) in flags {
            fs::write(list, revocations(&issuer, &[])).unwrap();
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll-collector"));
        command.args(["--grpc", "0.0.0.0:0", "--http", "127.0.0.1:0", "--database"]).arg(path("events.db"));
        command.arg("--tls-certificate").arg(path("server.pem")).arg("--tls-key").arg(path("server.key"));
        command.arg("--tls-trust-domain").arg(format!("nodes.example={}", path("ca.pem").display()));
        for (flag, value) in flags {
            command.arg(flag).arg(value);
        }
        let mut child = command.env("RUST_LOG", "info").stderr(Stdio::piped()).spawn().unwrap();
        let (grpc, http) = addresses(&mut child);
        let grpc = SocketAddr::from(([127, 0, 0, 1], grpc.port()));
        Self { child, grpc, http, issuer, ca, nodes: Mutex::default(), _directory: directory }
    }

    /// Stops it as an administrator would.
    pub(super) fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }

    /// Resident memory in MiB.
    pub(super) fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() / 1024
    }

    pub(super) async fn metric(&self, name: &str) -> u64 {
        crate::harness::metric_at(self.http, name).await
    }

    /// Waits until a metric is at least `least`.
    pub(super) async fn until(&self, name: &str, least: u64) -> u64 {
        self.until_sum(&[name.to_owned()], least).await
    }

    /// Waits until so many connections were refused, for any of these reasons.
    pub(super) async fn until_refused(&self, reasons: &[&str], least: u64) -> u64 {
        let name = |reason: &&str| format!("connections_refused_total{{reason=\"{reason}\"}}");
        self.until_sum(&reasons.iter().map(name).collect::<Vec<_>>(), least).await
    }

    async fn until_sum(&self, names: &[String], least: u64) -> u64 {
        let deadline = Instant::now() + DEADLINE;
        let mut polls = tokio::time::interval(Duration::from_millis(100));
        loop {
            let mut sum = 0;
            for name in names {
                sum += self.metric(name).await;
            }
            if sum >= least {
                return sum;
            }
            assert!(Instant::now() < deadline, "{names:?}: {sum} of {least}");
            polls.tick().await;
        }
    }

    fn identity(&self, node: &str) -> (String, String, u64) {
        let mut nodes = self.nodes.lock().unwrap();
        let serial = nodes.len() as u64 + 2;
        let name = format!("spiffe://nodes.example/plimsoll/node/{node}");
        let made = || {
            let (certificate, key) = issue(&self.issuer, SanType::URI(name.as_str().try_into().unwrap()), serial);
            (certificate, key, serial)
        };
        nodes.entry(node.to_owned()).or_insert_with(made).clone()
    }

    /// A stream of a node.
    pub(super) async fn node(&self, node: &str, from: [u8; 4]) -> Result<Stream, tonic::Status> {
        let (certificate, key, _) = self.identity(node);
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.ca))
            .identity(Identity::from_pem(certificate, key))
            .domain_name("localhost");
        let endpoint = Endpoint::from_shared(format!("https://{}", self.grpc)).unwrap().tls_config(tls).unwrap();
        let channel = endpoint.local_address(Some(IpAddr::from(from))).connect_lazy();
        Stream::open(CollectorClient::new(channel)).await
    }

    /// A connection of a node, with nothing said on it.
    pub(super) async fn tls(&self, node: &str, from: [u8; 4]) -> TlsStream<TcpStream> {
        let (certificate, key, _) = self.identity(node);
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca.as_bytes()).unwrap()).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((IpAddr::from(from), 0).into()).unwrap();
        let stream = within(socket.connect(self.grpc)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        within(TlsConnector::from(Arc::new(config)).connect(name, stream)).await.unwrap()
    }

    /// Puts a node's certificate on the list.
    pub(super) fn revoke(&self, list: &Path, node: &str) {
        let (_, _, serial) = self.identity(node);
        fs::write(list, revocations(&self.issuer, &[serial])).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A test that failed leaves nothing running; after a stop there is nothing left to end.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn issue(issuer: &Issuer<'static, KeyPair>, name: SanType, serial: u64) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![name];
    params.serial_number = Some(SerialNumber::from(serial));
    (params.signed_by(&key, issuer).unwrap().pem(), key.serialize_pem())
}

fn revocations(issuer: &Issuer<'static, KeyPair>, serials: &[u64]) -> String {
    let now = SystemTime::now();
    let revoked = serials.iter().map(|serial| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: now.into(),
        reason_code: None,
        invalidity_date: None,
    });
    let list = CertificateRevocationListParams {
        this_update: (now - Duration::from_mins(1)).into(),
        next_update: (now + Duration::from_hours(1)).into(),
        crl_number: SerialNumber::from(1 + serials.len() as u64),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(issuer).unwrap().pem().unwrap()
}

/// Where the program says that it listens; the rest of its log is read and forgotten.
fn addresses(child: &mut Child) -> (SocketAddr, SocketAddr) {
    let log = BufReader::new(child.stderr.take().unwrap());
    let (told, addresses) = mpsc::channel();
    thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            let Ok(entry) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
            let address = |name: &str| entry["fields"][name].as_str().and_then(|text| text.parse().ok());
            if let (Some(grpc), Some(http)) = (address("grpc"), address("http")) {
                told.send((grpc, http)).unwrap();
            }
        }
    });
    addresses.recv_timeout(DEADLINE).unwrap()
}
