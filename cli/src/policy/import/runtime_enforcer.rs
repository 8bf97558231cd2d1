//! Kubewarden's runtime enforcer: a `WorkloadPolicy` lists the programs of each container.

use anyhow::Context as _;
use plimsoll_policy::Mode;

use super::{Import, Selector, add, document::Node, path};
use crate::policy::draft::Addition;

/// The project's API group today, and before.
const GROUPS: [&str; 2] = ["runtimeenforcer.kubewarden.io", "security.rancher.io"];

pub(super) fn policy(import: &mut Import<'_>, mut document: Node) -> anyhow::Result<()> {
    let kind = document.text("kind").unwrap_or_default();
    let version = document.text("apiVersion").unwrap_or_default();
    let group = GROUPS.into_iter().find(|group| version.split('/').next() == Some(group));
    let group = group
        .filter(|_| kind == "WorkloadPolicy")
        .with_context(|| format!("{}:{}: not a WorkloadPolicy of the runtime enforcer", import.file, document.line))?;
    let mut metadata = document.take("metadata").context("a WorkloadPolicy has `metadata`")?;
    let mut spec = document.take("spec").context("a WorkloadPolicy has a `spec`")?;
    let name = metadata.text("name").context("a WorkloadPolicy has a `metadata.name`")?;
    // Pods are bound to their policy by this label.
    let labels = [(format!("{group}/policy"), name.clone())].into();
    let selector = Selector { namespace: metadata.text("namespace"), labels, ..Selector::default() };
    let mode = match spec.text("mode").as_deref() {
        Some("protect") => Mode::Enforce,
        _ => Mode::Monitor,
    };
    let line = metadata.line;
    let mut draft = import.draft(Some(&name), selector, mode)?;
    let containers = spec.take("rulesByContainer").map(Node::rest).unwrap_or_default();
    if containers.len() > 1 {
        import.leave(line, "rulesByContainer", "one policy is for all of them: what one container may run, all may");
    }
    for mut container in containers {
        let Some(mut executables) = container.take("executables") else {
            import.leave_rest(container);
            continue;
        };
        for item in executables.items("allowed") {
            let Some(text) = item.as_text() else {
                import.leave_node(&item, "not a path");
                continue;
            };
            match path(text) {
                Ok(path) => add(
                    &mut draft.allow,
                    Addition {
                        path,
                        sha256: None,
                        reason: format!("allowed by WorkloadPolicy {name}, {}", container.path),
                    },
                ),
                Err(why) => import.leave_node(&item, why),
            }
        }
        import.leave_rest(executables);
        import.leave_rest(container);
    }
    import.leave_rest(spec);
    import.leave_rest(metadata);
    import.leave_rest(document);
    import.policies.push(draft);
    Ok(())
}
