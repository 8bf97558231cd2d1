//! From what NRI says of a container to the annotations and hooks that introduce it: pure functions.

use std::{collections::BTreeMap, path::Path};

use plimsoll_proto::nri::{Container, ContainerAdjustment, Hook, Hooks, PodSandbox};

use crate::workload::spec;

/// Bytes of all labels of a container; Kubernetes allows far less.
const MAX_LABELS: usize = 256 << 10;

/// Why a container cannot be introduced; it then does not start.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DescribeError {
    #[error("the container runtime names no {0}")]
    Missing(&'static str),
    #[error("labels of {0} bytes; up to {MAX_LABELS} are understood")]
    Labels(usize),
    #[error("{0:?} is not an id of a container")]
    Id(String),
}

/// What the runtime is to run at a container's beginning and end.
#[derive(Clone, Copy, Debug)]
pub(super) struct HookProgram<'a> {
    /// The agent's program, as the runtime sees it.
    pub(super) path: &'a Path,
    /// The agent's socket, likewise.
    pub(super) socket: &'a Path,
}

/// The annotations that say where a container belongs. They are the agent's own: whoever else wrote some of that name is not heard.
pub(super) fn annotations(pod: &PodSandbox, container: &Container) -> Result<BTreeMap<String, String>, DescribeError> {
    if !spec::is_id(&container.id) {
        return Err(DescribeError::Id(container.id.chars().take(255).collect()));
    }
    let mut own = BTreeMap::new();
    let told = [
        (spec::NAMESPACE, &pod.namespace, "namespace"),
        (spec::POD, &pod.name, "pod"),
        (spec::CONTAINER, &container.name, "name of the container in its pod"),
    ];
    for (annotation, value, name) in told {
        if value.is_empty() {
            return Err(DescribeError::Missing(name));
        }
        own.insert(annotation.to_owned(), value.clone());
    }
    // No policy selects by it.
    if !pod.uid.is_empty() {
        own.insert(spec::POD_UID.to_owned(), pod.uid.clone());
    }
    let labels = || pod.labels.iter().chain(&container.labels);
    let bytes = labels().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_LABELS {
        return Err(DescribeError::Labels(bytes));
    }
    // The container's come last: they are the kubelet's own, where the pod's were written by people.
    own.extend(labels().map(|(name, value)| (format!("{}{name}", spec::LABEL_PREFIX), value.clone())));
    Ok(own)
}

/// All annotations of a container, with the agent's own in place of any of their kind.
pub(super) fn completed(pod: &PodSandbox, container: &Container) -> Result<BTreeMap<String, String>, DescribeError> {
    let mut all = container.annotations.clone();
    all.retain(|name, _| !name.starts_with(spec::OWN));
    all.append(&mut annotations(pod, container)?);
    Ok(all)
}

/// What is to be changed of a container that is being created.
pub(super) fn adjustment(
    pod: &PodSandbox,
    container: &Container,
    program: HookProgram<'_>,
) -> Result<ContainerAdjustment, DescribeError> {
    let mut annotations = annotations(pod, container)?;
    for name in container.annotations.keys().filter(|name| name.starts_with(spec::OWN)) {
        // Both marks for one name would be applied in no particular order.
        if !annotations.contains_key(name) {
            annotations.insert(format!("-{name}"), String::new());
        }
    }
    let hooks = if is_hooked(container, program.path) {
        None
    } else {
        let (create_runtime, poststop) = (vec![hook(program, "create-runtime")], vec![hook(program, "poststop")]);
        Some(Hooks { create_runtime, poststop, ..Hooks::default() })
    };
    Ok(ContainerAdjustment { annotations, hooks, ..ContainerAdjustment::default() })
}

/// Whether the container's hooks introduce it already.
pub(super) fn is_hooked(container: &Container, program: &Path) -> bool {
    let hooks = container.hooks.as_ref().map(|hooks| hooks.create_runtime.as_slice()).unwrap_or_default();
    hooks.iter().any(|hook| Path::new(&hook.path) == program)
}

