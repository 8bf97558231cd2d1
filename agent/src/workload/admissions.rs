//! Containers on their way in and out, whoever introduces them: the image's digest is looked up, the registry asked, the outcome
//! counted and told.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use plimsoll_sbom::display_path;
use tokio::sync::mpsc;

use super::{
    Admitted, Entered, Registry, Workload,
    cri::Cri,
    examine::{self, Examined},
    hook::Answer,
    spec::{self, OciState, within},
};
use crate::{
    event::Decoded,
    metrics::{
        Admission, AdmissionLabels, DigestLabels, DigestLookup, ExaminedLabels, Metrics, Reconciled, ReconciledLabels,
    },
    nri::{Containers, Progress, Told},
};

/// Where container runtimes keep the bundles of Kubernetes' containers, below which each has a directory named by its id: containerd,
/// the one of k3s, CRI-O.
const BUNDLES: [(&str, &str); 3] = [
    ("run/containerd/io.containerd.runtime.v2.task/k8s.io", ""),
    ("run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io", ""),
    ("run/containers/storage/overlay-containers", "userdata"),
];
/// Deviations of one container that are told one by one.
const TOLD: usize = 100;

/// The way in and out.
#[expect(missing_debug_implementations, reason = "the registry holds handles on kernel objects")]
pub struct Admissions {
    registry: Arc<Registry>,
    /// Who knows images' digests; without it annotations have to say them.
    images: Option<Cri>,
    host: PathBuf,
    metrics: Metrics,
    /// Where deviations go that were found in running containers.
    reports: mpsc::Sender<Decoded>,
    /// Ids of containers that are being introduced.
    under_way: Mutex<HashSet<String>>,
}

impl Admissions {
    /// Finds bundles under `host`. What running containers have loaded against their policy goes to `reports`.
    pub fn new(
        registry: Arc<Registry>,
        images: Option<Cri>,
        host: PathBuf,
        metrics: Metrics,
        reports: mpsc::Sender<Decoded>,
    ) -> Self {
        Self { registry, images, host, metrics, reports, under_way: Mutex::default() }
    }

    /// A hook introduces a container, and its runtime waits. `runtime` is a process in the runtime's mount namespace. Blocks while an
    /// image is read for the first time.
    pub fn create(&self, state: &OciState, runtime: u32) -> Answer {
        let _under_way = self.begin(&state.id);
        let answer = self.admit(state, runtime, Entered::NotYet);
        self.measure();
        match answer {
            Ok(Some(workload)) => {
                let policy = &workload.policy;
                let allowed = policy.entries.len();
                Answer::Proceed(format!("policy `{}` ({}), {allowed} files allowed", policy.name, policy.mode))
            }
            Ok(None) => Answer::Proceed("no policy selects this container".to_owned()),
            Err(why) => Answer::Refuse(why),
        }
    }

    /// Forgets a container that has ended.
    pub fn dismiss(&self, id: &str) -> Answer {
        let answer = match self.registry.dismiss(id) {
            Ok(known) => Answer::Proceed(if known { "forgotten" } else { "was not known" }.to_owned()),
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::from(error));
                tracing::error!(workload = %id, %error, "cannot forget a container");
                Answer::Refuse(error)
            }
        };
        self.measure();
        answer
    }

    /// The workload, if a policy selects the container.
    fn admit(&self, state: &OciState, runtime: u32, entered: Entered) -> Result<Option<Arc<Workload>>, String> {
        let id = &state.id;
        let count = |outcome| self.metrics.admissions.get_or_create(&AdmissionLabels { outcome }).inc();
        let admitted = self
            .identified(state)
            .and_then(|state| self.registry.admit(&state, runtime, entered).map_err(anyhow::Error::from));
        match admitted {
            Ok(Admitted::Selected(workload)) => {
                count(Admission::Admitted);
                tell(&workload);
                Ok(Some(workload))
            }
            Ok(Admitted::Unselected) => {
                count(Admission::Unselected);
                tracing::info!(workload = %id, "no policy selects this container; it runs without enforcement");
                Ok(None)
            }
            Err(error) => {
                count(Admission::Refused);
                let error = format!("{error:#}");
                tracing::error!(workload = %id, %error, "refused");
                Err(error)
            }
        }
    }

    /// The container with its image's digest, as the runtime's word. If that cannot be had, only a container that no policy could
    /// select goes on.
    fn identified(&self, state: &OciState) -> anyhow::Result<OciState> {
        let mut state = state.clone();
        let Some(images) = &self.images else { return Ok(state) };
        let count = |outcome| {
            self.metrics.digest_lookups.get_or_create(&DigestLabels { outcome }).inc();
        };
        let facts = state.facts();
        match images.digest(&state.id, facts.image_reference.as_deref()) {
            Ok(Some(digest)) => {
                count(DigestLookup::Resolved);
                state.annotations.insert(spec::DIGEST.to_owned(), digest);
            }
            // Another runtime's container: its annotations are all there is.
            Ok(None) => count(DigestLookup::NotOfCri),
            Err(error) => {
                count(DigestLookup::Failed);
                state.annotations.remove(spec::DIGEST);
                if self.registry.policies().iter().any(|policy| policy.could_match(&facts)) {
                    return Err(error.into());
                }
                let error = format!("{:#}", anyhow::Error::from(error));
                tracing::warn!(workload = %state.id, %error, "the image's digest is not known; no policy asks for it");
            }
        }
        Ok(state)
    }

    fn adopt(&self, told: &Told) -> Result<Reconciled, String> {
        let Some(_under_way) = self.begin(&told.id) else { return Ok(Reconciled::AlreadyKnown) };
        if self.registry.all().iter().any(|workload| workload.id == told.id) {
            return Ok(Reconciled::AlreadyKnown);
        }
        let state = OciState {
            id: told.id.clone(),
            pid: told.pid,
            bundle: bundle(&self.host, &told.id)?,
            annotations: told.annotations.clone(),
        };
        let admitted = self.admit(&state, told.runtime, Entered::Root)?;
        let Some(workload) = admitted else { return Ok(Reconciled::Unselected) };
        let began_meanwhile = match told.progress {
            Progress::Running => true,
            Progress::Starting(until) => Instant::now() >= until,
        };
        if began_meanwhile {
            self.examine(&workload, told);
        }
        Ok(Reconciled::Admitted)
    }

    /// What the container has loaded before anybody looked.
    fn examine(&self, workload: &Workload, told: &Told) {
        let place = examine::Place { host: &self.host, directory: self.registry.cgroup_of(told.pid, &told.id) };
        let found = examine::workload(&place, workload, told.runtime);
        for (outcome, number) in &found.counts {
            self.metrics.examined.get_or_create(&ExaminedLabels { outcome: *outcome }).inc_by(*number);
        }
        let deviations =
            found.counts.iter().filter(|(outcome, _)| **outcome != Examined::Listed).map(|(_, n)| n).sum::<u64>();
        tracing::info!(
            workload = %workload.id, processes = found.processes, mappings = found.counts.values().sum::<u64>(), deviations,
            "what ran before the policy was in force has been looked at"
        );
        for deviation in found.deviations.iter().take(TOLD) {
            let examine::Deviation { pid, hook, reason, path, times, .. } = deviation;
            tracing::warn!(
                workload = %workload.id, policy = %workload.policy.name, pid, ?hook, ?reason, path = display_path(path), times,
                "code that the policy does not allow was loaded before it was in force, and still is"
            );
        }
        for deviation in &found.deviations {
            if self.reports.try_send(deviation.record(workload)).is_err() {
                self.metrics.examined_unreported.inc();
            }
        }
    }

    /// `None` if the container is being introduced already.
    fn begin(&self, id: &str) -> Option<UnderWay<'_>> {
        let new = self.under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned());
        new.then(|| UnderWay { all: &self.under_way, id: id.to_owned() })
    }

    fn measure(&self) {
        self.metrics.workloads.set(i64::try_from(self.registry.all().len()).unwrap_or(i64::MAX));
        self.metrics.entries.set(i64::try_from(self.registry.enforcer().entries()).unwrap_or(i64::MAX));
    }

    fn reconciled(&self, outcome: Reconciled) {
        self.metrics.reconciled.get_or_create(&ReconciledLabels { outcome }).inc();
    }
}

