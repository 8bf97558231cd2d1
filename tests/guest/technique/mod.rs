//! Ways around a policy: one table, run without a policy (all work) and with one (each is denied, or is honestly not).
//!
//! A new area is a file with `pub(super) const ROWS: &[Technique]` and one line in [`AREAS`].

use anyhow::ensure;
use serde_json::json;

use crate::{
    container::{ACTOR, Container, ContainerSpec, Output},
    offer,
};

mod changed_views;
pub(crate) mod files;
mod hardening;
mod interpreters;
mod libraries;
mod loaded_code;
mod memory;
mod network;
mod other_filesystems;
mod paths;
mod processes;
mod written_files;

pub(crate) use self::network::NETWORK;

/// All techniques, by the heading they have in docs/bypasses.md.
const AREAS: &[(&str, &[Technique])] = &[
    ("Files that were written", written_files::ROWS),
    ("Paths and descriptors", paths::ROWS),
    ("Code loaded into a running process", loaded_code::ROWS),
    ("Libraries that listed programs look for", libraries::ROWS),
    ("Files of other filesystems", other_filesystems::ROWS),
    ("Executable memory", memory::ROWS),
    ("Names that mean something else", changed_views::ROWS),
    ("Processes out of the ordinary", processes::ROWS),
    ("File rules", files::ROWS),
    ("Code written into processes", hardening::INJECTIONS),
    ("Ways into the kernel", hardening::KERNEL),
    ("Operations that a policy forbids", hardening::OPERATIONS),
    ("Capabilities beyond the policy's", hardening::CAPABILITIES),
    ("Traffic that no rule allows", network::ROWS),
    ("Interpreters fed with data", interpreters::ROWS),
];

/// Exit status of an attempt that was denied with `EPERM`.
pub(crate) const DENIED: i32 = 10;
/// Exit status where the preparation failed.
const UNPREPARED: i32 = 11;

/// What a technique runs under: a policy, and a container of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Suite {
    /// Names the policy and the container.
    pub(crate) name: &'static str,
    /// Lines of the policy's `spec`, each indented by two spaces, beside those that every suite has.
    pub(crate) spec: &'static str,
    /// What its containers need beside what every container of the tests has: mounts, capabilities.
    pub(crate) configure: fn(&mut ContainerSpec),
}

impl Suite {
    /// A policy with more `spec` lines, in an ordinary container.
    pub(crate) const fn new(name: &'static str, spec: &'static str) -> Self {
        Self { name, spec, configure: |_| {} }
    }

    /// In a container that is changed first.
    pub(crate) const fn configured(self, configure: fn(&mut ContainerSpec)) -> Self {
        Self { configure, ..self }
    }
}

/// Code loading alone, which every policy restricts.
pub(crate) const ENFORCED: Suite = Suite::new("enforced", "");

/// The same for what would spoil the container for others: a listed program that they need is changed.
pub(crate) const SPOILT: Suite = Suite::new("spoilt", "");

/// Code loading alone, where a policy gives up what would stop the attempt earlier: writing to what configures the kernel.
pub(crate) const CONFIGURING: Suite = Suite::new("configuring", "  hardening:\n    kernelFiles: Allow\n");

/// Code loading alone, in a container that has what a careless host gives: all devices, a socket of a process outside, and the
/// right to search every directory.
pub(crate) const CARELESS: Suite = Suite::new("careless", "").configured(|spec| {
    spec.devices = true;
    spec.capabilities.push("CAP_DAC_READ_SEARCH");
    spec.mounts.push(json!({"destination": "/offer", "type": "bind", "source": offer::DIRECTORY, "options": ["bind"]}));
});

/// Kernels that a technique exists on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernels {
    /// All that guests have.
    All,
    /// Only those from 6.12 on.
    From6_12,
}

impl Kernels {
    /// Whether this kernel is one.
    pub(crate) fn are_running(self) -> bool {
        let old = rustix::system::uname().release().to_string_lossy().starts_with("6.1.");
        match self {
            Self::All => true,
            Self::From6_12 => !old,
        }
    }
}

