//! One connection to the runtime, from registration to its end.

use std::{
    convert::Infallible,
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use plimsoll_proto::{
    nri::{
        ConfigureRequest, ConfigureResponse, Container, ContainerState, CreateContainerRequest,
        CreateContainerResponse, Empty, Event, PodSandbox, RegisterPluginRequest, StateChangeEvent, SynchronizeRequest,
        SynchronizeResponse,
    },
    ttrpc::{Request, Response},
};
use prost::Message as _;
use tokio::{
    io::{AsyncWriteExt as _, BufReader},
    net::{UnixStream, unix::OwnedWriteHalf},
    sync::{Mutex, Semaphore},
    time::{error::Elapsed, timeout_at},
};

use super::{
    Containers, Progress, Told,
    describe::{self, HookProgram},
    multiplex::{self, PLUGIN, RUNTIME},
    ttrpc::{self, Assembler, Message, MessageError, code},
};
use crate::metrics::{Creation, CreationLabels, Metrics, Registration, RegistrationLabels};

const NAME: &str = "plimsoll";
/// Plugins are called in ascending order: the last one sees what the others did.
const INDEX: &str = "99";
const PLUGIN_SERVICE: &str = "nri.pkg.api.v1alpha1.Plugin";
const RUNTIME_SERVICE: &str = "nri.pkg.api.v1alpha1.Runtime";

/// How long the runtime may take to register the plugin and to list its containers.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long runtimes wait for an answer, if they do not say.
const RUNTIMES_PATIENCE: Duration = Duration::from_secs(2);
/// Pods, and containers, in one list. A node holds hundreds.
const MAX_LISTED: usize = 20_000;
/// Containers that are being introduced at once; the next ones wait.
const AT_ONCE: usize = 16;

/// What ends a session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("cannot connect; is NRI enabled in the container runtime's configuration?")]
    Connect(#[source] io::Error),
    #[error("the runtime's process is not known")]
    Peer,
    #[error("the connection broke")]
    Io(#[from] io::Error),
    #[error("the runtime sent something that is not NRI")]
    Message(#[from] MessageError),
    #[error("the runtime closed the connection")]
    Closed,
    #[error("the runtime did not list its containers within {} s", PATIENCE.as_secs())]
    Late(#[from] Elapsed),
    #[error("the runtime refused the plugin: {0}")]
    Refused(String),
    #[error("the runtime lists more than {MAX_LISTED} containers")]
    TooMany,
}

type Writer = Arc<Mutex<OwnedWriteHalf>>;

/// What an answer needs that comes later.
type Work = Box<dyn FnOnce() -> Response + Send>;

enum Reply {
    Now(Response),
    /// Takes as long as reading an image.
    Later(Work),
}

pub(super) struct Session {
    hook: PathBuf,
    socket: PathBuf,
    containers: Arc<dyn Containers>,
    metrics: Metrics,
    /// A process in the runtime's mount namespace.
    runtime: u32,
    /// How long the runtime waits for an answer.
    patience: Duration,
    /// Parts of a list that is not complete yet.
    pods: Vec<PodSandbox>,
    listed: Vec<Container>,
    synchronized: bool,
    places: Arc<Semaphore>,
}

impl Session {
    pub(super) fn new(hook: PathBuf, socket: PathBuf, containers: Arc<dyn Containers>, metrics: Metrics) -> Self {
        Self {
            hook,
            socket,
            containers,
            metrics,
            runtime: 0,
            patience: RUNTIMES_PATIENCE,
            pods: Vec::new(),
            listed: Vec::new(),
            synchronized: false,
            places: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Registers, and serves until the connection ends.
    pub(super) async fn run(mut self, stream: UnixStream) -> Result<Infallible, SessionError> {
        let peer = stream.peer_cred()?.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0);
        self.runtime = peer.ok_or(SessionError::Peer)?;
        let (reader, writer) = stream.into_split();
        let (mut reader, writer) = (BufReader::new(reader), Arc::new(Mutex::new(writer)));
        send(&writer, RUNTIME, &ttrpc::request(1, &registration())).await?;
        let (mut calls, mut answers) = (Assembler::default(), Assembler::default());
        let late = tokio::time::Instant::now() + PATIENCE;
        loop {
            let next = multiplex::read(&mut reader);
            let frame = if self.synchronized { next.await } else { timeout_at(late, next).await? }?;
            let frame = frame.ok_or(SessionError::Closed)?;
            let assembler = match frame.connection {
                PLUGIN => &mut calls,
                RUNTIME => &mut answers,
                // Nobody is there; NRI's own plugins drop it as well.
                _ => continue,
            };
            assembler.push(&frame.payload);
            while let Some(message) = assembler.next()? {
                match message {
                    Message::Request(stream, request) if frame.connection == PLUGIN => {
                        self.call(&writer, stream, &request).await?;
                    }
                    Message::Response(_, response) if frame.connection == RUNTIME => registered(response)?,
                    Message::Request(..) | Message::Response(..) => {}
                }
            }
        }
    }

    async fn call(&mut self, writer: &Writer, stream: u32, request: &Request) -> Result<(), SessionError> {
        let work = match self.reply(request)? {
            Reply::Now(response) => return send(writer, PLUGIN, &ttrpc::response(stream, &response)).await,
            Reply::Later(work) => work,
        };
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return Ok(()) };
        let writer = Arc::clone(writer);
        tokio::spawn(async move {
            let response = tokio::task::spawn_blocking(work)
                .await
                .unwrap_or_else(|error| ttrpc::failed(code::FAILED_PRECONDITION, format!("the agent failed: {error}")));
            if let Err(error) = send(&writer, PLUGIN, &ttrpc::response(stream, &response)).await {
                // The runtime waits no longer; what was done stays done.
                tracing::warn!(%error, "the runtime does not take an answer");
            }
            drop(place);
        });
        Ok(())
    }

    fn reply(&mut self, request: &Request) -> Result<Reply, SessionError> {
        let payload = request.payload.as_slice();
        let now = match (request.service.as_str(), request.method.as_str()) {
            (PLUGIN_SERVICE, "Configure") => decoded(payload, |request| self.configure(&request)),
            (PLUGIN_SERVICE, "Synchronize") => match SynchronizeRequest::decode(payload) {
                Ok(request) => self.synchronize(request)?,
                Err(error) => undecodable(&error),
            },
            (PLUGIN_SERVICE, "CreateContainer") => decoded(payload, |request| self.create(&request)),
            (PLUGIN_SERVICE, "StateChange") => match StateChangeEvent::decode(payload) {
                Ok(change) => return Ok(self.change(change)),
                Err(error) => undecodable(&error),
            },
            (PLUGIN_SERVICE, "Shutdown") => ttrpc::succeeded(&Empty {}),
            (service, method) => ttrpc::failed(code::UNIMPLEMENTED, format!("{service}/{method} is not known here")),
        };
        Ok(Reply::Now(now))
    }

    fn configure(&mut self, request: &ConfigureRequest) -> Response {
        if let Ok(milliseconds @ 1..) = u64::try_from(request.request_timeout) {
            self.patience = Duration::from_millis(milliseconds);
        }
        let runtime = format!("{} {}", request.runtime_name, request.runtime_version);
        tracing::info!(%runtime, patience = ?self.patience, "registered with the container runtime");
        ttrpc::succeeded(&ConfigureResponse { events: events() })
    }

    /// Takes a list, or a part of one. What is to be done about it is done later: the runtime creates no container until it has
    /// the answer.
    fn synchronize(&mut self, request: SynchronizeRequest) -> Result<Response, SessionError> {
        self.pods.extend(request.pods);
        self.listed.extend(request.containers);
        if self.pods.len() > MAX_LISTED || self.listed.len() > MAX_LISTED {
            return Err(SessionError::TooMany);
        }
        if !request.more {
            self.synchronized = true;
            self.metrics.nri_registered.set(1);
            self.metrics.nri_registrations.get_or_create(&RegistrationLabels { outcome: Registration::Begun }).inc();
            self.reconcile();
        }
        Ok(ttrpc::succeeded(&SynchronizeResponse { update: Vec::new(), more: request.more }))
    }

    fn reconcile(&mut self) {
        let (pods, listed) = (std::mem::take(&mut self.pods), std::mem::take(&mut self.listed));
        tracing::info!(pods = pods.len(), containers = listed.len(), "the container runtime lists what is there");
        let (containers, runtime) = (Arc::clone(&self.containers), self.runtime);
        tokio::task::spawn_blocking(move || {
            containers.forget_ended();
            for container in &listed {
                let pod = pods.iter().find(|pod| pod.id == container.pod_sandbox_id);
                match container.state() {
                    ContainerState::ContainerRunning | ContainerState::ContainerPaused => {
                        let outcome = introduce(&*containers, pod, container, runtime, Progress::Running);
                        if let Err(why) = outcome {
                            tracing::error!(workload = %container.id, %why, "a running container is not under its policy");
                        }
                    }
                    ContainerState::ContainerStopped => containers.ended(&container.id),
                    // It is introduced when it starts, by its hook or by the runtime's word.
                    ContainerState::ContainerCreated | ContainerState::ContainerUnknown => {}
                }
            }
        });
    }

    fn create(&self, request: &CreateContainerRequest) -> Response {
        let (pod, container) = (request.pod.clone().unwrap_or_default(), request.container.clone().unwrap_or_default());
        let count = |outcome| self.metrics.nri_creations.get_or_create(&CreationLabels { outcome }).inc();
        let program = HookProgram { path: &self.hook, socket: &self.socket };
        match describe::adjustment(&pod, &container, program) {
            Ok(adjust) => {
                count(Creation::Adjusted);
                let (update, evict) = (Vec::new(), Vec::new());
                ttrpc::succeeded(&CreateContainerResponse { adjust: Some(adjust), update, evict })
            }
            Err(error) => {
                count(Creation::Refused);
                tracing::error!(container = %container.id, pod = %pod.name, %error, "a container may not be created");
                ttrpc::failed(code::FAILED_PRECONDITION, format!("plimsoll cannot introduce this container: {error}"))
            }
        }
    }

    fn change(&self, change: StateChangeEvent) -> Reply {
        let event = change.event();
        let Some(container) = change.container else { return Reply::Now(ttrpc::succeeded(&Empty {})) };
        let (containers, runtime) = (Arc::clone(&self.containers), self.runtime);
        match event {
            Event::StartContainer if !describe::is_hooked(&container, &self.hook) => {
                let progress = Progress::Starting(Instant::now() + self.patience);
                Reply::Later(Box::new(move || {
                    match introduce(&*containers, change.pod.as_ref(), &container, runtime, progress) {
                        Ok(()) => ttrpc::succeeded(&Empty {}),
                        Err(why) => ttrpc::failed(code::FAILED_PRECONDITION, why),
                    }
                }))
            }
            Event::RemoveContainer => Reply::Later(Box::new(move || {
                containers.ended(&container.id);
                ttrpc::succeeded(&Empty {})
            })),
            _ => Reply::Now(ttrpc::succeeded(&Empty {})),
        }
    }
}

fn introduce(
    containers: &dyn Containers,
    pod: Option<&PodSandbox>,
    container: &Container,
    runtime: u32,
    progress: Progress,
) -> Result<(), String> {
    let described = match pod {
        Some(pod) => describe::completed(pod, container).map_err(|error| error.to_string()),
        None => Err("the container runtime does not say which pod it belongs to".to_owned()),
    };
    match described {
        Ok(annotations) => {
            let (id, pid) = (container.id.clone(), container.pid);
            containers.introduce(&Told { id, pid, annotations, runtime, progress })
        }
        Err(error) => {
            containers.undescribed(&container.id, &error);
            Err(error)
        }
    }
}

fn registration() -> Request {
    let payload = RegisterPluginRequest { plugin_name: NAME.to_owned(), plugin_idx: INDEX.to_owned() }.encode_to_vec();
    Request { service: RUNTIME_SERVICE.to_owned(), method: "RegisterPlugin".to_owned(), payload, timeout_nano: 0 }
}

fn registered(response: Response) -> Result<(), SessionError> {
    match response.status {
        Some(status) if status.code != 0 => Err(SessionError::Refused(status.message.chars().take(500).collect())),
        _ => Ok(()),
    }
}

/// One bit for each event that is wanted.
fn events() -> i32 {
    [Event::CreateContainer, Event::StartContainer, Event::RemoveContainer]
        .into_iter()
        .fold(0, |mask, event| mask | 1 << (i32::from(event) - 1))
}

fn decoded<M: prost::Message + Default>(payload: &[u8], answer: impl FnOnce(M) -> Response) -> Response {
    match M::decode(payload) {
        Ok(request) => answer(request),
        Err(error) => undecodable(&error),
    }
}

fn undecodable(error: &prost::DecodeError) -> Response {
    ttrpc::failed(code::INVALID_ARGUMENT, format!("the request cannot be decoded: {error}"))
}

async fn send(writer: &Writer, connection: u32, message: &[u8]) -> Result<(), SessionError> {
    Ok(writer.lock().await.write_all(&multiplex::frames(connection, message)).await?)
}