impl Containers for Admissions {
    fn introduce(&self, container: &Told) -> Result<(), String> {
        let outcome = self.adopt(container);
        self.reconciled(*outcome.as_ref().unwrap_or(&Reconciled::Failed));
        self.measure();
        outcome.map(|_| ())
    }

    fn undescribed(&self, id: &str, why: &str) {
        self.reconciled(Reconciled::Failed);
        tracing::error!(workload = %id.chars().take(255).collect::<String>(), why, "a container cannot be introduced");
    }

    fn ended(&self, id: &str) {
        // A failure is told there.
        self.dismiss(id);
    }

    fn forget_ended(&self) {
        if let Err(error) = self.registry.forget_ended() {
            let error = format!("{:#}", anyhow::Error::from(error));
            tracing::error!(%error, "containers that have ended meanwhile cannot be forgotten");
        }
        self.measure();
    }
}

/// Ends when a container was introduced, or was not.
struct UnderWay<'a> {
    all: &'a Mutex<HashSet<String>>,
    id: String,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

fn tell(workload: &Workload) {
    let policy = &workload.policy;
    let (allowed, refused) = (policy.entries.len(), policy.refused.len());
    let jit = policy.anonymous_exec_for.as_deref();
    tracing::info!(
        workload = %workload.id, policy = %policy.name, mode = %policy.mode, allowed, refused, jit, "admitted"
    );
    for warning in &policy.warnings {
        tracing::warn!(workload = %workload.id, policy = %policy.name, %warning, "worth a look");
    }
}

/// The directory with the container's `config.json`, as the runtime sees it.
fn bundle(host: &Path, id: &str) -> Result<PathBuf, String> {
    if !spec::is_id(id) {
        return Err(format!("{:?} is not an id of a container", id.chars().take(255).collect::<String>()));
    }
    let places = BUNDLES.map(|(parent, below)| Path::new("/").join(parent).join(id).join(below));
    let found = places.iter().find(|bundle| within(host, bundle).join("config.json").is_file());
    found.cloned().ok_or_else(|| {
        let tried = places.map(|bundle| format!("`{}`", bundle.display()));
        format!("the container's `config.json` is in none of {}", tried.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_are_found_where_runtimes_keep_them() {
        let host = tempfile::tempdir().unwrap();
        let error = bundle(host.path(), "c1").unwrap_err();
        assert!(error.contains("k8s.io/c1") && error.contains("overlay-containers/c1"), "{error}");
        let crio = "/run/containers/storage/overlay-containers/c1/userdata";
        std::fs::create_dir_all(within(host.path(), Path::new(crio))).unwrap();
        std::fs::write(within(host.path(), Path::new(crio)).join("config.json"), "{}").unwrap();
        assert_eq!(bundle(host.path(), "c1").unwrap(), Path::new(crio));
        assert!(bundle(host.path(), "../c1").unwrap_err().contains("not an id"));
    }
}
