//! The sole writer of policy maps. It turns compiled policies into map entries and workloads into slots.
//!
//! New entries are written under a new allowlist id; one store in the workload's record makes them count. A list that
//! does not fit is taken back whole, and what was in force stays in force.

mod entries;
mod network;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use plimsoll_abi::{
    Label, MAX_INCARNATION, MAX_MOUNT_DEPTH, MAX_WORKLOADS, PathKey, Volume, VolumeKey, WorkloadRecord, state,
};
use plimsoll_policy::CompiledPolicy;

use self::entries::Entries;
use crate::sensor::{
    SensorError,
    hooks::Hooks,
    maps::{MapError, PolicyMaps},
};

/// How long a replaced list stays: longer than any program that still decides by it.
const RETIREMENT: Duration = Duration::from_secs(2);

/// Why a workload or policy is not in force.
#[derive(Debug, thiserror::Error)]
pub enum EnforceError {
    #[error(transparent)]
    Map(#[from] MapError),
    #[error("a hook that the policy needs is not in force")]
    Hook(#[source] SensorError),
    #[error("this node holds {MAX_WORKLOADS} workloads already, which is the limit")]
    NoSlot,
    #[error("all allowlist ids are used up; restart the node")]
    NoId,
    #[error("workload {0:?} is not known")]
    Unknown(Label),
}

/// What an allowlist was made from: the same image under the same policy text shares one list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListIdentity {
    /// The image's layers and SBOM.
    pub image: String,
    /// The policy's generation.
    pub generation: String,
}

/// A workload about to be put under enforcement.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Its cgroup.
    pub cgroup: u64,
    /// Its root filesystem.
    pub root_dev: u32,
    /// The runtime's mount namespace.
    pub runtime_mnt_ns: u32,
    /// Whether it can reach files of the node.
    pub reach: bool,
    /// What the runtime mounted into it.
    pub volumes: Vec<Mounted>,
}

/// A volume of a workload.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Mounted {
    /// The filesystem, in the kernel's encoding.
    pub dev: u32,
    /// Number of the mount's root on it.
    pub ino: u64,
    /// Where it is mounted, from the container's root: bytes, as file names are.
    pub path: Vec<u8>,
    /// Other names of the same directory, by other mounts of the container.
    pub also: Vec<Vec<u8>>,
}

impl Mounted {
    /// As the kernel holds it; `number` counts a workload's volumes from 1.
    fn kernel(&self, label: Label, number: u32, key: &PathKey) -> (VolumeKey, Volume) {
        let mut volume = Volume { number, depth: 0, components: [0; MAX_MOUNT_DEPTH] };
        let parts = self.path.split(|byte| *byte == b'/').rev().filter(|part| !part.is_empty());
        for (component, part) in volume.components.iter_mut().zip(parts) {
            *component = key.component(part);
            volume.depth += 1;
        }
        let Label { slot, incarnation } = label;
        (VolumeKey { ino: self.ino, dev: self.dev, slot, incarnation, reserved: 0 }, volume)
    }
}

struct List {
    id: u32,
    users: usize,
    entries: Entries,
}

/// A list that no workload names any more.
struct Retired {
    since: Instant,
    id: u32,
    entries: Entries,
}

/// Holds the policy maps.
#[expect(missing_debug_implementations, reason = "handles on kernel objects")]
pub struct Enforcer {
    hooks: Hooks,
    maps: PolicyMaps,
    /// `state::TELEMETRY`, or nothing.
    reports: u64,
    next_id: u32,
    lists: HashMap<ListIdentity, List>,
    /// Which list each workload uses.
    used: HashMap<Label, ListIdentity>,
    retired: Vec<Retired>,
}

/// A workload found in the kernel when the agent started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its cgroup, one of them if it has several.
    pub cgroup: u64,
    /// Its slot.
    pub label: Label,
    /// What is in force.
    pub state: u64,
}

impl Enforcer {
    /// Takes over the maps as an earlier agent, if any, left them.
    /// `report_executions` says whether workloads report what they were allowed to execute.
    pub fn new(hooks: Hooks, maps: PolicyMaps, report_executions: bool) -> Result<Self, EnforceError> {
        let lists = maps.allow.keys()?.into_iter().map(|key| key.allowlist);
        let lists = lists.chain(maps.capabilities.keys()?).chain(maps.files.list_ids()?);
        let highest = lists.max().unwrap_or(0).max(network::highest_id(&maps.network)?);
        let mut enforcer = Self {
            hooks,
            maps,
            reports: if report_executions { state::TELEMETRY } else { 0 },
            next_id: highest,
            lists: HashMap::new(),
            used: HashMap::new(),
            retired: Vec::new(),
        };
        let states = enforcer.found()?.into_iter().map(|found| state::allowlist(found.state)).max().unwrap_or(0);
        enforcer.next_id = enforcer.next_id.max(states);
        Ok(enforcer)
    }

