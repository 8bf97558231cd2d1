//! The digest of a container's image, asked from a server that speaks CRI.
#![expect(clippy::unwrap_used, reason = "a test's own servers and helpers fail by panicking")]

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use plimsoll_agent::{
    config,
    workload::cri::{Cri, CriError},
};
use plimsoll_proto::cri::{
    image_service_server::{ImageService, ImageServiceServer},
    runtime_service_server::{RuntimeService, RuntimeServiceServer},
    *,
};
use plimsoll_sbom::Sha256;
use tokio::net::UnixListener;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, transport::Server};

/// A runtime with one container and one image.
#[derive(Clone, Default)]
struct Runtime {
    status: ContainerStatus,
    image: Image,
    /// What it answers instead, if it is an error.
    broken: Option<Status>,
    /// The images that it was asked for.
    asked: Arc<Mutex<Vec<String>>>,
}

/// Everything that is not asked for here.
macro_rules! runtime_service {
    ($($method:ident($request:ident) -> $response:ident),* $(,)?) => {
        #[tonic::async_trait]
        impl RuntimeService for Runtime {
            type GetContainerEventsStream = ReceiverStream<Result<ContainerEventResponse, Status>>;

            async fn get_container_events(
                &self,
                _: Request<GetEventsRequest>,
            ) -> Result<Response<Self::GetContainerEventsStream>, Status> {
                Err(Status::unimplemented("not here"))
            }

            async fn container_status(
                &self,
                request: Request<ContainerStatusRequest>,
            ) -> Result<Response<ContainerStatusResponse>, Status> {
                if let Some(status) = &self.broken {
                    return Err(status.clone());
                }
                if request.into_inner().container_id != self.status.id {
                    return Err(Status::not_found("no such container"));
                }
                Ok(Response::new(ContainerStatusResponse { status: Some(self.status.clone()), ..Default::default() }))
            }

            $(async fn $method(&self, _: Request<$request>) -> Result<Response<$response>, Status> {
                Err(Status::unimplemented("not here"))
            })*
        }
    };
}

runtime_service! {
    version(VersionRequest) -> VersionResponse,
    run_pod_sandbox(RunPodSandboxRequest) -> RunPodSandboxResponse,
    stop_pod_sandbox(StopPodSandboxRequest) -> StopPodSandboxResponse,
    remove_pod_sandbox(RemovePodSandboxRequest) -> RemovePodSandboxResponse,
    pod_sandbox_status(PodSandboxStatusRequest) -> PodSandboxStatusResponse,
    list_pod_sandbox(ListPodSandboxRequest) -> ListPodSandboxResponse,
    create_container(CreateContainerRequest) -> CreateContainerResponse,
    start_container(StartContainerRequest) -> StartContainerResponse,
    stop_container(StopContainerRequest) -> StopContainerResponse,
    remove_container(RemoveContainerRequest) -> RemoveContainerResponse,
    list_containers(ListContainersRequest) -> ListContainersResponse,
    update_container_resources(UpdateContainerResourcesRequest) -> UpdateContainerResourcesResponse,
    reopen_container_log(ReopenContainerLogRequest) -> ReopenContainerLogResponse,
    exec_sync(ExecSyncRequest) -> ExecSyncResponse,
    exec(ExecRequest) -> ExecResponse,
    attach(AttachRequest) -> AttachResponse,
    port_forward(PortForwardRequest) -> PortForwardResponse,
    container_stats(ContainerStatsRequest) -> ContainerStatsResponse,
    list_container_stats(ListContainerStatsRequest) -> ListContainerStatsResponse,
    pod_sandbox_stats(PodSandboxStatsRequest) -> PodSandboxStatsResponse,
    list_pod_sandbox_stats(ListPodSandboxStatsRequest) -> ListPodSandboxStatsResponse,
    update_runtime_config(UpdateRuntimeConfigRequest) -> UpdateRuntimeConfigResponse,
    status(StatusRequest) -> StatusResponse,
    checkpoint_container(CheckpointContainerRequest) -> CheckpointContainerResponse,
    list_metric_descriptors(ListMetricDescriptorsRequest) -> ListMetricDescriptorsResponse,
    list_pod_sandbox_metrics(ListPodSandboxMetricsRequest) -> ListPodSandboxMetricsResponse,
    runtime_config(RuntimeConfigRequest) -> RuntimeConfigResponse,
}

#[tonic::async_trait]
impl ImageService for Runtime {
    async fn list_images(&self, _: Request<ListImagesRequest>) -> Result<Response<ListImagesResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn image_status(
        &self,
        request: Request<ImageStatusRequest>,
    ) -> Result<Response<ImageStatusResponse>, Status> {
        let name = request.into_inner().image.unwrap_or_default().image;
        self.asked.lock().unwrap().push(name.clone());
        let names = [&self.image.id].into_iter().chain(&self.image.repo_tags).chain(&self.image.repo_digests);
        let image = names.into_iter().any(|known| *known == name).then(|| self.image.clone());
        Ok(Response::new(ImageStatusResponse { image, ..Default::default() }))
    }

