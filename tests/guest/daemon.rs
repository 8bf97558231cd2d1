//! The real collector and agent as processes, with configurations of their own.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

/// Long enough for an emulated machine with one slow core, on which an agent starts beside processes that are busy.
pub(crate) const PATIENCE: Duration = Duration::from_mins(10);
const PAUSE: Duration = Duration::from_millis(50);

/// Waits until `check` gives a value; its last error says why it never did.
pub(crate) fn wait_for<T>(what: &str, mut check: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match check() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() > deadline => return Err(error.context(format!("waited in vain for {what}"))),
            Err(_) => std::thread::park_timeout(PAUSE),
        }
    }
}

/// A process that is killed when it is dropped.
pub(crate) struct Daemon {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts a program, its output in `directory`.
    pub(crate) fn start(
        name: &'static str,
        program: &Path,
        arguments: &[&str],
        directory: &Path,
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(directory)?;
        let log = directory.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, child, log })
    }

    /// Everything it has said so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_else(|error| format!("(no log: {error})"))
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: i32) -> anyhow::Result<()> {
        let pid = i32::try_from(self.pid())?;
        // SAFETY: no memory is involved.
        ensure!(unsafe { libc::kill(pid, signal) } == 0, "cannot signal {}", self.name);
        Ok(())
    }

    /// Kills it with SIGKILL and waits for its end.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        let status = self.child.wait()?;
        ensure!(status.signal() == Some(libc::SIGKILL), "{} ended by itself: {status}\n{}", self.name, self.log());
        Ok(())
    }

    /// Waits until a signal has ended it.
    pub(crate) fn wait_for_signal(&mut self, signal: i32) -> anyhow::Result<()> {
        let name = self.name;
        let ended =
            wait_for("the end of a process", || self.child.try_wait()?.with_context(|| format!("{name} runs")))?;
        ensure!(ended.signal() == Some(signal), "{name} ended with {ended}");
        Ok(())
    }

    /// Waits until it ends by itself; its exit code.
    pub(crate) fn wait(&mut self) -> anyhow::Result<i32> {
        let name = self.name;
        let status =
            wait_for("the end of a process", || self.child.try_wait()?.with_context(|| format!("{name} still runs")))?;
        status.code().context("it was killed by a signal")
    }

    /// Waits until it says that it is ready; not for one that has ended.
    fn wait_until_ready(&mut self, what: &str, admin: SocketAddr) -> anyhow::Result<()> {
        wait_for(what, || match get(admin, "/readyz") {
            Ok(_) => Ok(Ok(())),
            Err(not_yet) => self.ensure_alive().map_or_else(|dead| Ok(Err(dead)), |()| Err(not_yet)),
        })?
    }

    /// That it has not ended; if it has, the error has its log.
    pub(crate) fn ensure_alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{} ended: {status}\n{}", self.name, self.log()),
            None => Ok(()),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) && self.child.kill().is_ok() {
            let _status = self.child.wait();
        }
    }
}

/// A collector with its own database.
pub(crate) struct Collector {
    /// Runs as long as this value lives.
    _daemon: Daemon,
    http: SocketAddr,
}

impl Collector {
    /// Starts one and waits until it answers.
    pub(crate) fn start(directory: &Path) -> anyhow::Result<Self> {
        let database = directory.join("events.db");
        let database = database.to_str().context("the path is text")?;
        let program = Path::new("/payload/bin/plimsoll-collector");
        let mut daemon = Daemon::start("plimsoll-collector", program, &["--database", database], directory)?;
        let http = SocketAddr::from(([127, 0, 0, 1], 7480));
        daemon.wait_until_ready("the collector", http)?;
        Ok(Self { _daemon: daemon, http })
    }

    /// Events that match a query such as `verdict=deny&workload=a`, newest first, at most 1000.
    pub(crate) fn events(&self, query: &str) -> anyhow::Result<Vec<Value>> {
        let page: Value = serde_json::from_str(&get(self.http, &format!("/events?limit=1000&{query}"))?)?;
        page["events"].as_array().cloned().context("the collector's answer has no events")
    }

    /// How many events match, over all pages.
    pub(crate) fn count(&self, query: &str) -> anyhow::Result<usize> {
        let mut count = 0;
        self.each(query, |_| count += 1)?;
        Ok(count)
    }

    /// Shows every event that matches to `look`, over all pages.
    pub(crate) fn each(&self, query: &str, mut look: impl FnMut(&Value)) -> anyhow::Result<()> {
        let mut cursor = String::new();
        loop {
            let page: Value = serde_json::from_str(&get(self.http, &format!("/events?limit=1000&{query}{cursor}"))?)?;
            page["events"].as_array().context("no events in the answer")?.iter().for_each(&mut look);
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(()),
            }
        }
    }
}

/// Where an agent of the tests keeps its things, and what it is given.
pub(crate) struct Node {
    /// Its directory.
    pub(crate) directory: PathBuf,
    /// Where it answers about itself.
    admin: SocketAddr,
    pins: PathBuf,
}

