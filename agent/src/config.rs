//! The agent's configuration: one YAML file, every field with a default.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use plimsoll_abi::{MAX_TASKS, MAX_WORKLOADS};
use serde::Deserialize;

use crate::workload::{pending::Pods, sources::Source};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read `{path}`")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{path}`: {message}")]
    Parse { path: PathBuf, message: String },
}

/// As written in the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// The node's name in events; the host's name if empty.
    pub node: String,
    /// Directory of policies: every `*.yaml` and `*.yml` file in it.
    pub policies: PathBuf,
    /// If given, policies come from signed bundles instead of `policies`.
    pub policy_bundles: Option<PolicyBundles>,
    /// Directory of SBOMs, named `sha256-<image digest>.json`.
    pub sboms: PathBuf,
    /// Where SBOMs are looked for, in this order.
    pub sbom_sources: Vec<Source>,
    /// Which registries are asked, and how; its `cache` is below `state` unless it says otherwise.
    pub registry: plimsoll_registry::Config,
    /// Whose signatures policies can ask for.
    pub trust: Trust,
    /// What the process may use that parses SBOMs.
    pub parser: Parser,
    /// Bytes of hashes of layers kept below `state`.
    pub layer_cache_bytes: u64,
    /// Directory that outlives the agent: the spool, and what is known of running workloads.
    pub state: PathBuf,
    /// Socket on which container runtimes' hooks call.
    pub socket: PathBuf,
    /// Directory on a bpf filesystem for links and maps.
    pub pins: PathBuf,
    /// Where the host's root is seen: `/`, or `/proc/1/root` from inside a container with the host's process ids.
    pub host: PathBuf,
    /// The cgroup v2 hierarchy.
    pub cgroups: PathBuf,
    /// What becomes of pods' containers that nobody has introduced; without it they run.
    pub pods: Option<Pods>,
    /// Whether allowed executions are events too. Each then costs the node some tens of microseconds of user space.
    pub report_executions: bool,
    /// Listener of `/metrics`, `/livez` and `/readyz`.
    pub admin: SocketAddr,
    /// How much the kernel's tables hold.
    pub capacity: Capacity,
    /// The file itself.
    #[serde(skip)]
    pub file: Option<PathBuf>,
    /// The container runtime tells of its containers; without it hooks have to.
    pub nri: Option<Nri>,
    /// The container runtime tells which image a container has; without it annotations have to.
    pub cri: Option<Cri>,
    /// Where events go; without it they are only counted.
    pub collector: Option<Collector>,
    /// If given, an API server is watched.
    pub kubernetes: Option<Kubernetes>,
}

/// What is asked of a Kubernetes API server, and how.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Kubernetes {
    /// The node's name in the cluster; if empty, `NODE_NAME` in the environment, then the agent's `node`.
    pub node: String,
    /// Without it, the service account of the agent's pod.
    pub kubeconfig: Option<PathBuf>,
    /// Whether the API server's policies are in force beside those of `policies` or `policy_bundles`.
    pub policies: bool,
}

impl Default for Kubernetes {
    fn default() -> Self {
        Self { node: String::new(), kubeconfig: None, policies: true }
    }
}

/// The container runtime's plugin interface.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Nri {
    /// The runtime's socket.
    pub socket: PathBuf,
    /// The agent's program, as the runtime sees it: containers get it as a hook.
    pub hook: PathBuf,
}

impl Default for Nri {
    fn default() -> Self {
        Self { socket: "/var/run/nri/nri.sock".into(), hook: "/usr/bin/plimsoll-agent".into() }
    }
}

/// The container runtime's service for Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Cri {
    /// The runtime's socket.
    pub endpoint: PathBuf,
    /// Its store of manifests, as the runtime sees it. One that is not there only leaves indexes unresolved.
    pub content: PathBuf,
}

impl Default for Cri {
    fn default() -> Self {
        Self {
            endpoint: "/run/containerd/containerd.sock".into(),
            content: "/var/lib/containerd/io.containerd.content.v1.content".into(),
        }
    }
}

/// Entries of the kernel's tables. Memory is taken as entries are made. Tables outlive agents, so that a change counts from the
/// node's next start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Capacity {
    /// Allowed files of all allowlists together. A policy that does not fit is refused.
    pub allowed_files: u32,
    /// Tasks of all workloads together. A fork beyond it fails.
    pub tasks: u32,
    /// Cgroups of all workloads together. A container beyond it does not start.
    pub cgroups: u32,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { allowed_files: 1 << 20, tasks: MAX_TASKS, cgroups: 4 * MAX_WORKLOADS }
    }
}

/// The collector's address and how to talk to it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Collector {
    /// `http://` on loopback, else `https://`.
    pub endpoint: String,
    /// Needed for `https://`.
    pub tls: Option<Tls>,
    /// The keys that those events are encrypted with, readable by its owner alone; made if it does not exist. Without it,
    /// `spool.key` below `state`.
    pub spool_key: Option<PathBuf>,
    /// Bytes of events kept on disk while the collector is away.
    #[serde(default = "default_spool")]
    pub spool_bytes: u64,
}

/// Files in PEM.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Tls {
    /// Authorities that may have signed the collector's certificate.
    pub ca: PathBuf,
    /// This node's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Signed policies.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PolicyBundles {
    /// Every `*.bundle.json` in it.
    pub directory: PathBuf,
    /// Directory of public keys, `*.pub`, any of which may have signed.
    pub keys: PathBuf,
}