    async fn pull_image(&self, _: Request<PullImageRequest>) -> Result<Response<PullImageResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn remove_image(&self, _: Request<RemoveImageRequest>) -> Result<Response<RemoveImageResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn image_fs_info(&self, _: Request<ImageFsInfoRequest>) -> Result<Response<ImageFsInfoResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

impl Runtime {
    /// A container `c1` of the image `web:1`, which a registry knows by `digest`.
    fn with(digest: Sha256, config: Sha256) -> Self {
        let image = Image {
            id: config.to_string(),
            repo_tags: vec!["registry.example/web:1".to_owned()],
            repo_digests: vec![format!("registry.example/web@{digest}")],
            ..Default::default()
        };
        let status = ContainerStatus { id: "c1".to_owned(), image_ref: config.to_string(), ..Default::default() };
        Self { status, image, ..Default::default() }
    }

    /// The digest that the agent finds for a container, with its files under `host`.
    async fn digest(self, host: &Path, container: &'static str, reference: Option<&'static str>) -> Found {
        let endpoint = host.join("cri.sock");
        let listener = UnixListenerStream::new(UnixListener::bind(&endpoint).unwrap());
        let server = Server::builder()
            .add_service(RuntimeServiceServer::new(self.clone()))
            .add_service(ImageServiceServer::new(self));
        let serving = tokio::spawn(server.serve_with_incoming(listener));
        let config = config::Cri { endpoint: endpoint.clone(), content: "/content".into() };
        let cri = Cri::new(&config, host).unwrap();
        let found = tokio::task::spawn_blocking(move || cri.digest(container, reference)).await.unwrap();
        serving.abort();
        fs::remove_file(endpoint).unwrap();
        found
    }
}

type Found = Result<Option<String>, CriError>;

fn put(host: &Path, text: &str) -> Sha256 {
    let (directory, digest) = (host.join("content/blobs/sha256"), Sha256::of(text.as_bytes()));
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(digest.hex()), text).unwrap();
    digest
}

#[tokio::test]
async fn the_image_is_the_one_that_the_container_was_made_from() {
    let host = tempfile::tempdir().unwrap();
    let config = Sha256::of(b"config");
    let manifest = put(host.path(), &format!(r#"{{"config":{{"digest":"{config}"}}}}"#));
    let index = put(host.path(), &format!(r#"{{"manifests":[{{"digest":"{manifest}"}}]}}"#));
    let runtime = Runtime::with(index, config);
    let asked = Arc::clone(&runtime.asked);
    // The tag names something else by now.
    let found = runtime.digest(host.path(), "c1", Some("registry.example/other:1")).await.unwrap();
    assert_eq!(found, Some(manifest.to_string()));
    assert_eq!(*asked.lock().unwrap(), [config.to_string()]);
}

#[tokio::test]
async fn without_the_runtimes_store_the_registrys_digest_counts() {
    let host = tempfile::tempdir().unwrap();
    let (index, config) = (Sha256::of(b"index"), Sha256::of(b"config"));
    let found = Runtime::with(index, config).digest(host.path(), "c1", None).await.unwrap();
    assert_eq!(found, Some(index.to_string()));
}

#[tokio::test]
async fn a_container_that_the_runtime_does_not_know_yet_is_found_by_its_images_name() {
    let host = tempfile::tempdir().unwrap();
    let (digest, config) = (Sha256::of(b"manifest"), Sha256::of(b"config"));
    let runtime = Runtime::with(digest, config);
    let found = runtime.clone().digest(host.path(), "c2", Some("registry.example/web:1")).await.unwrap();
    assert_eq!(found, Some(digest.to_string()));
    assert_eq!(runtime.digest(host.path(), "c2", None).await.unwrap(), None, "somebody else's");
}

#[tokio::test]
async fn what_cannot_be_found_out_is_an_error_and_never_nothing() {
    let host = tempfile::tempdir().unwrap();
    let (digest, config) = (Sha256::of(b"manifest"), Sha256::of(b"config"));
    let broken = Runtime { broken: Some(Status::internal("no")), ..Runtime::with(digest, config) };
    assert!(matches!(broken.digest(host.path(), "c1", None).await, Err(CriError::Call(_))));
    let gone = Runtime { image: Image::default(), ..Runtime::with(digest, config) };
    assert!(matches!(gone.digest(host.path(), "c1", None).await, Err(CriError::NoImage(_))));
    let mut imported = Runtime::with(digest, config);
    imported.image.repo_digests.clear();
    assert!(matches!(imported.digest(host.path(), "c1", None).await, Err(CriError::NoDigest(_))));
    put(host.path(), "{}");
    fs::write(host.path().join("content/blobs/sha256").join(digest.hex()), "changed").unwrap();
    let changed = Runtime::with(digest, config).digest(host.path(), "c1", None).await;
    assert!(matches!(changed, Err(CriError::Content(_))), "{changed:?}");
    let absent = config::Cri { endpoint: host.path().join("absent.sock"), content: "/content".into() };
    let cri = Cri::new(&absent, host.path()).unwrap();
    let found = tokio::task::spawn_blocking(move || cri.digest("c1", None)).await.unwrap();
    assert!(matches!(found, Err(CriError::Call(_))), "{found:?}");
}