impl Node {
    /// Lays out directories and the configuration, to which `settings` adds lines; the SBOM is for the image with `digest`. Its
    /// port is `number` above the usual one: several agents can run side by side.
    pub(crate) fn new(
        directory: &Path,
        number: u16,
        digest: &str,
        sbom: &Path,
        settings: &str,
    ) -> anyhow::Result<Self> {
        for name in ["policies", "sboms", "state"] {
            fs::create_dir_all(directory.join(name))?;
        }
        fs::copy(sbom, directory.join("sboms").join(format!("{}.json", digest.replace(':', "-"))))?;
        let admin = SocketAddr::from(([127, 0, 0, 1], 9464 + number));
        let pins = if number == 0 { "plimsoll".to_owned() } else { format!("plimsoll-{number}") };
        let pins = Path::new("/sys/fs/bpf").join(pins);
        let path = directory.display();
        let config = format!(
            "node: guest\npolicies: {path}/policies\nsboms: {path}/sboms\nstate: {path}/state\nsocket: {path}/agent.sock\n\
             pins: {}\nadmin: {admin}\n{settings}\n\
             collector:\n  endpoint: http://127.0.0.1:7443\n",
            pins.display()
        );
        fs::write(directory.join("agent.yaml"), config)?;
        Ok(Self { directory: directory.to_owned(), admin, pins })
    }

    /// The agent's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("agent.sock")
    }

    /// Writes a policy file.
    pub(crate) fn write_policy(&self, file: &str, text: &str) -> anyhow::Result<()> {
        Ok(fs::write(self.directory.join("policies").join(file), text)?)
    }

    /// Starts the agent and waits until it is ready.
    pub(crate) fn start_agent(&self) -> anyhow::Result<Agent> {
        let mut agent = self.launch_agent()?;
        agent.wait_until_ready()?;
        Ok(agent)
    }

    /// Lets go of everything that agents pinned: the kernel is as it was before the first one.
    pub(crate) fn detach(&self) -> anyhow::Result<()> {
        fs::remove_dir_all(&self.pins).with_context(|| format!("cannot remove {}", self.pins.display()))?;
        let state = self.directory.join("state");
        fs::remove_dir_all(&state).with_context(|| format!("cannot remove {}", state.display()))?;
        Ok(fs::create_dir(&state)?)
    }

    /// Starts the agent and does not wait.
    pub(crate) fn launch_agent(&self) -> anyhow::Result<Agent> {
        self.launch_agent_from(Path::new("/payload/bin/plimsoll-agent"))
    }

    /// Starts another file as the agent, as an upgrade does, and does not wait.
    pub(crate) fn launch_agent_from(&self, program: &Path) -> anyhow::Result<Agent> {
        let config = self.directory.join("agent.yaml");
        let config = config.to_str().context("the path is text")?;
        let daemon = Daemon::start("plimsoll-agent", program, &["run", "--config", config], &self.directory)?;
        Ok(Agent { daemon, admin: self.admin })
    }

    /// Starts the agent as a member of a cgroup, and does not wait.
    pub(crate) fn launch_agent_in(&self, cgroup: &Path) -> anyhow::Result<Agent> {
        let script = format!(
            "echo $$ > {}/cgroup.procs && exec /payload/bin/plimsoll-agent run --config {}/agent.yaml",
            cgroup.display(),
            self.directory.display()
        );
        let daemon = Daemon::start("plimsoll-agent", Path::new("/bin/sh"), &["-c", &script], &self.directory)?;
        Ok(Agent { daemon, admin: self.admin })
    }

    /// Whether an agent says that it is ready.
    pub(crate) fn is_ready(&self) -> bool {
        get(self.admin, "/readyz").is_ok()
    }
}

/// A running agent.
pub(crate) struct Agent {
    /// The process.
    pub(crate) daemon: Daemon,
    admin: SocketAddr,
}

impl Agent {
    /// Waits until connections to it are taken, which nobody answers yet.
    pub(crate) fn wait_until_it_listens(&self) -> anyhow::Result<()> {
        wait_for("the agent to listen", || Ok(TcpStream::connect(self.admin).map(drop)?))
    }

    /// Waits until it says that it is ready.
    pub(crate) fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        self.daemon.wait_until_ready("the agent to be ready", self.admin)
    }

    /// One metric's value; `series` is the whole left side of its line.
    pub(crate) fn metric(&self, series: &str) -> anyhow::Result<u64> {
        let text = self.metrics()?;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(line.with_context(|| format!("no series `{series}`"))?.trim().parse()?)
    }

    /// Waits until a metric has at least `value`.
    pub(crate) fn metric_reaches(&self, series: &str, value: u64) -> anyhow::Result<u64> {
        wait_for(series, || {
            let found = self.metric(series)?;
            ensure!(found >= value, "{series} is {found}, not {value}: {}", self.daemon.log());
            Ok(found)
        })
    }

    /// Has it read its policies again, and waits until they are in force.
    pub(crate) fn reload(&self) -> anyhow::Result<()> {
        const RELOADS: &str = "plimsoll_policy_reloads_total";
        let before = self.metric(RELOADS)?;
        self.daemon.signal(libc::SIGHUP)?;
        self.metric_reaches(RELOADS, before + 1).map(drop)
    }

    /// A counter of the kernel programs.
    pub(crate) fn kernel(&self, counter: &str) -> anyhow::Result<u64> {
        self.metric(&format!("plimsoll_kernel_counter_total{{counter=\"{counter}\"}}"))
    }

    /// All metrics as scraped.
    pub(crate) fn metrics(&self) -> anyhow::Result<String> {
        get(self.admin, "/metrics")
    }
}

/// A GET that must be answered with 200.
pub(crate) fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no body")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    ensure!(status == "200", "{path}: {status} {body}");
    Ok(body.to_owned())
}
