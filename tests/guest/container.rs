//! Real containers, run by runc from the test image's layers.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::{Value, json};

/// The program in the image that tries things.
pub(crate) const ACTOR: &str = "/usr/bin/plimsoll-actor";
/// Names the image to the agent.
pub(crate) const DIGEST_ANNOTATION: &str = "dev.plimsoll.image.digest";

const IMAGE: &str = "/payload/image";
const AGENT: &str = "/payload/bin/plimsoll-agent";
const AGENT_SOCKET: &str = "/run/plimsoll/agent.sock";
const WORKSHOP: &str = "/run/plimsoll-test";

/// What tests do as root in a container is nasty; a container without these would be safe from most of it.
const CAPABILITIES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_ADMIN",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_ADMIN",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RESOURCE",
];

/// What they make read-only.
const SETTINGS: &[&str] = &["/proc/sys", "/proc/sysrq-trigger"];

/// What container engines give by default.
const USUAL: &[&str] =
    &["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETGID", "CAP_SETUID"];

/// What a container is made of.
#[expect(clippy::struct_excessive_bools, reason = "they are choices, each of its own")]
#[derive(Debug, Clone)]
pub(crate) struct ContainerSpec {
    /// Its name: letters, digits, `-` and `_`.
    pub(crate) id: String,
    /// Folders of its layers, top first.
    pub(crate) layers: Vec<PathBuf>,
    /// Annotations, among them what the agent learns of the image.
    pub(crate) annotations: BTreeMap<String, String>,
    /// Whether the agent is told when it starts and when it ends.
    pub(crate) hooks: bool,
    /// Where the hooks find the agent.
    pub(crate) agent_socket: PathBuf,
    /// Mounts beside the usual ones, as in an OCI runtime configuration.
    pub(crate) mounts: Vec<Value>,
    /// Capabilities beside the usual ones.
    pub(crate) capabilities: Vec<&'static str>,
    /// Whether it may use every device.
    pub(crate) devices: bool,
    /// Whether it has what container engines give to every container, and no more.
    pub(crate) usual: bool,
    /// Whether it is among the node's processes.
    pub(crate) host_processes: bool,
    /// What it runs.
    pub(crate) entrypoint: Vec<String>,
}

impl ContainerSpec {
    /// A container of the test image that waits, unknown to any agent.
    pub(crate) fn of_test_image(id: &str) -> Result<Self> {
        Ok(Self {
            id: id.to_owned(),
            layers: read(&Path::new(IMAGE).join("lowerdir"))?
                .lines()
                .map(|layer| Path::new(IMAGE).join(layer))
                .collect(),
            annotations: BTreeMap::from([(DIGEST_ANNOTATION.to_owned(), image_digest()?)]),
            hooks: false,
            agent_socket: AGENT_SOCKET.into(),
            mounts: Vec::new(),
            capabilities: Vec::new(),
            devices: false,
            usual: false,
            host_processes: false,
            entrypoint: [ACTOR, "wait"].map(str::to_owned).to_vec(),
        })
    }

    /// Its `config.json`.
    pub(crate) fn configuration(&self) -> Value {
        let mut mounts = vec![
            json!({"destination": "/proc", "type": "proc", "source": "proc"}),
            json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]}),
            json!({"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "mode=1777"]}),
            json!({"destination": "/volume", "type": "tmpfs", "source": "volume", "options": ["nosuid"]}),
            json!({"destination": "/payload", "type": "bind", "source": "/payload", "options": ["bind", "ro"]}),
        ];
        mounts.extend(self.mounts.iter().cloned());
        let base = if self.usual { USUAL } else { CAPABILITIES };
        let capabilities: Vec<&str> = base.iter().chain(&self.capabilities).copied().collect();
        let capabilities: BTreeMap<&str, &[&str]> =
            ["bounding", "effective", "inheritable", "permitted"].map(|set| (set, capabilities.as_slice())).into();
        let kinds = ["pid", "ipc", "uts", "mount", "network"].into_iter().skip(usize::from(self.host_processes));
        let namespaces: Vec<Value> = kinds.map(|kind| json!({"type": kind})).collect();
        // An empty list leaves the runtime's own, which has the usual devices.
        let devices = if self.devices { json!([{"allow": true, "access": "rwm"}]) } else { json!([]) };
        let mut configuration = json!({
            "ociVersion": "1.0.2",
            "process": {
                "terminal": false,
                "user": {"uid": 0, "gid": 0},
                "args": self.entrypoint,
                "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                "cwd": "/",
                "capabilities": capabilities,
            },
            "root": {"path": "rootfs", "readonly": false},
            "hostname": "plimsoll-test",
            "mounts": mounts,
            "annotations": self.annotations,
            "linux": {
                "cgroupsPath": format!("/plimsoll-test/{}", self.id),
                "namespaces": namespaces,
                "resources": {"devices": devices},
                "readonlyPaths": if self.usual { SETTINGS } else { &[] },
            },
        });
        if self.hooks
            && let Some(fields) = configuration.as_object_mut()
        {
            let hooks = json!({"createRuntime": [self.hook(&[])], "poststop": [self.hook(&["--stage", "poststop"])]});
            fields.insert("hooks".to_owned(), hooks);
        }
        configuration
    }

    fn hook(&self, more: &[&str]) -> Value {
        let socket = self.agent_socket.to_string_lossy();
        let arguments: Vec<&str> =
            ["plimsoll-agent", "run-hook", "--socket", &socket].iter().chain(more).copied().collect();
        json!({"path": AGENT, "args": arguments})
    }
}

/// The digest of the test image's manifest, as `sha256:<hex>`.
pub(crate) fn image_digest() -> Result<String> {
    Ok(read(&Path::new(IMAGE).join("digest"))?.trim().to_owned())
}

