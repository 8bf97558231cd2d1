//! Containers that nobody has introduced: the kernel knows them by the cgroup that they are made below.
//!
//! Every cgroup made below a configured one belongs, from its first moment, to a slot of its own kind, until the container's
//! runtime introduces it. Then its tasks are asked anew whose they are.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use plimsoll_abi::{Label, MAX_WORKLOADS};
use serde::Deserialize;

use super::{
    Registry, WorkloadError, cgroup,
    spec::{OciState, within},
};
use crate::enforcer::{Admission, Enforcer};

/// The name that events give to what decides over such containers.
pub const POLICY: &str = "unknown-containers";

/// Cgroups below the configured one that an agent takes in when it starts.
const MAX_CGROUPS: usize = 4 * MAX_WORKLOADS as usize;

/// What becomes of code in such a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Unknown {
    /// It runs, and nothing says so.
    #[default]
    Allow,
    /// It runs and is reported.
    Audit,
    /// It does not run.
    Deny,
}

/// Where pods are made, and what becomes of those nobody has introduced.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Pods {
    /// The cgroup, below the root of the hierarchy; made if it is not there yet.
    pub cgroup: PathBuf,
    /// Containers that start.
    pub unknown: Unknown,
    /// Whether that goes for containers too that ran before there was an agent.
    pub running: bool,
}

impl Default for Pods {
    fn default() -> Self {
        Self { cgroup: "kubepods.slice".into(), unknown: Unknown::Allow, running: false }
    }
}

impl Registry {
    /// Has the kernel wait for containers as `pods` says, or no longer wait for any. Once, when the agent starts.
    pub fn await_containers(&self, pods: Option<&Pods>) -> Result<(), WorkloadError> {
        let Some(pods) = pods.filter(|pods| pods.unknown != Unknown::Allow) else { return self.wait_no_more() };
        let directory = within(&self.places.cgroups, &pods.cgroup);
        fs::create_dir_all(&directory)
            .map_err(|source| cgroup::CgroupError::Create { path: directory.clone(), source })?;
        let parent = cgroup::id(&directory)?;
        let deny = pods.unknown == Unknown::Deny;
        let mut enforcer = self.enforcer();
        let label = if let Some(label) = enforcer.pending()? {
            enforcer.decide_pending(label, deny)?;
            enforcer.enter(parent, label)?;
            label
        } else {
            let runtime_mnt_ns = cgroup::mount_namespace(1)?;
            let volumes = Vec::new();
            let admission = Admission { cgroup: parent, root_dev: 0, runtime_mnt_ns, reach: false, volumes };
            enforcer.await_containers(&admission, deny)?
        };
        enter_existing(&mut enforcer, &directory, label, pods.running)?;
        drop(enforcer);
        tracing::info!(?label, cgroup = %directory.display(), unknown = ?pods.unknown, "waiting for pods");
        self.pending.get_or_init(|| label);
        Ok(())
    }

    /// The slot stays, since tasks carry its label until they are asked anew; to end it would deny them everything.
    fn wait_no_more(&self) -> Result<(), WorkloadError> {
        let mut enforcer = self.enforcer();
        let Some(label) = enforcer.pending()? else { return Ok(()) };
        enforcer.decide_pending(label, false)?;
        for (cgroup, owner) in enforcer.cgroups()? {
            if owner == label {
                enforcer.enter(cgroup, Label::NOBODY)?;
            }
        }
        Ok(())
    }

    /// Says that a container is in no workload: nobody waits for it any more.
    pub(super) fn let_go(&self, state: &OciState) -> Result<(), WorkloadError> {
        if self.pending().is_none() {
            return Ok(());
        }
        let directory = self.cgroup_of(state.pid, &state.id)?;
        self.enforcer().enter(cgroup::id(&directory)?, Label::NOBODY)?;
        self.enter_below(&directory, Label::NOBODY)
    }

    /// How many cgroups of pods belong to nobody who was introduced; the pods' own are among them.
    pub fn count_pending(&self) -> Result<usize, WorkloadError> {
        let Some(pending) = self.pending() else { return Ok(0) };
        Ok(self.enforcer().cgroups()?.iter().filter(|(_, label)| *label == pending).count())
    }
}

/// Cgroups that are there already. A kubelet's hold no processes themselves; what runs is a container.
fn enter_existing(enforcer: &mut Enforcer, parent: &Path, pending: Label, running: bool) -> Result<(), WorkloadError> {
    let known: HashSet<u64> = enforcer.cgroups()?.into_iter().map(|(cgroup, _)| cgroup).collect();
    for directory in cgroup::below(parent, MAX_CGROUPS)? {
        let id = cgroup::id(&directory)?;
        if known.contains(&id) {
            continue;
        }
        let label = if running || !cgroup::has_processes(&directory)? { pending } else { Label::NOBODY };
        enforcer.enter(id, label)?;
    }
    Ok(())
}