fn hook(program: HookProgram<'_>, stage: &str) -> Hook {
    let socket = program.socket.to_string_lossy();
    let args = ["plimsoll-agent", "run-hook", "--socket", &socket, "--stage", stage].map(str::to_owned).to_vec();
    Hook { path: program.path.to_string_lossy().into_owned(), args, ..Hook::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn pod() -> PodSandbox {
        PodSandbox {
            id: "p1".into(),
            name: "web-1".into(),
            uid: "u-1".into(),
            namespace: "shop".into(),
            labels: map(&[("app", "web"), ("io.kubernetes.container.name", "spoofed")]),
            annotations: map(&[("dev.plimsoll.namespace", "kube-system")]),
            ..PodSandbox::default()
        }
    }

    fn container() -> Container {
        Container {
            id: "c1".into(),
            name: "server".into(),
            labels: map(&[("io.kubernetes.container.name", "server")]),
            annotations: map(&[
                ("io.kubernetes.cri.image-name", "registry.example/web:1"),
                ("dev.plimsoll.namespace", "kube-system"),
                ("dev.plimsoll.label/tier", "trusted"),
                ("dev.plimsoll.image.digest", "sha256:00"),
            ]),
            ..Container::default()
        }
    }

    fn program() -> HookProgram<'static> {
        HookProgram { path: Path::new("/opt/agent"), socket: Path::new("/run/a.sock") }
    }

    #[test]
    fn a_container_is_told_to_call_the_agent() {
        let hooks = adjustment(&pod(), &container(), program()).unwrap().hooks.unwrap();
        assert_eq!(hooks.create_runtime[0].path, "/opt/agent");
        let args = ["plimsoll-agent", "run-hook", "--socket", "/run/a.sock", "--stage", "create-runtime"];
        assert_eq!(hooks.create_runtime[0].args, args);
        assert_eq!(hooks.poststop[0].args[5], "poststop");
        let hooked = Container { hooks: Some(hooks), ..container() };
        assert!(is_hooked(&hooked, program().path));
        assert_eq!(adjustment(&pod(), &hooked, program()).unwrap().hooks, None, "not twice");
    }

    #[test]
    fn annotations_that_somebody_else_wrote_are_not_heard() {
        let changed = adjustment(&pod(), &container(), program()).unwrap().annotations;
        let expected = map(&[
            ("-dev.plimsoll.image.digest", ""),
            ("-dev.plimsoll.label/tier", ""),
            ("dev.plimsoll.container", "server"),
            ("dev.plimsoll.label/app", "web"),
            ("dev.plimsoll.label/io.kubernetes.container.name", "server"),
            ("dev.plimsoll.namespace", "shop"),
            ("dev.plimsoll.pod", "web-1"),
            ("dev.plimsoll.pod.uid", "u-1"),
        ]);
        assert_eq!(changed, expected);
        let whole = completed(&pod(), &container()).unwrap();
        assert_eq!(whole.get("io.kubernetes.cri.image-name").unwrap(), "registry.example/web:1");
        assert!(!whole.contains_key("dev.plimsoll.label/tier") && !whole.contains_key("dev.plimsoll.image.digest"));
    }

    #[test]
    fn what_cannot_be_described_is_an_error() {
        let nameless = PodSandbox { namespace: String::new(), ..pod() };
        assert_eq!(annotations(&nameless, &container()), Err(DescribeError::Missing("namespace")));
        let mut long = pod();
        long.labels.insert("x".into(), "y".repeat(MAX_LABELS));
        assert!(matches!(annotations(&long, &container()), Err(DescribeError::Labels(_))));
        let odd = Container { id: "../x".into(), ..container() };
        assert!(matches!(annotations(&pod(), &odd), Err(DescribeError::Id(_))));
    }
}