    /// Workloads in force in the kernel.
    pub fn found(&self) -> Result<Vec<Found>, EnforceError> {
        let mut found = Vec::new();
        for (cgroup, label) in self.maps.cgroups.entries()? {
            let record = self.maps.slots.get(label.slot)?;
            if record.incarnation == label.incarnation && record.state & state::ACTIVE != 0 {
                found.push(Found { cgroup, label, state: record.state });
            }
        }
        Ok(found)
    }

    /// Puts a new workload under `policy`. When this returns, the kernel holds it all.
    pub fn admit(
        &mut self,
        admission: &Admission,
        identity: &ListIdentity,
        policy: &CompiledPolicy,
    ) -> Result<Label, EnforceError> {
        let list = self.list(identity, policy)?;
        let reach = if admission.reach { state::REACH } else { 0 };
        let state = policy.state(list) | self.reports | reach;
        let label = self.require(state).and_then(|()| self.occupy(admission, state));
        match label {
            Ok(label) => {
                self.used.insert(label, identity.clone());
                Ok(label)
            }
            Err(error) => {
                self.release(identity);
                Err(error)
            }
        }
    }

    /// Puts a workload that is in force under another policy, without a gap.
    pub fn switch(
        &mut self,
        label: Label,
        identity: &ListIdentity,
        policy: &CompiledPolicy,
    ) -> Result<(), EnforceError> {
        if self.used.get(&label) == Some(identity) {
            return Ok(());
        }
        let record = self.maps.slots.get(label.slot)?;
        if record.incarnation != label.incarnation {
            return Err(EnforceError::Unknown(label));
        }
        let list = self.list(identity, policy)?;
        // What the container can reach is the runtime's doing; no policy changes it.
        let state = policy.state(list) | self.reports | record.state & state::REACH;
        let switched = self.require(state).and_then(|()| Ok(self.maps.slots.switch(label.slot, state)?));
        if let Err(error) = switched {
            self.release(identity);
            return Err(error);
        }
        if let Some(earlier) = self.used.insert(label, identity.clone()) {
            self.release(&earlier);
        }
        Ok(())
    }

    /// Ends a workload. Tasks that still carry its label are denied everything from here on.
    pub fn dismiss(&mut self, label: Label) -> Result<(), EnforceError> {
        for (cgroup, owner) in self.maps.cgroups.entries()? {
            if owner == label {
                self.maps.cgroups.remove(cgroup)?;
            }
        }
        if self.maps.slots.get(label.slot)?.incarnation == label.incarnation {
            self.maps.slots.switch(label.slot, 0)?;
            self.maps.files.remove_volumes(label.slot)?;
        }
        if let Some(identity) = self.used.remove(&label) {
            self.release(&identity);
        }
        Ok(())
    }

    /// Puts a workload in force that no file is allowed in; for the canary.
    pub fn admit_nothing(&mut self, admission: &Admission) -> Result<Label, EnforceError> {
        self.occupy(admission, state::ACTIVE | state::ENFORCE)
    }

    /// The slot of containers that nobody has introduced, if an earlier agent made it.
    pub fn pending(&self) -> Result<Option<Label>, EnforceError> {
        for slot in 0..MAX_WORKLOADS {
            let record = self.maps.slots.get(slot)?;
            if record.state & state::ACTIVE != 0 && record.state & state::PENDING != 0 {
                return Ok(Some(Label { slot, incarnation: record.incarnation }));
            }
        }
        Ok(None)
    }

    /// Makes that slot, for the cgroup that containers are made below. What they run is denied or, if not `deny`, audited.
    pub fn await_containers(&mut self, admission: &Admission, deny: bool) -> Result<Label, EnforceError> {
        self.occupy(admission, pending_state(deny))
    }

    /// Has what is not introduced denied or audited from now on.
    pub fn decide_pending(&mut self, label: Label, deny: bool) -> Result<(), EnforceError> {
        Ok(self.maps.slots.switch(label.slot, pending_state(deny))?)
    }

    /// Adds a cgroup to a workload in force, or says that it is nobody's.
    pub fn enter(&mut self, cgroup: u64, label: Label) -> Result<(), EnforceError> {
        Ok(self.maps.cgroups.insert(cgroup, label)?)
    }

    /// All cgroups with their labels.
    pub fn cgroups(&self) -> Result<Vec<(u64, Label)>, EnforceError> {
        Ok(self.maps.cgroups.entries()?)
    }

    /// Removes entries of lists that were replaced long enough ago. Returns how many are gone.
    pub fn sweep(&mut self, now: Instant) -> Result<usize, EnforceError> {
        let mut gone = 0;
        while let Some(retired) = self.retired.first() {
            if now.duration_since(retired.since) < RETIREMENT {
                break;
            }
            gone += self.retired.remove(0).entries.remove(&mut self.maps)?;
        }
        Ok(gone)
    }

