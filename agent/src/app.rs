//! Puts the agent together, and keeps it running until it is told to stop.

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use plimsoll_policy::Policy;
use plimsoll_registry::Client;
use plimsoll_rootfs::LayerCache;
use tokio::{
    io::unix::AsyncFd,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};

use crate::{
    admin::{self, Readiness},
    config::Config,
    enforcer::Enforcer,
    event::{DecodeError, Decoded, decode},
    export::Export,
    kubernetes::Cluster,
    metrics::Metrics,
    nri, policies,
    sensor::{
        Sensor, canary,
        guard::{Absence, Guard, GuardError},
        maps::{Ring, Stats},
        preflight,
    },
    workload::{
        Places, Registry,
        admissions::Admissions,
        cri::Cri,
        image::Images,
        parser::{self, Parser},
        reach::Guarded,
        server::Server,
        sources::{self, Source, Sources},
    },
};

/// How often telemetry is read and replaced allowlists are removed.
const TICK: Duration = Duration::from_millis(200);
/// How often the collector is told what the kernel lost.
const LOSS_REPORTS: Duration = Duration::from_secs(2);
/// Records taken from a ring before others get their turn.
const BATCH: usize = 512;
/// Reports about running containers that may wait.
const EXAMINED: usize = 4096;

/// Runs the agent. Returns once it was told to stop; enforcement goes on without it.
pub async fn run(config: Config) -> anyhow::Result<()> {
    // First of all, since without a handler the signal ends the process. To stop needs none before there is something to finish.
    let hangups = signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?;
    let (stop, stopped) = watch::channel(());
    let metrics = Metrics::default();
    let readiness = Readiness::default();
    let listener = admin::bind(config.admin).await.with_context(|| format!("cannot listen on {}", config.admin))?;
    refuse_unfit(&config)?;
    let own = policies::load(&config)?;
    let cluster = Cluster::start(&config).await?;
    let Sensor { hooks, maps, guard } = Sensor::start(&config.pins, &config.cgroups, &config.capacity)?;
    for hook in hooks.absent() {
        tracing::info!(hook, "this kernel does not have the hook, and need not");
    }
    let export = Export::start(&config, cluster.clone(), stopped.clone())?;
    let stats = Arc::new(maps.stats);
    report_absence(&guard, &stats, &metrics)?;
    let mut registered = metrics.registry(Arc::clone(&stats), export.metrics());
    if let Some(cluster) = &cluster {
        registered.register_collector(Box::new(cluster.metrics()));
    }
    // Health answers, red, from here on: the rest can take its time, or fail.
    tokio::spawn(admin::serve(listener, registered, readiness.clone(), until_stopped(stopped)));
    let (mut denials, mut waiting) = (maps.denials, Vec::new());
    let mut enforcer = Enforcer::new(hooks, maps.policy, config.report_executions)?;
    canary::prove(&mut enforcer, &mut denials, &config.cgroups, &mut waiting)
        .context("this kernel does not deny what it is told to deny")?;
    tracing::info!("a canary was denied by the kernel");
    let policies = Policies::new(own, cluster);
    let mut registry = Registry::new(places(&config), images(&config)?, enforcer, policies.all())?;
    policies.cluster.iter().for_each(|cluster| registry.know_pods(cluster.pods()));
    let registry = Arc::new(registry);
    resume(&registry)?;
    registry.await_containers(config.pods.as_ref()).context("cannot wait for pods")?;
    if let Some(cluster) = policies.cluster.clone() {
        tokio::spawn(cluster.report(Arc::clone(&registry)));
    }
    // SAFETY: the ring owns its descriptor and keeps it open as long as it lives; nothing takes it out.
    let denials = unsafe { AsyncFd::register(Watched(denials)) }.context("cannot watch the ring of denials")?;
    let (reports, examined) = mpsc::channel(EXAMINED);
    let mut reader = Reader {
        registry: Arc::clone(&registry),
        export,
        metrics: metrics.clone(),
        stats,
        denials,
        telemetry: maps.telemetry,
        guard,
        examined,
        policies,
    };
    for event in waiting {
        reader.take(event);
    }
    let server =
        Server::bind(&config.socket).with_context(|| format!("cannot listen on `{}`", config.socket.display()))?;
    let admissions = Arc::new(admissions(&config, registry, &metrics, reports)?);
    let serving = tokio::spawn(server.serve(Arc::clone(&admissions)));
    // Only now is everything there that is to be protected.
    protect(&mut reader.guard, &config)?;
    // The runtime's containers get hooks, which somebody must answer.
    let plugin =
        config.nri.clone().map(|nri| tokio::spawn(nri::run(nri, config.socket.clone(), admissions, metrics.clone())));
    metrics.ready.set(1);
    readiness.set();
    reader.run(&config, hangups).await?;
    serving.abort();
    if let Some(plugin) = plugin {
        plugin.abort();
    }
    drop(stop);
    reader.export.finish().await;
    tracing::info!("stopped; enforcement goes on");
    Ok(())
}

