//! TracingPolicy: the selectors that kill or refuse, where what they let pass can be said as a list.

use anyhow::{Context as _, ensure};
use plimsoll_policy::{Cidr, Mode};

use super::{Import, Selector, add, document::Node, labels, path};
use crate::policy::draft::{Addition, Draft, FileRule, Network};

/// So that only what the original refuses is refused.
const SOCKETS: [&str; 10] = ["icmp", "raw", "packet", "mptcp", "sctp", "netlink", "vsock", "alg", "xdp", "other"];

/// What a hook is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    Programs,
    Files,
    Connections,
}

/// `matchArgs` of a selector.
struct Matched {
    operator: String,
    values: Vec<(usize, String)>,
    line: usize,
    path: String,
}

pub(super) fn policy(import: &mut Import<'_>, mut document: Node) -> anyhow::Result<()> {
    let kind = document.text("kind").unwrap_or_default();
    let version = document.text("apiVersion").unwrap_or_default();
    let is_known = matches!(kind.as_str(), "TracingPolicy" | "TracingPolicyNamespaced");
    ensure!(
        is_known && version == "cilium.io/v1alpha1",
        "{}:{}: not a TracingPolicy of cilium.io/v1alpha1",
        import.file,
        document.line
    );
    let mut metadata = document.take("metadata").context("a TracingPolicy has `metadata`")?;
    let mut spec = document.take("spec").context("a TracingPolicy has a `spec`")?;
    let name = metadata.text("name").context("a TracingPolicy has a `metadata.name`")?;
    let mut selector = Selector { namespace: metadata.text("namespace"), ..Selector::default() };
    if let Some(mut pods) = spec.take("podSelector") {
        labels(&mut selector, pods.take("matchLabels"));
        import.leave_rest(pods);
    }
    let mut draft = import.draft(Some(&name), selector, Mode::Enforce)?;
    for (list, field) in [("kprobes", "call"), ("lsmhooks", "hook")] {
        for mut hook in spec.items(list) {
            let called = hook.text(field).unwrap_or_default();
            // How arguments are read, which the hook's name says here.
            for name in ["syscall", "args", "return", "returnArg", "message"] {
                hook.take(name);
            }
            let selectors = hook.items("selectors");
            match about(&called) {
                Some(about) if !selectors.is_empty() => {
                    for selector in selectors {
                        take(import, &mut draft, about, &name, selector);
                    }
                }
                Some(_) => import.leave(hook.line, &called, "it only reports"),
                None => import.leave(hook.line, &called, "nothing in a policy is about this hook"),
            }
            import.leave_rest(hook);
        }
    }
    import.leave_rest(spec);
    import.leave_rest(metadata);
    import.leave_rest(document);
    import.policies.push(draft);
    Ok(())
}

fn about(hook: &str) -> Option<About> {
    Some(match hook.trim_start_matches("security_") {
        "bprm_check" | "bprm_check_security" | "bprm_creds_from_file" | "sys_execve" | "sys_execveat" => {
            About::Programs
        }
        "file_open" | "file_permission" => About::Files,
        "tcp_connect" => About::Connections,
        _ => return None,
    })
}

/// Takes one selector over, or leaves all of it out.
fn take(import: &mut Import<'_>, draft: &mut Draft, about: About, policy: &str, mut selector: Node) {
    let actions = selector.items("matchActions");
    let stops = |mut action: Node| {
        let named = action.text("action");
        matches!(named.as_deref(), Some("Sigkill" | "Override" | "NotifyEnforcer" | "NotifyKiller"))
    };
    let (line, path) = (selector.line, selector.path.clone());
    if !actions.into_iter().any(stops) {
        return import.leave(line, &path, "it only reports; a policy reports with `mode: Monitor`, as a whole");
    }
    let arguments = selector.items("matchArgs").into_iter().map(|argument| matched(import, argument));
    let arguments: Vec<Matched> = arguments.collect();
    let narrowed: Vec<Node> = selector.rest();
    if !narrowed.is_empty() {
        for node in &narrowed {
            import.leave_node(node, "what narrows a selector has no counterpart, so the whole selector is left out");
        }
        return;
    }
    match (about, arguments.as_slice()) {
        (About::Programs, [only]) => programs(import, draft, policy, only),
        (About::Files, [named]) => files(import, draft, named, &["Read", "Write"]),
        (About::Files, [named, mask]) => match mask.values.as_slice() {
            [(_, value)] if value == "4" => files(import, draft, named, &["Read"]),
            [(_, value)] if value == "2" => files(import, draft, named, &["Write"]),
            _ => import.leave(mask.line, &mask.path, "only reading (4) and writing (2) can be told apart"),
        },
        (About::Connections, [only]) => connections(import, draft, only),
        _ => import.leave(line, &path, "a selector with these arguments has no counterpart"),
    }
}