/// One way around a policy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Technique {
    /// For the test's name.
    pub(crate) name: &'static str,
    /// What is done, in one line.
    pub(crate) what: &'static str,
    /// Where it is described: a man page, an advisory, a kernel function.
    pub(crate) reference: &'static str,
    /// Prepares the attempt, as a shell script that must succeed with and without a policy. Each leaves other files behind, and
    /// none changes what another needs, so that a container may run them all.
    pub(crate) setup: &'static str,
    /// The attempt: the actor's arguments.
    pub(crate) arguments: &'static [&'static str],
    /// Which hook denies it, by the name that events give it.
    pub(crate) hook: &'static str,
    /// Why the verdict is a denial, by the name that events give the reason.
    pub(crate) reason: &'static str,
    /// The file that the event names, if it is the same each time.
    pub(crate) path: Option<&'static str>,
    /// The address that the event names, if it has one.
    pub(crate) address: Option<&'static str>,
    /// Why it is not stopped: the test then shows that it is not.
    pub(crate) partial: Option<&'static str>,
    /// Where it exists.
    pub(crate) kernels: Kernels,
    /// What it is tried under.
    pub(crate) suite: &'static Suite,
}

/// Begins a row. What is not said: it exists on all kernels, needs no preparation, and is tried under [`ENFORCED`].
const fn technique(name: &'static str, what: &'static str, reference: &'static str) -> Technique {
    Technique {
        name,
        what,
        reference,
        setup: "",
        arguments: &[],
        hook: "",
        reason: "",
        path: None,
        address: None,
        partial: None,
        kernels: Kernels::All,
        suite: &ENFORCED,
    }
}

impl Technique {
    /// The shell script that prepares it.
    const fn after(self, setup: &'static str) -> Self {
        Self { setup, ..self }
    }

    /// The actor's arguments.
    const fn by(self, arguments: &'static [&'static str]) -> Self {
        Self { arguments, ..self }
    }

    /// It is denied by `hook` for `reason`.
    const fn denied(self, hook: &'static str, reason: &'static str) -> Self {
        Self { hook, reason, ..self }
    }

    /// The event names this file.
    const fn naming(self, path: &'static str) -> Self {
        Self { path: Some(path), ..self }
    }

    /// The event names this address.
    const fn toward(self, address: &'static str) -> Self {
        Self { address: Some(address), ..self }
    }

    /// It is not stopped.
    const fn partial(self, why: &'static str) -> Self {
        Self { partial: Some(why), ..self }
    }

    /// It exists on these kernels alone.
    const fn on(self, kernels: Kernels) -> Self {
        Self { kernels, ..self }
    }

    /// It is tried under this policy, in this container.
    const fn under(self, suite: &'static Suite) -> Self {
        Self { suite, ..self }
    }

    /// Prepares and makes the attempt. Status 0: it worked. [`DENIED`]: it was denied. Anything else proves nothing.
    pub(crate) fn attempt(&self, container: &Container) -> anyhow::Result<Output> {
        // In one go, since entering a container is what takes the time.
        let script = format!("/bin/sh -euc \"$0\" || exit {UNPREPARED}; exec \"$@\"");
        let command = ["/bin/sh", "-c", &script, self.setup, ACTOR];
        let command: Vec<&str> = command.iter().chain(self.arguments).copied().collect();
        let output = container.exec(&command)?;
        ensure!(output.status != UNPREPARED, "the preparation failed: {output:?}");
        Ok(output)
    }
}

/// All that this kernel knows, each with its area.
pub(crate) fn techniques() -> impl Iterator<Item = (&'static str, Technique)> {
    let rows = AREAS.iter().flat_map(|(area, rows)| rows.iter().map(|row| (*area, *row)));
    rows.filter(|(_, technique)| technique.kernels.are_running())
}

/// Every suite that a technique names, once.
pub(crate) fn suites() -> Vec<&'static Suite> {
    let mut suites: Vec<&'static Suite> = Vec::new();
    for suite in AREAS.iter().flat_map(|(_, rows)| rows.iter()).map(|technique| technique.suite) {
        if suites.iter().all(|known| known.name != suite.name) {
            suites.push(suite);
        }
    }
    suites
}