/// Says all that is wrong, then gives up.
fn refuse_unfit(config: &Config) -> anyhow::Result<()> {
    let failed: Vec<_> =
        preflight::checks(&config.cgroups, &config.pins).into_iter().filter(|check| !check.is_passed()).collect();
    match failed.as_slice() {
        [] => Ok(()),
        failed => {
            let lines: Vec<_> = failed.iter().map(preflight::Check::sentence).collect();
            anyhow::bail!("this node cannot enforce: {}", lines.join("; "))
        }
    }
}

fn places(config: &Config) -> Places {
    Places {
        host: config.host.clone(),
        cgroups: config.cgroups.clone(),
        state: config.state.clone(),
        guarded: guarded(config),
    }
}

/// The way in for containers, whoever introduces them.
fn admissions(
    config: &Config,
    registry: Arc<Registry>,
    metrics: &Metrics,
    reports: mpsc::Sender<Decoded>,
) -> anyhow::Result<Admissions> {
    let images = config.cri.as_ref().map(|cri| Cri::new(cri, &config.host)).transpose()?;
    if config.nri.is_some() && images.is_none() {
        tracing::warn!(
            "`nri` without `cri`: nothing says which image a container has, so that none under a policy can start"
        );
    }
    Ok(Admissions::new(registry, images, config.host.clone(), metrics.clone(), reports))
}

/// Where SBOMs come from and what parses them.
fn images(config: &Config) -> anyhow::Result<Images> {
    let asks_registry = config.sbom_sources.contains(&Source::Registry);
    let mut registry = config.registry.clone();
    registry.cache.get_or_insert_with(|| config.state.join("documents"));
    let client = asks_registry.then(|| Client::new(registry)).transpose().context("cannot ask registries")?;
    let places = sources::Places {
        order: config.sbom_sources.clone(),
        directory: config.sboms.clone(),
        keys: config.trust.keys.clone(),
        root: config.trust.root.clone(),
        memory: config.state.join("allowlist-versions.json"),
    };
    let limits = parser::Limits { memory: config.parser.memory_bytes, seconds: config.parser.timeout_seconds };
    // The program that runs, even if its file was replaced since.
    let parser = Parser::new("/proc/self/exe".into(), limits);
    let layers = LayerCache::open(&config.state.join("layers"), config.layer_cache_bytes)?;
    Ok(Images::new(Sources::new(places, client), parser, layers, config.host.clone()))
}

/// What no workload may touch.
fn guarded(config: &Config) -> Guarded {
    let Config { policies, sboms, state, socket, pins, file, .. } = config;
    let own = [policies, sboms, state, pins].into_iter().chain(file).cloned();
    let paths = own.chain(std::env::current_exe().ok()).collect();
    Guarded { paths, socket: socket.clone() }
}

/// Tells the kernel programs what to protect of this agent.
fn protect(guard: &mut Guard, config: &Config) -> Result<(), GuardError> {
    let Guarded { paths, socket } = guarded(config);
    for path in paths.iter().map(PathBuf::as_path).chain(socket.parent()) {
        guard.protect(path)?;
    }
    guard.protect_cgroup(&config.cgroups)?;
    guard.forget_others()
}

/// Tells for how long no agent was there, and what the kernel did meanwhile.
fn report_absence(guard: &Guard, stats: &Stats, metrics: &Metrics) -> anyhow::Result<()> {
    let Some(Absence { seconds, denials, lost }) = guard.absence(stats)? else { return Ok(()) };
    metrics.absence_seconds.set(seconds);
    metrics.absence_denials.set(denials);
    metrics.absence_denials_lost.set(lost);
    tracing::warn!(seconds, denials, lost, "no agent was there; the kernel went on enforcing, and lost these reports");
    Ok(())
}

fn resume(registry: &Registry) -> anyhow::Result<()> {
    let resumed = registry.resume()?;
    if resumed.switched > 0 {
        tracing::info!(workloads = resumed.switched, "took over running workloads");
    }
    for (workload, error) in resumed.kept {
        let error = format!("{:#}", anyhow::Error::from(error));
        tracing::error!(%workload, %error, "this workload keeps the allowlist it had; its events cannot be explained");
    }
    Ok(())
}

async fn until_stopped(mut stopped: watch::Receiver<()>) {
    // The sender is dropped to stop; that is the only change there is.
    while stopped.changed().await.is_ok() {}
}

/// A ring whose descriptor can be waited for.
struct Watched(Ring);

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0.descriptor()
    }
}

/// Takes events from the kernel, explains them, and hands them on.
struct Reader {
    registry: Arc<Registry>,
    export: Export,
    metrics: Metrics,
    stats: Arc<Stats>,
    denials: AsyncFd<Watched>,
    telemetry: Ring,
    guard: Guard,
    /// What was found in containers that ran before they were under a policy.
    examined: mpsc::Receiver<Decoded>,
    policies: Policies,
}

