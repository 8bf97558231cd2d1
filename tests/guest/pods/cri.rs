//! As much of the Container Runtime Interface (`runtime.v1`) as tests need: its messages by their published numbers.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, Result};
use prost::Message;
use tokio::runtime::Runtime;
use tonic::{
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

/// `NamespaceMode.NODE`.
const NODE: i32 = 2;
/// `ContainerState.CONTAINER_EXITED`.
const EXITED: i32 = 2;

#[derive(Clone, PartialEq, Message)]
struct PodMetadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(string, tag = "3")]
    namespace: String,
}

#[derive(Clone, PartialEq, Message)]
struct NamespaceOption {
    #[prost(int32, tag = "1")]
    network: i32,
}

#[derive(Clone, PartialEq, Message)]
struct SandboxSecurity {
    #[prost(message, optional, tag = "1")]
    namespaces: Option<NamespaceOption>,
}

#[derive(Clone, PartialEq, Message)]
struct LinuxSandbox {
    #[prost(string, tag = "1")]
    cgroup_parent: String,
    #[prost(message, optional, tag = "2")]
    security: Option<SandboxSecurity>,
}

/// `PodSandboxConfig`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PodConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<PodMetadata>,
    #[prost(string, tag = "2")]
    hostname: String,
    #[prost(btree_map = "string, string", tag = "6")]
    labels: BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "7")]
    annotations: BTreeMap<String, String>,
    #[prost(message, optional, tag = "8")]
    linux: Option<LinuxSandbox>,
}

impl PodConfig {
    /// A pod of the node's network, since that needs no network plugin.
    pub(crate) fn new(name: &str, namespace: &str, labels: &BTreeMap<String, String>) -> Self {
        let namespaces = Some(NamespaceOption { network: NODE });
        let security = Some(SandboxSecurity { namespaces });
        Self {
            metadata: Some(PodMetadata {
                name: name.to_owned(),
                uid: format!("uid-{name}"),
                namespace: namespace.to_owned(),
            }),
            hostname: String::new(),
            labels: labels.clone(),
            annotations: BTreeMap::new(),
            linux: Some(LinuxSandbox { cgroup_parent: format!("/kubepods/pod-{name}"), security }),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct ContainerMetadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, tag = "2")]
    attempt: u32,
}

#[derive(Clone, PartialEq, Message)]
struct ImageSpec {
    #[prost(string, tag = "1")]
    image: String,
}

/// `ContainerConfig`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ContainerConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "2")]
    image: Option<ImageSpec>,
    #[prost(string, repeated, tag = "3")]
    command: Vec<String>,
    #[prost(btree_map = "string, string", tag = "10")]
    annotations: BTreeMap<String, String>,
}

impl ContainerConfig {
    /// A container of `image` that runs `command`; `attempt` tells it from others of its name in a pod.
    pub(crate) fn new(image: &str, attempt: u32, command: &[&str], annotations: &BTreeMap<String, String>) -> Self {
        Self {
            metadata: Some(ContainerMetadata { name: "main".to_owned(), attempt }),
            image: Some(ImageSpec { image: image.to_owned() }),
            command: command.iter().map(|&word| word.to_owned()).collect(),
            annotations: annotations.clone(),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct RunPod {
    #[prost(message, optional, tag = "1")]
    config: Option<PodConfig>,
    #[prost(string, tag = "2")]
    handler: String,
}

#[derive(Clone, PartialEq, Message)]
struct CreateContainer {
    #[prost(string, tag = "1")]
    pod: String,
    #[prost(message, optional, tag = "2")]
    config: Option<ContainerConfig>,
    #[prost(message, optional, tag = "3")]
    pod_config: Option<PodConfig>,
}

/// What most requests and some answers are: an id.
#[derive(Clone, PartialEq, Message)]
struct Id {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, Message)]
struct Nothing {}

#[derive(Clone, PartialEq, Message)]
struct StatusAnswer {
    #[prost(message, optional, tag = "1")]
    status: Option<Status>,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "3")]
    state: i32,
    #[prost(int32, tag = "7")]
    exit_code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Exec {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, repeated, tag = "2")]
    command: Vec<String>,
}

