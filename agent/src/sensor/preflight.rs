//! What a node must have before anything is loaded: one line each, with a way out.

use std::{fs, path::Path};

use super::offsets;

/// The outcome of one check.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As it should be.
    Passed,
    /// Enforcement is impossible; `remedy` says what to do.
    Failed {
        /// What to do about it.
        remedy: String,
    },
}

/// One check of the node.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// What was found.
    pub detail: String,
    /// Whether it will do.
    pub outcome: Outcome,
}

impl Check {
    /// A check that passed.
    pub fn passed(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, detail: detail.into(), outcome: Outcome::Passed }
    }

    /// A check that failed.
    pub fn failed(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, detail: detail.into(), outcome: Outcome::Failed { remedy: remedy.into() } }
    }

    /// The check in one sentence.
    pub fn sentence(&self) -> String {
        match &self.outcome {
            Outcome::Passed => format!("{}: {}", self.name, self.detail),
            Outcome::Failed { remedy } => format!("{}: {} ({remedy})", self.name, self.detail),
        }
    }

    /// Whether it passed.
    pub fn is_passed(&self) -> bool {
        self.outcome == Outcome::Passed
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.outcome {
            Outcome::Passed => write!(f, "ok    {}: {}", self.name, self.detail),
            Outcome::Failed { remedy } => write!(f, "FAIL  {}: {}\n      -> {remedy}", self.name, self.detail),
        }
    }
}

/// Looks at everything that can be looked at without loading a program.
pub fn checks(cgroups: &Path, pins: &Path) -> Vec<Check> {
    vec![privileges(), kernel(), lsm(), layout(), cgroup_v2(cgroups), bpffs(pins)]
}

fn privileges() -> Check {
    const NAME: &str = "privileges";
    if rustix::process::geteuid().is_root() {
        return Check::passed(NAME, "running as root");
    }
    Check::failed(NAME, "not running as root", "run the agent as root; it needs CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN")
}

fn kernel() -> Check {
    const NAME: &str = "kernel";
    const OLDEST: (u32, u32) = (6, 1);
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    match version(&release) {
        Some(version) if version >= OLDEST => Check::passed(NAME, release),
        _ => Check::failed(NAME, format!("{release} is older than 6.1"), "use a kernel of version 6.1 or later"),
    }
}

/// The first two numbers of a kernel's release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    Some((numbers.next()?, numbers.next()?))
}

fn lsm() -> Check {
    const NAME: &str = "BPF LSM";
    const LIST: &str = "/sys/kernel/security/lsm";
    match fs::read_to_string(LIST) {
        Ok(list) if list.trim().split(',').any(|name| name == "bpf") => {
            Check::passed(NAME, format!("the kernel's list is {}", list.trim()))
        }
        Ok(list) => Check::failed(
            NAME,
            format!("`bpf` is not in the kernel's LSM list ({})", list.trim()),
            format!("boot with `lsm={},bpf` on the kernel command line", list.trim()),
        ),
        Err(error) => Check::failed(
            NAME,
            format!("cannot read `{LIST}`: {error}"),
            "mount securityfs: `mount -t securityfs securityfs /sys/kernel/security`",
        ),
    }
}

fn layout() -> Check {
    const NAME: &str = "kernel layout";
    match offsets::read() {
        Ok(_) => Check::passed(NAME, "every field is in the kernel's BTF"),
        Err(error) => Check::failed(
            NAME,
            format!("{:#}", anyhow::Error::from(error)),
            "use a kernel built with CONFIG_DEBUG_INFO_BTF and load overlayfs (`modprobe overlay`)",
        ),
    }
}

fn cgroup_v2(root: &Path) -> Check {
    const NAME: &str = "cgroup";
    const CGROUP2: i64 = 0x6367_7270;
    let remedy = "boot with `systemd.unified_cgroup_hierarchy=1`; version 1 and hybrid hosts are not supported";
    let magic = match rustix::fs::statfs(root) {
        Ok(filesystem) => filesystem.f_type,
        Err(error) => return Check::failed(NAME, format!("cannot look at `{}`: {error}", root.display()), remedy),
    };
    let first = fs::read_to_string("/proc/1/cgroup").unwrap_or_default();
    let version_1 = first.lines().any(|line| !line.starts_with("0::"));
    if magic != CGROUP2 || version_1 {
        return Check::failed(NAME, format!("`{}` is not cgroup v2 alone", root.display()), remedy);
    }
    Check::passed(NAME, "version 2 alone")
}

fn bpffs(pins: &Path) -> Check {
    const NAME: &str = "bpf filesystem";
    const BPF: i64 = 0xcafe_4a11;
    let existing = pins.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    match rustix::fs::statfs(existing) {
        Ok(filesystem) if filesystem.f_type == BPF => Check::passed(NAME, format!("{} is on it", pins.display())),
        _ => Check::failed(
            NAME,
            format!("`{}` is not on a bpf filesystem", pins.display()),
            "mount it: `mount -t bpf bpf /sys/fs/bpf`",
        ),
    }
}