/// Where policies come from.
struct Policies {
    /// Those of the directory, or of bundles, that are in force.
    own: Vec<Policy>,
    cluster: Option<Cluster>,
    changes: Option<watch::Receiver<u64>>,
}

impl Policies {
    fn new(own: Vec<Policy>, cluster: Option<Cluster>) -> Self {
        let changes = cluster.as_ref().and_then(Cluster::changes);
        Self { own, cluster, changes }
    }

    /// Everything that is in force.
    fn all(&self) -> Vec<Policy> {
        let cluster = self.cluster.as_ref().map(Cluster::policies).unwrap_or_default();
        self.own.iter().cloned().chain(cluster).collect()
    }

    /// Whether the API server's have changed since the last time this was asked.
    fn have_changed(&mut self) -> bool {
        let Some(changes) = &mut self.changes else { return false };
        let is_news = changes.has_changed().unwrap_or(false);
        if is_news {
            changes.mark_unchanged();
        }
        is_news
    }
}

impl Reader {
    async fn run(&mut self, config: &Config, mut hangups: Signal) -> io::Result<()> {
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut ticks = ticker(TICK);
        let mut reports = ticker(LOSS_REPORTS);
        loop {
            tokio::select! {
                _ = term.recv() => return Ok(()),
                _ = int.recv() => return Ok(()),
                _ = hangups.recv() => self.reload(config),
                _ = ticks.tick() => self.tick(),
                _ = reports.tick() => self.report(),
                Some(found) = self.examined.recv() => self.hand_on(Ok(found)),
                ready = self.denials.readable_mut() => {
                    let mut ready = ready?;
                    let batch = read_batch(&mut ready.get_inner_mut().0);
                    if batch.len() < BATCH {
                        ready.clear_ready();
                    }
                    drop(ready);
                    for event in batch {
                        self.take(event);
                    }
                }
            }
        }
    }

    fn tick(&mut self) {
        // The ring wakes its reader only if that had caught up; reading here as well leaves nothing behind.
        for event in read_batch(&mut self.denials.get_mut().0) {
            self.take(event);
        }
        for event in read_batch(&mut self.telemetry) {
            self.metrics.telemetry_read.inc();
            self.hand_on(event);
        }
        // Many changes in a short time are one.
        if self.policies.have_changed() {
            self.enforce_policies();
        }
        if let Err(error) = self.registry.enforcer().sweep(Instant::now()) {
            tracing::error!(%error, "entries of a replaced allowlist could not be removed; they allow nothing");
        }
    }

    /// Says what was lost, and that somebody is there.
    fn report(&mut self) {
        self.export.report_losses(&self.stats, self.metrics.undecodable.get());
        match self.registry.count_pending() {
            Ok(pending) => {
                self.metrics.pending_cgroups.set(i64::try_from(pending).unwrap_or(i64::MAX));
            }
            Err(error) => tracing::error!(%error, "containers that nobody has introduced cannot be counted"),
        }
        match self.registry.enforcer().recursion_misses() {
            Ok(misses) => {
                self.metrics.recursion_misses.set(misses);
            }
            Err(error) => tracing::error!(%error, "the kernel does not say how often a program was left out"),
        }
        if let Err(error) = self.guard.beat(&self.stats) {
            tracing::error!(%error, "no sign of life can be left; the next agent reports too long an absence");
        }
    }

    /// Takes a denial or audit.
    fn take(&mut self, event: Result<Decoded, DecodeError>) {
        self.metrics.denials_read.inc();
        self.hand_on(event);
    }

    fn hand_on(&mut self, event: Result<Decoded, DecodeError>) {
        match event {
            Ok(event) => {
                let pending = self.registry.pending() == Some(event.label());
                self.export.submit(&event, self.registry.find(event.label()).as_deref(), pending);
            }
            Err(error) => {
                self.metrics.undecodable.inc();
                tracing::error!(%error, "a kernel record cannot be decoded");
            }
        }
    }

    /// Takes a new set of the directory's policies whole, or keeps the old one.
    fn reload(&mut self, config: &Config) {
        match policies::load(config) {
            Ok(policies) => {
                self.policies.own = policies;
                self.enforce_policies();
            }
            Err(error) => {
                self.metrics.reloads_rejected.inc();
                tracing::error!(%error, "the new policies are refused; the ones in force stay");
            }
        }
    }

    fn enforce_policies(&self) {
        let outcome = self.registry.reload(self.policies.all());
        self.metrics.reloads.inc();
        tracing::info!(workloads = outcome.switched, "new policies are in force");
        if let Some(cluster) = &self.policies.cluster {
            cluster.note(&self.registry, &outcome);
        }
        for (workload, error) in outcome.kept {
            let error = format!("{:#}", anyhow::Error::from(error));
            tracing::error!(%workload, %error, "this workload keeps the policy it had");
        }
    }
}

fn ticker(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn read_batch(ring: &mut Ring) -> Vec<Result<Decoded, DecodeError>> {
    std::iter::from_fn(|| ring.next(decode)).take(BATCH).collect()
}