/// Files that signatures are checked with.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Trust {
    /// Directory with `<name>.pub` for each key that policies name.
    pub keys: PathBuf,
    /// Sigstore's `trusted_root.json`, for policies that name identities.
    pub root: Option<PathBuf>,
}

/// Bounds of the SBOM parser.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Parser {
    /// Bytes of address space.
    pub memory_bytes: u64,
    /// Seconds for one image.
    pub timeout_seconds: u64,
}

impl Default for Trust {
    fn default() -> Self {
        Self { keys: "/etc/plimsoll/keys".into(), root: None }
    }
}

impl Default for Parser {
    fn default() -> Self {
        Self { memory_bytes: 1 << 30, timeout_seconds: 60 }
    }
}

fn default_spool() -> u64 {
    64 << 20
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node: String::new(),
            policies: "/etc/plimsoll/policies".into(),
            policy_bundles: None,
            sboms: "/etc/plimsoll/sboms".into(),
            sbom_sources: vec![Source::Directory],
            registry: plimsoll_registry::Config::default(),
            trust: Trust::default(),
            parser: Parser::default(),
            layer_cache_bytes: 256 << 20,
            state: "/var/lib/plimsoll".into(),
            socket: "/run/plimsoll/agent.sock".into(),
            pins: "/sys/fs/bpf/plimsoll".into(),
            host: "/".into(),
            cgroups: "/sys/fs/cgroup".into(),
            pods: None,
            report_executions: false,
            admin: SocketAddr::from(([127, 0, 0, 1], 9464)),
            capacity: Capacity::default(),
            file: None,
            nri: None,
            cri: None,
            collector: None,
            kubernetes: None,
        }
    }
}

impl Config {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let parsed: Result<Self, _> = serde_yaml::from_str(&text);
        let mut config =
            parsed.map_err(|error| ConfigError::Parse { path: path.to_owned(), message: error.to_string() })?;
        config.file = Some(path.to_owned());
        if config.node.is_empty() {
            config.node = rustix::system::uname().nodename().to_string_lossy().into_owned();
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Config::read(file.path())
    }

    #[test]
    fn defaults_fill_what_is_left_out() {
        let config = parse("admin: 127.0.0.1:1\ncollector:\n  endpoint: http://127.0.0.1:2\n").unwrap();
        assert_eq!(config.admin.port(), 1);
        assert_eq!(config.collector.unwrap().spool_bytes, 64 << 20);
        assert!(!config.node.is_empty());
    }

    #[test]
    fn the_shipped_configuration_states_the_defaults() {
        let shipped = parse(include_str!("../../deploy/agent.yaml")).unwrap();
        let Config { policies, sboms, state, socket, pins, host, cgroups, report_executions, admin, capacity, .. } =
            Config::default();
        assert_eq!(shipped.capacity, capacity);
        assert_eq!(shipped.report_executions, report_executions);
        assert_eq!(format!("{:?}", shipped.sbom_sources), format!("{:?}", Config::default().sbom_sources));
        assert_eq!(format!("{:?}", shipped.registry), format!("{:?}", Config::default().registry));
        assert_eq!(format!("{:?}", shipped.trust), format!("{:?}", Config::default().trust));
        assert_eq!(format!("{:?}", shipped.parser), format!("{:?}", Config::default().parser));
        assert_eq!(shipped.layer_cache_bytes, Config::default().layer_cache_bytes);
        assert_eq!((shipped.policies, shipped.sboms, shipped.state), (policies, sboms, state));
        assert_eq!((shipped.socket, shipped.pins, shipped.host), (socket, pins, host));
        assert_eq!((shipped.cgroups, shipped.admin), (cgroups, admin));
        assert_eq!(shipped.collector.unwrap().spool_bytes, default_spool());
    }

    #[test]
    fn the_optional_sections_that_are_shown_state_their_defaults() {
        let shown = include_str!("../../deploy/agent.yaml").replace("\n# ", "\n").replace("\n#   ", "\n  ");
        let section = |name: &str| {
            let after = shown.split_once(&format!("\n{name}:\n")).unwrap().1;
            let lines = after.lines().take_while(|line| line.starts_with("  "));
            format!("{name}:\n{}\n", lines.collect::<Vec<_>>().join("\n"))
        };
        assert_eq!(parse(&section("nri")).unwrap().nri, Some(Nri::default()));
        assert_eq!(parse(&section("cri")).unwrap().cri, Some(Cri::default()));
        assert_eq!(parse("nri: {}\n").unwrap().nri, Some(Nri::default()));
        assert_eq!(parse("node: a\n").unwrap().nri, None);
    }

    #[test]
    fn an_api_server_is_watched_only_if_one_is_named() {
        assert!(parse("node: a\n").unwrap().kubernetes.is_none());
        let kubernetes = parse("kubernetes: {kubeconfig: /k}\n").unwrap().kubernetes.unwrap();
        assert!(kubernetes.policies && kubernetes.node.is_empty());
        assert!(parse("kubernetes: {policy: true}\n").is_err());
    }

    #[test]
    fn a_misspelt_field_is_an_error_with_its_line() {
        let error = parse("node: a\npolicy: /p\n").unwrap_err().to_string();
        assert!(error.contains("policy") && error.contains('2'), "{error}");
    }
}
