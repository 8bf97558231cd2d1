//! Whether a container can reach files beyond its own: those of the kernel, and Plimsoll's.
//!
//! The hooks that guard them see every opening of a file, so that they are attached only while such a container runs. Whatever is not
//! known to be usual counts as reach.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What container engines give to every container.
const USUAL: &[&str] = &[
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// Namespaces that keep the node's processes and mounts out of sight.
const OWN: &[&str] = &["mount", "pid"];

/// Where the kernel is configured below `/proc`.
const SETTINGS: &[&str] = &["/proc/sys", "/proc/sysrq-trigger"];

/// Where the node's kernel shows itself; a mount from there is no volume.
const KERNEL: &[&str] = &["/proc", "/sys", "/dev"];

#[derive(Deserialize)]
struct Config {
    process: Process,
    #[serde(default)]
    mounts: Vec<Mount>,
    linux: Linux,
}

#[derive(Deserialize)]
struct Process {
    #[serde(default)]
    capabilities: Capabilities,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Capabilities {
    bounding: Vec<String>,
    effective: Vec<String>,
    permitted: Vec<String>,
    inheritable: Vec<String>,
    ambient: Vec<String>,
}

#[derive(Deserialize)]
struct Mount {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    source: PathBuf,
    #[serde(default)]
    options: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    #[serde(default)]
    namespaces: Vec<Namespace>,
    #[serde(default)]
    readonly_paths: Vec<String>,
}

#[derive(Deserialize)]
struct Namespace {
    #[serde(rename = "type")]
    kind: String,
    /// Somebody else's, if it is there.
    path: Option<String>,
}

/// Paths of the node that no workload may touch.
#[derive(Clone, Debug)]
pub struct Guarded {
    /// Files, and directories with all below them, that are not written.
    pub paths: Vec<PathBuf>,
    /// The agent's socket, which is not connected to.
    pub socket: PathBuf,
}

/// Whether the container with this `config.json` reaches out.
pub(super) fn reaches_out(config: &[u8], guarded: &Guarded) -> bool {
    serde_json::from_slice(config).map_or(true, |config: Config| !config.is_usual(guarded))
}

impl Config {
    fn is_usual(&self, guarded: &Guarded) -> bool {
        let Capabilities { bounding, effective, permitted, inheritable, ambient } = &self.process.capabilities;
        let mut capabilities = [bounding, effective, permitted, inheritable, ambient].into_iter().flatten();
        let own = |kind: &&str| self.linux.namespaces.iter().any(|namespace| namespace.is_own(kind));
        let read_only = |path: &&str| self.linux.readonly_paths.iter().any(|listed| listed == path);
        capabilities.all(|name| USUAL.contains(&name.as_str()))
            && OWN.iter().all(own)
            && SETTINGS.iter().all(read_only)
            && self.mounts.iter().all(|mount| mount.is_usual(guarded))
    }
}

impl Namespace {
    /// A pod's containers may share the pod's namespaces, which have a path, but not its mounts.
    fn is_own(&self, kind: &str) -> bool {
        self.kind == kind && (kind != "mount" || self.path.as_deref().is_none_or(str::is_empty))
    }
}

impl Mount {
    fn is_usual(&self, guarded: &Guarded) -> bool {
        let has = |option: &str| self.options.iter().any(|given| given == option);
        match self.kind.as_str() {
            "proc" | "tmpfs" | "devpts" | "mqueue" => true,
            "sysfs" | "cgroup" | "cgroup2" if !has("bind") && !has("rbind") => has("ro"),
            "bind" | "none" | "" => self.is_volume(guarded),
            _ => false,
        }
    }

    /// Nothing of the node's kernel or of Plimsoll's is in it, or nothing that reading could harm.
    fn is_volume(&self, guarded: &Guarded) -> bool {
        let apart = |place: &Path| !place.starts_with(&self.source) && !self.source.starts_with(place);
        let has = |option: &str| self.options.iter().any(|given| given == option);
        // What is mounted below stays writable in a recursive bind mount.
        let only_read = has("ro") && !has("rbind");
        apart(&guarded.socket)
            && KERNEL.iter().all(|place| apart(Path::new(place)))
            && (only_read || guarded.paths.iter().all(|place| apart(place)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn usual() -> Value {
        json!({
            "process": {"capabilities": {"bounding": ["CAP_CHOWN", "CAP_NET_RAW"], "effective": ["CAP_CHOWN"]}},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "ro"]},
                {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]},
                {"destination": "/data", "type": "bind", "source": "/var/lib/volumes/1", "options": ["rbind", "rw"]},
            ],
            "linux": {
                "namespaces": [{"type": "pid", "path": "/proc/7/ns/pid"}, {"type": "mount"}],
                "readonlyPaths": ["/proc/sys", "/proc/sysrq-trigger"],
            },
        })
    }

    fn reaches(config: &Value) -> bool {
        let paths = ["/sys/fs/bpf/plimsoll", "/var/lib/plimsoll"].map(PathBuf::from).to_vec();
        reaches_out(config.to_string().as_bytes(), &Guarded { paths, socket: "/run/plimsoll/agent.sock".into() })
    }

    #[test]
    fn a_usual_container_reaches_nothing() {
        assert!(!reaches(&usual()));
        let mut config = usual();
        config["mounts"][3] = json!({"type": "bind", "source": "/var/lib/plimsoll", "options": ["bind", "ro"]});
        assert!(!reaches(&config), "what can only be read");
    }

    #[test]
    fn whatever_is_unusual_is_reach() {
        let changes: [(&str, Value); 11] = [
            ("/process/capabilities/bounding/0", json!("CAP_SYS_ADMIN")),
            ("/process/capabilities/effective/0", json!("CAP_DAC_READ_SEARCH")),
            ("/linux/namespaces/0/type", json!("ipc")),
            ("/linux/namespaces/1", json!({"type": "mount", "path": "/proc/1/ns/mnt"})),
            ("/linux/readonlyPaths/0", json!("/proc/bus")),
            ("/mounts/1/options", json!(["nosuid"])),
            ("/mounts/2/options", json!(["rw"])),
            ("/mounts/3/source", json!("/")),
            ("/mounts/3/source", json!("/var/lib")),
            ("/mounts/3/source", json!("/sys/fs/bpf/plimsoll/v1")),
            ("/mounts/3", json!({"type": "bind", "source": "/run/plimsoll", "options": ["bind", "ro"]})),
        ];
        for (pointer, value) in changes {
            let mut config = usual();
            *config.pointer_mut(pointer).unwrap() = value;
            assert!(reaches(&config), "{pointer}");
        }
        assert!(reaches(&json!({"linux": {}})));
    }
}