/// How a command in a container ended.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Executed {
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) stderr: Vec<u8>,
    #[prost(int32, tag = "3")]
    pub(crate) status: i32,
}

/// A pod that runs.
#[derive(Debug, Clone)]
pub(crate) struct Pod {
    id: String,
    config: PodConfig,
}

/// A connection to the runtime.
pub(crate) struct Runtimes {
    executor: Runtime,
    grpc: Grpc<Channel>,
}

impl Runtimes {
    /// Connects to the runtime's socket.
    pub(crate) fn connect(socket: &Path) -> Result<Self> {
        let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()))?;
        let channel = executor.block_on(endpoint.connect()).context("cannot connect to the container runtime")?;
        Ok(Self { executor, grpc: Grpc::new(channel) })
    }

    fn call<Q, A>(&mut self, method: &'static str, request: Q) -> Result<A>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let path = PathAndQuery::from_maybe_shared(format!("/runtime.v1.RuntimeService/{method}"))?;
        let grpc = &mut self.grpc;
        let answer = self.executor.block_on(async {
            grpc.ready().await?;
            let codec: ProstCodec<Q, A> = ProstCodec::default();
            grpc.unary(tonic::Request::new(request), path, codec).await.map_err(anyhow::Error::from)
        });
        Ok(answer.with_context(|| format!("{method} failed"))?.into_inner())
    }

    /// Whether it answers.
    pub(crate) fn version(&mut self) -> Result<()> {
        self.call::<_, Nothing>("Version", Nothing {}).map(drop)
    }

    /// Runs a pod's sandbox by the runtime handler of a name.
    pub(crate) fn run_pod(&mut self, config: PodConfig, handler: &str) -> Result<Pod> {
        let request = RunPod { config: Some(config.clone()), handler: handler.to_owned() };
        let Id { id } = self.call("RunPodSandbox", request)?;
        Ok(Pod { id, config })
    }

    /// Ends a pod with all its containers, and removes it.
    pub(crate) fn remove_pod(&mut self, pod: &Pod) -> Result<()> {
        self.call::<_, Nothing>("StopPodSandbox", Id { id: pod.id.clone() })?;
        self.call::<_, Nothing>("RemovePodSandbox", Id { id: pod.id.clone() }).map(drop)
    }

    /// Makes a container; its id.
    pub(crate) fn create(&mut self, pod: &Pod, config: ContainerConfig) -> Result<String> {
        let request =
            CreateContainer { pod: pod.id.clone(), config: Some(config), pod_config: Some(pod.config.clone()) };
        Ok(self.call::<_, Id>("CreateContainer", request)?.id)
    }

    /// Starts it.
    pub(crate) fn start(&mut self, id: &str) -> Result<()> {
        self.call::<_, Nothing>("StartContainer", Id { id: id.to_owned() }).map(drop)
    }

    /// Its exit code, once it has ended.
    pub(crate) fn exit_code(&mut self, id: &str) -> Result<Option<i32>> {
        let answer: StatusAnswer = self.call("ContainerStatus", Id { id: id.to_owned() })?;
        let status = answer.status.context("a container without a status")?;
        Ok((status.state == EXITED).then_some(status.exit_code))
    }

    /// Runs a command in it, as a probe does.
    pub(crate) fn exec(&mut self, id: &str, command: &[&str]) -> Result<Executed> {
        let command = command.iter().map(|&word| word.to_owned()).collect();
        self.call("ExecSync", Exec { id: id.to_owned(), command })
    }

    /// Removes it; one that runs is killed.
    pub(crate) fn remove(&mut self, id: &str) -> Result<()> {
        self.call::<_, Nothing>("RemoveContainer", Id { id: id.to_owned() }).map(drop)
    }
}
