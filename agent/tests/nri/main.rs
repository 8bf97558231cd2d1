//! The NRI plugin against a runtime's end of the protocol, made from NRI's published protobufs.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test's own runtime fails by panicking"
)]

mod runtime;

use std::{
    collections::BTreeMap,
    future::Future,
    path::Path,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use plimsoll_agent::{
    config::Nri,
    metrics::Metrics,
    nri::{self, Containers, Progress, Told},
};
use plimsoll_proto::nri::{
    ConfigureRequest, ConfigureResponse, Container, ContainerState, CreateContainerRequest, CreateContainerResponse,
    Empty, Event, PodSandbox, StateChangeEvent, SynchronizeRequest, SynchronizeResponse,
};
use runtime::{Plugin, Runtime};

const DEADLINE: Duration = Duration::from_mins(1);
const HOOK: &str = "/opt/plimsoll/agent";

/// Writes down what it is told.
#[derive(Default)]
struct Recorder {
    introduced: Mutex<Vec<Told>>,
    ended: Mutex<Vec<String>>,
    forgotten: Mutex<usize>,
    /// While it is true, containers that are starting wait.
    held: Mutex<bool>,
    released: Condvar,
}

impl Containers for Recorder {
    fn introduce(&self, container: &Told) -> Result<(), String> {
        self.introduced.lock().unwrap().push(container.clone());
        let held = self.held.lock().unwrap();
        drop(self.released.wait_timeout_while(held, DEADLINE, |held| *held).unwrap());
        if container.id.starts_with("refused") { Err("its SBOM is missing".to_owned()) } else { Ok(()) }
    }

    fn undescribed(&self, id: &str, why: &str) {
        self.ended.lock().unwrap().push(format!("{id}: {why}"));
    }

    fn ended(&self, id: &str) {
        self.ended.lock().unwrap().push(id.to_owned());
    }

    fn forget_ended(&self) {
        *self.forgotten.lock().unwrap() += 1;
    }
}

struct Agent {
    runtime: Runtime,
    recorder: Arc<Recorder>,
    metrics: Metrics,
    task: tokio::task::JoinHandle<()>,
    _directory: tempfile::TempDir,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Agent {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("nri.sock");
        let runtime = Runtime::bind(&socket);
        let (recorder, metrics) = (Arc::new(Recorder::default()), Metrics::default());
        let config = Nri { socket, hook: HOOK.into() };
        let containers: Arc<dyn Containers> = Arc::clone(&recorder) as _;
        let task = tokio::spawn(nri::run(config, "/run/plimsoll/agent.sock".into(), containers, metrics.clone()));
        Self { runtime, recorder, metrics, task, _directory: directory }
    }

    /// A connection whose other end is registered and has the list of `containers`.
    async fn registered(&mut self, containers: Vec<Container>) -> Plugin {
        let mut plugin = soon(self.runtime.accept()).await;
        let registration = soon(plugin.registration()).await;
        assert_eq!((registration.plugin_name.as_str(), registration.plugin_idx.as_str()), ("plimsoll", "99"));
        let request = ConfigureRequest { runtime_name: "containerd".into(), ..ConfigureRequest::default() };
        let configured: ConfigureResponse = soon(plugin.call("Configure", &request)).await.unwrap();
        let wanted = [Event::CreateContainer, Event::StartContainer, Event::RemoveContainer];
        assert_eq!(configured.events, wanted.iter().fold(0, |mask, event| mask | 1 << (*event as i32 - 1)));
        let request = SynchronizeRequest { pods: vec![pod()], containers, more: false };
        let answer: SynchronizeResponse = soon(plugin.call("Synchronize", &request)).await.unwrap();
        assert_eq!(answer, SynchronizeResponse::default());
        plugin
    }

    async fn introduced(&self, number: usize) -> Vec<Told> {
        until(|| {
            let all = self.recorder.introduced.lock().unwrap();
            (all.len() >= number).then(|| all.clone())
        })
        .await
    }

    async fn is_registered(&self, expected: i64) {
        until(|| (self.metrics.nri_registered.get() == expected).then_some(())).await;
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("nothing came in time")
}

async fn until<T>(condition: impl Fn() -> Option<T>) -> T {
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    soon(async {
        loop {
            if let Some(value) = condition() {
                return value;
            }
            ticks.tick().await;
        }
    })
    .await
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn pod() -> PodSandbox {
    PodSandbox {
        id: "pod1".into(),
        name: "web-0".into(),
        uid: "uid1".into(),
        namespace: "shop".into(),
        labels: map(&[("app", "web")]),
        ..PodSandbox::default()
    }
}

fn container(id: &str, state: ContainerState) -> Container {
    Container {
        id: id.into(),
        pod_sandbox_id: "pod1".into(),
        name: "server".into(),
        state: state.into(),
        annotations: map(&[("dev.plimsoll.namespace", "kube-system"), ("dev.plimsoll.label/trusted", "yes")]),
        pid: 4711,
        ..Container::default()
    }
}

fn change(event: Event, container: Container) -> StateChangeEvent {
    StateChangeEvent { event: event.into(), pod: Some(pod()), container: Some(container) }
}

async fn create(plugin: &mut Plugin, container: Container) -> Result<CreateContainerResponse, String> {
    let request = CreateContainerRequest { pod: Some(pod()), container: Some(container) };
    soon(plugin.call("CreateContainer", &request)).await
}

#[tokio::test]
async fn containers_that_are_created_get_hooks_and_annotations() {
    let mut agent = Agent::start();
    let mut plugin = agent.registered(Vec::new()).await;
    let answer = create(&mut plugin, container("c1", ContainerState::ContainerUnknown)).await.unwrap();
    let adjust = answer.adjust.unwrap();
    let expected = map(&[
        ("-dev.plimsoll.label/trusted", ""),
        ("dev.plimsoll.container", "server"),
        ("dev.plimsoll.label/app", "web"),
        ("dev.plimsoll.namespace", "shop"),
        ("dev.plimsoll.pod", "web-0"),
        ("dev.plimsoll.pod.uid", "uid1"),
    ]);
    assert_eq!(adjust.annotations, expected);
    let hooks = adjust.hooks.unwrap();
    for (hook, stage) in [(&hooks.create_runtime, "create-runtime"), (&hooks.poststop, "poststop")] {
        let args = ["plimsoll-agent", "run-hook", "--socket", "/run/plimsoll/agent.sock", "--stage", stage];
        assert_eq!(
            (hook.len(), hook[0].path.as_str(), hook[0].args.as_slice()),
            (1, HOOK, &args.map(str::to_owned)[..])
        );
    }
    // Its hook introduces it.
    let hooked = Container { hooks: Some(hooks), ..container("c1", ContainerState::ContainerCreated) };
    let _: Empty = soon(plugin.call("StateChange", &change(Event::StartContainer, hooked))).await.unwrap();
    assert_eq!(*agent.recorder.introduced.lock().unwrap(), []);
}

#[tokio::test]
async fn a_container_of_which_too_little_is_said_is_not_created() {
    let mut agent = Agent::start();
    let mut plugin = agent.registered(Vec::new()).await;
    let nameless = Container { name: String::new(), ..container("c1", ContainerState::ContainerUnknown) };
    let error = create(&mut plugin, nameless).await.unwrap_err();
    assert!(error.contains("plimsoll cannot introduce this container"), "{error}");
    create(&mut plugin, container("c2", ContainerState::ContainerUnknown)).await.unwrap();
}

#[tokio::test]
async fn what_is_there_already_is_introduced_or_forgotten() {
    let mut agent = Agent::start();
    let strange = Container { pod_sandbox_id: "pod9".into(), ..container("stray", ContainerState::ContainerRunning) };
    let listed = vec![
        container("running", ContainerState::ContainerRunning),
        container("created", ContainerState::ContainerCreated),
        container("stopped", ContainerState::ContainerStopped),
        strange,
    ];
    let mut plugin = agent.registered(listed).await;
    let told = agent.introduced(1).await.remove(0);
    assert_eq!((told.id.as_str(), told.pid, told.progress), ("running", 4711, Progress::Running));
    assert_eq!(told.runtime, std::process::id());
    assert_eq!(told.annotations.get("dev.plimsoll.namespace").unwrap(), "shop");
    assert!(!told.annotations.contains_key("dev.plimsoll.label/trusted"));
    until(|| (agent.recorder.ended.lock().unwrap().len() == 2).then_some(())).await;
    assert_eq!(*agent.recorder.forgotten.lock().unwrap(), 1);
    let ended = agent.recorder.ended.lock().unwrap().clone();
    assert_eq!(ended[0], "stopped");
    assert!(ended[1].starts_with("stray: ") && ended[1].contains("which pod"), "{ended:?}");
    // The one that was created before has no hook, and is introduced when it starts.
    let event = change(Event::StartContainer, container("created", ContainerState::ContainerCreated));
    let _: Empty = soon(plugin.call("StateChange", &event)).await.unwrap();
    let told = agent.introduced(2).await.remove(1);
    assert!(told.id == "created" && matches!(told.progress, Progress::Starting(_)), "{told:?}");
    let event = change(Event::StartContainer, container("refused", ContainerState::ContainerCreated));
    let refused = soon(plugin.call::<Empty>("StateChange", &event)).await.unwrap_err();
    assert_eq!(refused, "its SBOM is missing");
    let event = change(Event::RemoveContainer, container("created", ContainerState::ContainerStopped));
    let _: Empty = soon(plugin.call("StateChange", &event)).await.unwrap();
    assert_eq!(agent.recorder.ended.lock().unwrap()[2], "created");
}

#[tokio::test]
async fn a_list_in_parts_is_one_list() {
    let agent = Agent::start();
    let mut plugin = soon(agent.runtime.accept()).await;
    soon(plugin.registration()).await;
    let request = ConfigureRequest { request_timeout: 60_000, ..ConfigureRequest::default() };
    let _: ConfigureResponse = soon(plugin.call("Configure", &request)).await.unwrap();
    // The pod comes after its container, and more than one frame holds.
    let filler = Container { env: vec!["x".repeat(100_000)], ..container("running", ContainerState::ContainerRunning) };
    let first = SynchronizeRequest { pods: Vec::new(), containers: vec![filler], more: true };
    let answer: SynchronizeResponse = soon(plugin.call("Synchronize", &first)).await.unwrap();
    assert!(answer.more, "it waits for the rest");
    assert_eq!(agent.metrics.nri_registered.get(), 0);
    let rest = SynchronizeRequest { pods: vec![pod()], containers: Vec::new(), more: false };
    let answer: SynchronizeResponse = soon(plugin.call("Synchronize", &rest)).await.unwrap();
    assert!(!answer.more);
    assert_eq!(agent.introduced(1).await[0].id, "running");
    agent.is_registered(1).await;
}

#[tokio::test]
async fn a_slow_introduction_holds_up_nobody_else() {
    let mut agent = Agent::start();
    let mut plugin = agent.registered(Vec::new()).await;
    *agent.recorder.held.lock().unwrap() = true;
    let event = change(Event::StartContainer, container("slow", ContainerState::ContainerCreated));
    let slow = plugin.send("StateChange", &event).await;
    agent.introduced(1).await;
    create(&mut plugin, container("c1", ContainerState::ContainerUnknown)).await.unwrap();
    *agent.recorder.held.lock().unwrap() = false;
    agent.recorder.released.notify_all();
    let _: Empty = soon(plugin.answer(slow)).await.unwrap();
}

#[tokio::test]
async fn a_runtime_that_restarts_is_found_again() {
    let mut agent = Agent::start();
    let plugin = agent.registered(Vec::new()).await;
    agent.is_registered(1).await;
    drop(plugin);
    agent.is_registered(0).await;
    let mut plugin = agent.registered(vec![container("running", ContainerState::ContainerRunning)]).await;
    agent.is_registered(1).await;
    assert_eq!(agent.introduced(1).await[0].id, "running");
    create(&mut plugin, container("c1", ContainerState::ContainerUnknown)).await.unwrap();
}

#[tokio::test]
async fn a_refused_registration_is_tried_again() {
    let agent = Agent::start();
    let mut plugin = soon(agent.runtime.accept()).await;
    soon(plugin.refuse_registration("the runtime shuts down")).await;
    let mut plugin = soon(agent.runtime.accept()).await;
    soon(plugin.registration()).await;
}

#[tokio::test]
async fn hostile_bytes_end_their_connection_and_nothing_else() {
    let hostile: [(&str, Vec<u8>); 4] = [
        ("a frame of 4 GiB", [[0, 0, 0, 1], [0xff; 4]].concat()),
        ("a message of 4 GiB", runtime::frame(1, &[0xff; 10])),
        ("a message that is no protobuf", runtime::frame(1, &[0, 0, 0, 2, 0, 0, 0, 1, 1, 0, 0xff, 0xff])),
        ("half a frame", vec![0, 0, 0, 1, 0, 0, 0, 9, 1]),
    ];
    for (what, bytes) in hostile {
        let mut agent = Agent::start();
        let mut plugin = agent.registered(Vec::new()).await;
        plugin.write(&bytes).await;
        plugin.close_writing().await;
        assert!(soon(plugin.is_closed()).await, "{what}");
        let mut plugin = agent.registered(Vec::new()).await;
        create(&mut plugin, container("c1", ContainerState::ContainerUnknown)).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_not_understood_is_answered_and_harms_nothing() {
    let mut agent = Agent::start();
    let mut plugin = agent.registered(Vec::new()).await;
    plugin.write(&runtime::frame(7, b"a connection that nobody uses")).await;
    let error = soon(plugin.call::<Empty>("ValidateContainerAdjustment", &Empty {})).await.unwrap_err();
    assert!(error.contains("is not known here"), "{error}");
    for method in ["Configure", "Synchronize", "CreateContainer", "StateChange"] {
        let error = soon(plugin.call_raw(method, &[0xff, 0xff])).await.unwrap_err();
        assert!(error.contains("cannot be decoded"), "{method}: {error}");
    }
    create(&mut plugin, container("c1", ContainerState::ContainerUnknown)).await.unwrap();
}

#[tokio::test]
async fn an_absent_runtime_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("nri.sock");
    let (recorder, metrics) = (Arc::new(Recorder::default()), Metrics::default());
    let config = Nri { socket: socket.clone(), hook: HOOK.into() };
    let task = tokio::spawn(nri::run(config, Path::new("/run/a.sock").into(), recorder, metrics.clone()));
    let outcome = plimsoll_agent::metrics::RegistrationLabels { outcome: plimsoll_agent::metrics::Registration::Ended };
    until(|| (metrics.nri_registrations.get_or_create(&outcome).get() > 0).then_some(())).await;
    let mut plugin = soon(Runtime::bind(&socket).accept()).await;
    soon(plugin.registration()).await;
    task.abort();
}