fn matched(import: &mut Import<'_>, mut argument: Node) -> Matched {
    let mut values = Vec::new();
    for value in argument.items("values") {
        match value.as_text() {
            Some(text) => values.push((value.line, text.to_owned())),
            None => import.leave_node(&value, "not a text"),
        }
    }
    let operator = argument.text("operator").unwrap_or_default();
    // Which of the hook's arguments it is, its type says.
    argument.take("index");
    let (line, path) = (argument.line, argument.path.clone());
    import.leave_rest(argument);
    Matched { operator, values, line, path }
}

fn programs(import: &mut Import<'_>, draft: &mut Draft, policy: &str, only: &Matched) {
    let below = match only.operator.as_str() {
        "NotEqual" | "NotIn" => false,
        "NotPrefix" => true,
        other => {
            let why = "no rule denies a program: name none, and let no evidence allow it";
            return import.leave(only.line, &format!("{}: {other} {}", only.path, shown(only)), why);
        }
    };
    for (line, value) in &only.values {
        let Some(path) = place(import, *line, value, below) else { continue };
        let reason = format!("let pass by TracingPolicy {policy}");
        add(&mut draft.allow, Addition { path, sha256: None, reason });
    }
}

fn files(import: &mut Import<'_>, draft: &mut Draft, named: &Matched, deny: &[&'static str]) {
    let below = match named.operator.as_str() {
        "Equal" | "In" => false,
        "Prefix" => true,
        other => {
            let why = "rules deny what they name; what is not named stays allowed";
            return import.leave(named.line, &format!("{}: {other} {}", named.path, shown(named)), why);
        }
    };
    for (line, value) in &named.values {
        let Some(path) = place(import, *line, value, below) else { continue };
        match draft.files.iter_mut().find(|known| known.path == path) {
            Some(known) => {
                let new: Vec<_> = deny.iter().filter(|one| !known.deny.contains(one)).copied().collect();
                known.deny.extend(new);
            }
            None => draft.files.push(FileRule { path, deny: deny.to_vec() }),
        }
    }
}

/// The path of a value; a prefix is a directory with all below it.
fn place(import: &mut Import<'_>, line: usize, value: &str, below: bool) -> Option<String> {
    match path(value) {
        Ok(path) if below => {
            if !value.ends_with('/') {
                let what = format!("{value}...");
                import.leave(line, &what, "only what is below the directory is meant now, not names that begin alike");
            }
            Some(format!("{path}/**"))
        }
        Ok(path) => Some(path),
        Err(why) => {
            import.leave(line, value, why);
            None
        }
    }
}

/// A list of addresses that are not to be stopped.
fn connections(import: &mut Import<'_>, draft: &mut Draft, only: &Matched) {
    if only.operator != "NotDAddr" {
        let why = "rules only allow; write the addresses that may be reached as `egress`";
        return import.leave(only.line, &format!("{}: {} {}", only.path, only.operator, shown(only)), why);
    }
    let network = draft.network.get_or_insert_with(|| Network {
        egress: vec!["{protocol: UDP}".to_owned()],
        bind: vec!["{protocol: TCP}".to_owned(), "{protocol: UDP}".to_owned()],
        ingress: vec!["{protocol: TCP}".to_owned()],
        sockets: SOCKETS.map(str::to_owned).to_vec(),
    });
    let mut wrong = Vec::new();
    for (line, value) in &only.values {
        let length = if value.contains(':') { 128 } else { 32 };
        let text = if value.contains('/') { value.clone() } else { format!("{value}/{length}") };
        match text.parse::<Cidr>() {
            Ok(cidr) => network.egress.push(format!("{{cidr: \"{cidr}\", protocol: TCP}}")),
            Err(error) => wrong.push((*line, value.clone(), error.to_string())),
        }
    }
    for (line, value, why) in wrong {
        import.leave(line, &value, &why);
    }
}

fn shown(matched: &Matched) -> String {
    matched.values.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(", ")
}
