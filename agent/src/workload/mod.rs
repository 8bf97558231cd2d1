//! Which containers run here, and what each of them may run.

pub mod admissions;
pub mod cgroup;
mod compiled;
pub mod content;
pub mod cri;
pub mod examine;
pub mod hook;
pub mod image;
pub mod mounts;
pub mod parser;
pub mod pending;
pub mod pod;
pub mod reach;
pub mod server;
pub mod sources;
pub mod spec;
mod store;
pub mod volumes;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock},
    time::{Duration, Instant},
};

use plimsoll_abi::Label;
use plimsoll_kubernetes::Pods;
use plimsoll_policy::{CompileError, CompiledPolicy, Policy, WorkloadFacts};

use self::{
    cgroup::CgroupError,
    compiled::Compiled,
    image::{Image, ImageError, Images},
    mounts::{MountError, Overlay},
    pod::PodRef,
    reach::{Guarded, reaches_out},
    spec::{OciState, SpecError},
    store::{Saved, Store},
    volumes::VolumeError,
};
use crate::enforcer::{Admission, EnforceError, Enforcer, ListIdentity, Mounted};

/// How often admissions look for workloads that have ended without a word.
const ENDED_EVERY: Duration = Duration::from_secs(1);

/// Why a container was not admitted, or a workload not switched.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error("policy `{policy}` cannot be compiled for this image")]
    Compile {
        policy: String,
        #[source]
        source: CompileError,
    },
    #[error(transparent)]
    Enforce(#[from] EnforceError),
    #[error("cannot read the mounts of process {pid}")]
    MountInfo {
        pid: u32,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Volumes(#[from] VolumeError),
    #[error(transparent)]
    Store(#[from] store::StoreError),
}

/// A container under a policy.
#[derive(Debug)]
pub struct Workload {
    /// The container's id.
    pub id: String,
    /// Its slot in the kernel.
    pub label: Label,
    /// Its cgroup id.
    pub cgroup: u64,
    /// What selected the policy.
    pub facts: WorkloadFacts,
    /// What its runtime mounted into it.
    pub volumes: Vec<Mounted>,
    /// Its image.
    pub image: Arc<Image>,
    /// What is in force.
    pub policy: Arc<CompiledPolicy>,
    /// The pod it is of.
    pub pod: Option<PodRef>,
}

/// How far a container's first process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// It has its mounts, and still the runtime's root: a hook runs.
    NotYet,
    /// Its root is the container's, whose program may run already.
    Root,
}

/// What became of a container that was introduced.
#[derive(Debug)]
pub enum Admitted {
    /// It is under a policy.
    Selected(Arc<Workload>),
    /// No policy selects it.
    Unselected,
}

/// What a policy reload changed.
#[derive(Debug, Default)]
pub struct Reloaded {
    /// Workloads that are under the new policies.
    pub switched: usize,
    /// Workloads left as they were, and why.
    pub kept: Vec<(String, WorkloadError)>,
}

/// Paths the registry works with.
#[derive(Clone, Debug)]
pub struct Places {
    /// Where the host's root is seen.
    pub host: PathBuf,
    /// The cgroup v2 hierarchy.
    pub cgroups: PathBuf,
    /// Where admitted workloads are remembered across restarts.
    pub state: PathBuf,
    /// What no workload may touch, by its paths on the node.
    pub guarded: Guarded,
}

/// All workloads of the node.
#[expect(missing_debug_implementations, reason = "holds handles on kernel objects")]
pub struct Registry {
    places: Places,
    images: Images,
    store: Store,
    enforcer: Mutex<Enforcer>,
    policies: RwLock<Arc<Vec<Policy>>>,
    workloads: RwLock<HashMap<Label, Arc<Workload>>>,
    compiled: Mutex<Compiled>,
    looked_for_ended: Mutex<Option<Instant>>,
    /// The slot of containers that nobody has introduced, if any are waited for.
    pending: OnceLock<Label>,
    pods: Pods,
}

impl Registry {
    /// Starts with no workload; see [`Registry::resume`].
    pub fn new(
        places: Places,
        images: Images,
        enforcer: Enforcer,
        policies: Vec<Policy>,
    ) -> Result<Self, WorkloadError> {
        Ok(Self {
            images,
            store: Store::open(&places.state)?,
            places,
            enforcer: Mutex::new(enforcer),
            policies: RwLock::new(Arc::new(policies)),
            workloads: RwLock::default(),
            compiled: Mutex::default(),
            looked_for_ended: Mutex::default(),
            pending: OnceLock::new(),
            pods: Pods::default(),
        })
    }

    /// Lets what an API server says about pods take part in the choice of policies.
    pub fn know_pods(&mut self, pods: Pods) {
        self.pods = pods;
    }

    /// The policy maps' sole writer.
    pub fn enforcer(&self) -> MutexGuard<'_, Enforcer> {
        self.enforcer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The workload behind a label in an event.
    pub fn find(&self, label: Label) -> Option<Arc<Workload>> {
        self.workloads.read().unwrap_or_else(PoisonError::into_inner).get(&label).cloned()
    }

    /// All workloads.
    pub fn all(&self) -> Vec<Arc<Workload>> {
        self.workloads.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The slot of containers that nobody has introduced, if any are waited for.
    pub fn pending(&self) -> Option<Label> {
        self.pending.get().copied()
    }

    /// Policies in force.
    pub fn policies(&self) -> Arc<Vec<Policy>> {
        Arc::clone(&self.policies.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a container under its policy. When this returns, the kernel holds the allowlist.
    /// `runtime` is a process in the runtime's mount namespace. Takes as long as reading the image's layers takes.
    pub fn admit(&self, state: &OciState, runtime: u32, entered: Entered) -> Result<Admitted, WorkloadError> {
        state.validate()?;
        if self.looks_for_ended(&state.id) {
            self.forget_ended()?;
        }
        let state = &self.labelled(state);
        let facts = state.facts();
        let policies = self.policies();
        let Some(policy) = plimsoll_policy::select(&policies, &facts) else {
            self.let_go(state)?;
            return Ok(Admitted::Unselected);
        };
        let overlay = self.overlay(state, runtime)?;
        let (image, compiled) = self.prepare(policy, &facts, &overlay)?;
        let (directory, root) = match entered {
            Entered::NotYet => (cgroup::directory(&self.places.cgroups, state.pid)?, state.root(&self.places.host)?),
            Entered::Root => (self.cgroup_of(state.pid, &state.id)?, PathBuf::from("/")),
        };
        let volumes = volumes::volumes(state.pid, &root, overlay.dev)?;
        volumes::can_be_named(&compiled, &volumes)?;
        let admission = Admission {
            cgroup: cgroup::id(&directory)?,
            root_dev: overlay.dev,
            runtime_mnt_ns: cgroup::mount_namespace(runtime)?,
            reach: reaches_out(&state.config(&self.places.host)?, &self.places.guarded),
            volumes: volumes.clone(),
        };
        let cgroup = admission.cgroup;
        let label = self.enforcer().admit(&admission, &identity(&image, &compiled), &compiled)?;
        let saved = Saved { state: state.clone(), overlay, volumes, cgroup, label: label.into() };
        let entered = if entered == Entered::Root { self.enter_below(&directory, label) } else { Ok(()) };
        let kept = entered.and_then(|()| Ok(self.store.save(&saved)?));
        if let Err(error) = kept {
            self.enforcer().dismiss(label)?;
            return Err(error);
        }
        Ok(Admitted::Selected(self.insert(&saved, facts, image, compiled)))
    }

    /// The cgroup of a running container, whatever cgroup below it its first process is in now.
    pub fn cgroup_of(&self, pid: u32, id: &str) -> Result<PathBuf, CgroupError> {
        Ok(cgroup::of_container(&self.places.cgroups, &cgroup::directory(&self.places.cgroups, pid)?, id))
    }

    /// Enters cgroups that a running container has made: the kernel does that only for those to come.
    fn enter_below(&self, directory: &Path, label: Label) -> Result<(), WorkloadError> {
        for below in cgroup::below(directory, cgroup::MAX_BELOW)? {
            self.enforcer().enter(cgroup::id(&below)?, label)?;
        }
        Ok(())
    }

    /// With the labels its pod has now, if they are known and the runtime tells none. They are kept with the workload: who may
    /// edit a running pod's labels shall not choose another policy for it by that.
    fn labelled(&self, state: &OciState) -> OciState {
        let mut state = state.clone();
        if state.facts().labels.is_empty()
            && let Some(pod) = PodRef::of(&state.annotations).and_then(|pod| self.pods.find(&pod.uid))
        {
            state.add_labels(&pod.labels);
        }
        state
    }

    /// Forgets a container that has ended. Returns whether it was known.
    pub fn dismiss(&self, id: &str) -> Result<bool, WorkloadError> {
        let Some(workload) = self.all().into_iter().find(|workload| workload.id == id) else { return Ok(false) };
        self.drop_workload(&workload)?;
        Ok(true)
    }

    /// Takes over the workloads an earlier agent left in the kernel. What cannot be rebuilt stays in force as it is;
    /// only its events are explained less well. Returns such workloads with the reason.
    pub fn resume(&self) -> Result<Reloaded, WorkloadError> {
        let live = self.enforcer().found()?;
        let mut outcome = Reloaded::default();
        for saved in self.store.load()? {
            let label = Label::from(saved.label);
            if !live.iter().any(|found| found.label == label && found.cgroup == saved.cgroup) {
                self.store.remove(&saved.state.id)?;
                continue;
            }
            match self.take_over(&saved) {
                Ok(()) => outcome.switched += 1,
                Err(error) => outcome.kept.push((saved.state.id.clone(), error)),
            }
        }
        self.enforcer().forget_orphans()?;
        Ok(outcome)
    }

    /// Puts new policies in force, for workloads that run and for those to come.
    pub fn reload(&self, policies: Vec<Policy>) -> Reloaded {
        let policies = Arc::new(policies);
        *self.policies.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&policies);
        let mut outcome = Reloaded::default();
        for workload in self.all() {
            match self.repolicy(&workload, &policies) {
                Ok(()) => outcome.switched += 1,
                Err(error) => outcome.kept.push((workload.id.clone(), error)),
            }
        }
        self.release_hooks();
        outcome
    }

    fn release_hooks(&self) {
        if let Err(error) = self.enforcer().release_hooks() {
            tracing::warn!(%error, "a hook that no workload needs stays attached; it changes no verdict");
        }
    }

    fn repolicy(&self, workload: &Workload, policies: &[Policy]) -> Result<(), WorkloadError> {
        let Some(policy) = plimsoll_policy::select(policies, &workload.facts) else {
            // Leaving the policy in force is the safe answer to its disappearance while the container runs.
            tracing::warn!(workload = %workload.id, "no policy selects this workload any more; it keeps the one it has");
            return Ok(());
        };
        let now = &workload.policy;
        if (now.generation, now.authority, &now.name) == (policy.generation, policy.authority, &policy.name) {
            return Ok(());
        }
        // Who must have signed the SBOM may be what changed.
        let image = if workload.image.trust == policy.sbom {
            Arc::clone(&workload.image)
        } else {
            self.image(policy, &workload.facts, &workload.image.overlay)?
        };
        let compiled = self.compile(policy, &image)?;
        volumes::can_be_named(&compiled, &workload.volumes)?;
        self.enforcer().switch(workload.label, &identity(&image, &compiled), &compiled)?;
        let next = Workload {
            id: workload.id.clone(),
            facts: workload.facts.clone(),
            volumes: workload.volumes.clone(),
            image,
            policy: compiled,
            pod: workload.pod.clone(),
            ..*workload
        };
        self.workloads.write().unwrap_or_else(PoisonError::into_inner).insert(workload.label, Arc::new(next));
        Ok(())
    }

    fn take_over(&self, saved: &Saved) -> Result<(), WorkloadError> {
        let facts = saved.state.facts();
        let policies = self.policies();
        let Some(policy) = plimsoll_policy::select(&policies, &facts) else { return Ok(()) };
        let (image, compiled) = self.prepare(policy, &facts, &saved.overlay)?;
        volumes::can_be_named(&compiled, &saved.volumes)?;
        self.enforcer().switch(saved.label.into(), &identity(&image, &compiled), &compiled)?;
        self.insert(saved, facts, image, compiled);
        Ok(())
    }

    fn prepare(
        &self,
        policy: &Policy,
        facts: &WorkloadFacts,
        overlay: &Overlay,
    ) -> Result<(Arc<Image>, Arc<CompiledPolicy>), WorkloadError> {
        let image = self.image(policy, facts, overlay)?;
        let compiled = self.compile(policy, &image)?;
        Ok((image, compiled))
    }

    fn compile(&self, policy: &Policy, image: &Image) -> Result<Arc<CompiledPolicy>, WorkloadError> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        compiled.get(policy, image).map_err(|source| WorkloadError::Compile { policy: policy.name.clone(), source })
    }

    fn image(&self, policy: &Policy, facts: &WorkloadFacts, overlay: &Overlay) -> Result<Arc<Image>, ImageError> {
        let (digest, reference) = (facts.image_digest.as_deref(), facts.image_reference.as_deref());
        self.images.load(digest, reference, overlay, &policy.sbom)
    }

    fn insert(
        &self,
        saved: &Saved,
        facts: WorkloadFacts,
        image: Arc<Image>,
        policy: Arc<CompiledPolicy>,
    ) -> Arc<Workload> {
        let label = saved.label.into();
        let (id, volumes) = (saved.state.id.clone(), saved.volumes.clone());
        let pod = PodRef::of(&saved.state.annotations);
        let workload = Arc::new(Workload { id, label, cgroup: saved.cgroup, facts, volumes, image, policy, pod });
        self.workloads.write().unwrap_or_else(PoisonError::into_inner).insert(label, Arc::clone(&workload));
        workload
    }

    /// Whether it is time to look for workloads that have ended: on a node with thousands, that costs more than an admission.
    fn looks_for_ended(&self, id: &str) -> bool {
        let mut looked = self.looked_for_ended.lock().unwrap_or_else(PoisonError::into_inner);
        let due = looked.is_none_or(|looked| looked.elapsed() > ENDED_EVERY);
        if due {
            *looked = Some(Instant::now());
        }
        let known = self.workloads.read().unwrap_or_else(PoisonError::into_inner);
        due || known.values().any(|workload| workload.id == id)
    }

    /// Forgets workloads whose cgroup the kernel has seen removed: their runtime never said that they ended.
    pub fn forget_ended(&self) -> Result<(), WorkloadError> {
        let live = self.enforcer().found()?;
        for workload in self.all() {
            if !live.iter().any(|found| found.label == workload.label) {
                self.drop_workload(&workload)?;
            }
        }
        Ok(())
    }

    fn drop_workload(&self, workload: &Workload) -> Result<(), WorkloadError> {
        self.enforcer().dismiss(workload.label)?;
        self.release_hooks();
        self.workloads.write().unwrap_or_else(PoisonError::into_inner).remove(&workload.label);
        self.store.remove(&workload.id)?;
        Ok(())
    }

    fn overlay(&self, state: &OciState, runtime: u32) -> Result<Overlay, WorkloadError> {
        let root = state.root(&self.places.host)?;
        let mountinfo = std::fs::read(format!("/proc/{runtime}/mountinfo"))
            .map_err(|source| WorkloadError::MountInfo { pid: runtime, source })?;
        Ok(mounts::overlay_at(&mountinfo, &root)?)
    }
}

fn identity(image: &Image, policy: &CompiledPolicy) -> ListIdentity {
    ListIdentity { image: image.identity.clone(), generation: policy.generation.to_string() }
}