    /// Removes entries that no workload in force names: what an earlier agent did not get to.
    pub fn forget_orphans(&mut self) -> Result<usize, EnforceError> {
        let mut live: Vec<u32> = self.lists.values().map(|list| list.id).collect();
        live.extend(self.found()?.iter().map(|found| state::allowlist(found.state)));
        live.extend(self.retired.iter().map(|retired| retired.id));
        let orphans: Vec<_> =
            self.maps.allow.keys()?.into_iter().filter(|key| !live.contains(&key.allowlist)).collect();
        for key in &orphans {
            self.maps.allow.remove(*key)?;
        }
        for id in self.maps.capabilities.keys()?.into_iter().filter(|id| !live.contains(id)) {
            self.maps.capabilities.remove(id)?;
        }
        for list in self.maps.files.list_ids()?.into_iter().filter(|list| !live.contains(list)) {
            self.maps.files.remove_list(list)?;
        }
        for key in self.maps.files.rule_keys()?.into_iter().filter(|key| !live.contains(&key.list)) {
            self.maps.files.remove_rule(key)?;
        }
        Ok(orphans.len() + network::forget_orphans(&mut self.maps.network, &live)?)
    }

    /// Lets go of hooks that no workload in force needs any more.
    pub fn release_hooks(&mut self) -> Result<(), EnforceError> {
        let states: Vec<u64> = self.found()?.into_iter().map(|found| found.state).collect();
        self.hooks.retain(&states).map_err(EnforceError::Hook)
    }

    /// How often the kernel has left a program out, see [`Hooks::recursion_misses`].
    pub fn recursion_misses(&self) -> std::io::Result<u64> {
        self.hooks.recursion_misses()
    }

    /// Entries in force, over all lists.
    pub fn entries(&self) -> usize {
        self.lists.values().map(|list| list.entries.len()).sum()
    }

    /// Attaches what a workload in `state` needs, before it is put into that state.
    fn require(&mut self, state: u64) -> Result<(), EnforceError> {
        self.hooks.require(state).map_err(EnforceError::Hook)
    }

    /// The list's id, written to the kernel if it is not there; one more user counted.
    fn list(&mut self, identity: &ListIdentity, policy: &CompiledPolicy) -> Result<u32, EnforceError> {
        if let Some(list) = self.lists.get_mut(identity) {
            list.users += 1;
            return Ok(list.id);
        }
        let id = self.next_id.checked_add(1).ok_or(EnforceError::NoId)?;
        self.next_id = id;
        let entries = Entries::write(&mut self.maps, id, policy)?;
        self.lists.insert(identity.clone(), List { id, users: 1, entries });
        Ok(id)
    }

    fn release(&mut self, identity: &ListIdentity) {
        let Some(list) = self.lists.get_mut(identity) else { return };
        list.users = list.users.saturating_sub(1);
        if list.users == 0
            && let Some(list) = self.lists.remove(identity)
        {
            self.retired.push(Retired { since: Instant::now(), id: list.id, entries: list.entries });
        }
    }

    /// Takes a free slot, fills it, and ties the cgroup to it last.
    fn occupy(&mut self, admission: &Admission, state: u64) -> Result<Label, EnforceError> {
        for slot in 0..MAX_WORKLOADS {
            let record = self.maps.slots.get(slot)?;
            // A slot that has had all its tenants rests until the node restarts.
            if record.state & state::ACTIVE != 0 || record.incarnation >= MAX_INCARNATION {
                continue;
            }
            let label = Label { slot, incarnation: record.incarnation + 1 };
            self.maps.slots.prepare(
                slot,
                WorkloadRecord {
                    state: 0,
                    root_dev: admission.root_dev,
                    runtime_mnt_ns: admission.runtime_mnt_ns,
                    incarnation: label.incarnation,
                    reserved: 0,
                },
            )?;
            self.maps.files.remove_volumes(slot)?;
            let volumes = admission.volumes.iter().zip(1..);
            let volumes: Vec<_> =
                volumes.map(|(volume, number)| volume.kernel(label, number, &self.maps.files.key())).collect();
            self.maps.files.set_volumes(slot, &volumes)?;
            self.maps.slots.switch(slot, state)?;
            if let Err(error) = self.maps.cgroups.insert(admission.cgroup, label) {
                self.maps.slots.switch(slot, 0)?;
                return Err(error.into());
            }
            return Ok(label);
        }
        Err(EnforceError::NoSlot)
    }
}

fn pending_state(deny: bool) -> u64 {
    state::ACTIVE | state::PENDING | if deny { state::ENFORCE } else { 0 }
}