/// What a command in a container left.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    /// Exit status; 128 and more for a signal. runc's own failures are 1 or 255, with a message in `stderr`.
    pub(crate) status: i32,
    /// Standard output, with U+FFFD for what is not UTF-8.
    pub(crate) stdout: String,
    /// Standard error, likewise.
    pub(crate) stderr: String,
}

/// A running container. Dropping it kills and removes it, and what it wrote.
#[derive(Debug)]
pub(crate) struct Container {
    id: String,
    bundle: PathBuf,
}

impl Container {
    /// Starts a container; its root file system is an overlay of its layers under a fresh tmpfs. Fails with what runc said, for
    /// one if a hook refused.
    pub(crate) fn create(spec: ContainerSpec) -> Result<Self> {
        let bundle = Path::new(WORKSHOP).join(&spec.id);
        fs::create_dir_all(bundle.join("rootfs")).with_context(|| format!("cannot create {}", bundle.display()))?;
        fs::write(bundle.join("config.json"), spec.configuration().to_string())?;
        // From here on it is cleaned up by being dropped, however far it gets.
        let container = Self { id: spec.id, bundle };
        container.mount(&spec.layers)?;
        container.start()?;
        Ok(container)
    }

    /// Gives it addresses that it can connect to: from outside, since few containers may do that themselves.
    pub(crate) fn bring_up(&self) -> Result<()> {
        let mut enter = Command::new("nsenter");
        enter.args(["--net", "--target", &self.pid()?.to_string(), "/payload/bin/plimsoll-actor", "network", "up"]);
        let output = enter.output().context("cannot run `nsenter`")?;
        ensure!(output.status.success(), "{output:?}");
        Ok(())
    }

    /// Its first process, as the node numbers it.
    pub(crate) fn pid(&self) -> Result<u64> {
        let state = Command::new("runc").args(["state", &self.id]).output().context("cannot run `runc state`")?;
        let state: Value = serde_json::from_slice(&state.stdout).context("runc's state is no JSON")?;
        state["pid"].as_u64().with_context(|| format!("runc's state has no pid: {state}"))
    }

    /// Runs a command in it to its end.
    pub(crate) fn exec(&self, command: &[&str]) -> Result<Output> {
        let mut exec = Command::new("runc");
        exec.arg("exec").arg(&self.id).args(command).stdin(Stdio::null());
        let output = exec.output().context("cannot run `runc exec`")?;
        let Some(status) = output.status.code() else { bail!("runc exec was ended by a signal: {}", output.status) };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Output { status, stdout: text(&output.stdout), stderr: text(&output.stderr) })
    }

    fn mount(&self, layers: &[PathBuf]) -> Result<()> {
        let writable = self.bundle.join("writable");
        fs::create_dir_all(&writable)?;
        mount("tmpfs", &writable, "tmpfs", MountFlags::empty(), Some(c"mode=755")).context("cannot mount a tmpfs")?;
        let (upper, work) = (writable.join("upper"), writable.join("work"));
        fs::create_dir(&upper)?;
        fs::create_dir(&work)?;
        let lower: Vec<String> = layers.iter().map(|layer| layer.display().to_string()).collect();
        let options = format!("lowerdir={},upperdir={},workdir={}", lower.join(":"), upper.display(), work.display());
        let options = std::ffi::CString::new(options)?;
        mount("overlay", self.bundle.join("rootfs"), "overlay", MountFlags::empty(), Some(options.as_c_str()))
            .context("cannot mount the overlay")
    }

    fn start(&self) -> Result<()> {
        // A file, since a pipe would stay open for as long as the container lives.
        let log = self.bundle.join("log");
        let file = File::create(&log)?;
        let mut run = Command::new("runc");
        run.args(["run", "--detach", "--bundle"]).arg(&self.bundle).arg(&self.id);
        run.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let status = run.status().context("cannot run `runc run`")?;
        ensure!(status.success(), "runc did not start `{}`: {}", self.id, read(&log)?.trim());
        Ok(())
    }

    fn remove(&self) -> Result<()> {
        let deleted = Command::new("runc").args(["delete", "--force", &self.id]).stdin(Stdio::null()).output()?;
        for mounted in ["rootfs", "writable"] {
            match unmount(self.bundle.join(mounted), UnmountFlags::DETACH) {
                // Not mounted: the container did not get that far.
                Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(error).with_context(|| format!("cannot unmount {mounted}")),
            }
        }
        fs::remove_dir_all(&self.bundle).with_context(|| format!("cannot remove {}", self.bundle.display()))?;
        ensure!(deleted.status.success(), "runc delete: {}", String::from_utf8_lossy(&deleted.stderr).trim());
        Ok(())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("cannot clean up after container `{}`: {error:#}", self.id);
        }
    }
}

/// A container for several tests, since starting one takes seconds on an emulated machine. The first test that wants it starts
/// it; it ends when the last one that holds it is over.
pub(crate) struct SharedContainer {
    spec: Box<dyn Fn() -> Result<ContainerSpec> + Send + Sync>,
    running: Mutex<Option<Container>>,
}

impl SharedContainer {
    /// Nothing is started yet.
    pub(crate) fn new(spec: impl Fn() -> Result<ContainerSpec> + Send + Sync + 'static) -> Self {
        Self { spec: Box::new(spec), running: Mutex::new(None) }
    }

    /// Runs `test` with the container. If it cannot be started, each test says so.
    pub(crate) fn with<T>(&self, test: impl FnOnce(&Container) -> Result<T>) -> Result<T> {
        // A test that panicked left the container as any other test does.
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let container = match running.take() {
            Some(container) => container,
            None => Container::create((self.spec)()?)?,
        };
        test(running.insert(container))
    }
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}
