//! Which pod and container a container runtime says it makes: from annotations alone, so that it is known before the start.

use std::collections::BTreeMap;

use plimsoll_proto::limits;

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodRef {
    /// The pod's uid.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// The container's name in it.
    pub container: String,
}

impl PodRef {
    /// As containerd and CRI-O write it; `None` for a container of no pod.
    pub fn of(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let first = |names: [&str; 2]| {
            let found = names.iter().find_map(|name| annotations.get(*name));
            found.filter(|text| text.len() <= limits::NAME).cloned()
        };
        Some(Self {
            uid: first(["io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid"])?,
            name: first(["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"]).unwrap_or_default(),
            container: first(["io.kubernetes.cri.container-name", "io.kubernetes.container.name"]).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_runtimes_say_which_pod_it_is() {
        let annotations = |pairs: [(&str, &str); 3]| {
            pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect::<BTreeMap<_, _>>()
        };
        let expected = PodRef { uid: "u".to_owned(), name: "cart-0".to_owned(), container: "cart".to_owned() };
        let containerd = annotations([
            ("io.kubernetes.cri.sandbox-uid", "u"),
            ("io.kubernetes.cri.sandbox-name", "cart-0"),
            ("io.kubernetes.cri.container-name", "cart"),
        ]);
        assert_eq!(PodRef::of(&containerd), Some(expected.clone()));
        let crio = annotations([
            ("io.kubernetes.pod.uid", "u"),
            ("io.kubernetes.pod.name", "cart-0"),
            ("io.kubernetes.container.name", "cart"),
        ]);
        assert_eq!(PodRef::of(&crio), Some(expected));
        let long = "x".repeat(limits::NAME + 1);
        assert_eq!(PodRef::of(&annotations([("io.kubernetes.pod.uid", &long), ("a", ""), ("b", "")])), None);
        assert_eq!(PodRef::of(&BTreeMap::new()), None);
    }
}
