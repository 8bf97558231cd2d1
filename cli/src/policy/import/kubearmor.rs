//! KubeArmorPolicy and KubeArmorClusterPolicy.

use anyhow::{Context as _, ensure};
use plimsoll_policy::Mode;

use super::{Import, Selector, add, document::Node, labels, path};
use crate::policy::draft::{Addition, Draft, FileRule, Network};

const ALL: [&str; 1] = ["All"];
const CHANGING: [&str; 6] = ["Write", "Create", "Remove", "Rename", "Link", "Attribute"];

/// What KubeArmor does not speak of.
const OTHER_SOCKETS: [&str; 8] = ["packet", "mptcp", "sctp", "netlink", "vsock", "alg", "xdp", "other"];

pub(super) fn policy(import: &mut Import<'_>, mut document: Node) -> anyhow::Result<()> {
    let kind = document.text("kind").unwrap_or_default();
    let is_known = matches!(kind.as_str(), "KubeArmorPolicy" | "KubeArmorClusterPolicy");
    let version = document.text("apiVersion").unwrap_or_default();
    ensure!(
        is_known && version == "security.kubearmor.com/v1",
        "{}:{}: not a KubeArmorPolicy of security.kubearmor.com/v1",
        import.file,
        document.line
    );
    let mut metadata = document.take("metadata").context("a KubeArmorPolicy has `metadata`")?;
    let mut spec = document.take("spec").context("a KubeArmorPolicy has a `spec`")?;
    let name = metadata.text("name").context("a KubeArmorPolicy has a `metadata.name`")?;
    let mut selector = Selector { namespace: metadata.text("namespace"), ..Selector::default() };
    if let Some(mut selected) = spec.take("selector") {
        labels(&mut selector, selected.take("matchLabels"));
        import.leave_rest(selected);
    }
    // Only a policy that does nothing but report becomes one that reports.
    let action = spec.text("action").unwrap_or_else(|| "Block".to_owned());
    let mode = if action == "Audit" { Mode::Monitor } else { Mode::Enforce };
    let mut draft = import.draft(Some(&name), selector, mode)?;
    let mut rules = Rules { import, draft: &mut draft, action: &action, name: &name };
    rules.processes(spec.take("process"));
    rules.files(spec.take("file"));
    rules.network(spec.take("network"));
    rules.capabilities(spec.take("capabilities"));
    import.leave_rest(spec);
    import.leave_rest(metadata);
    import.leave_rest(document);
    import.policies.push(draft);
    Ok(())
}

/// Takes the action of a section or rule, which goes before that around it.
fn action_of(node: &mut Node, around: &str) -> String {
    node.text("action").unwrap_or_else(|| around.to_owned())
}

/// `tags: [...]`.
fn is_tag(node: &Node) -> bool {
    node.path.rsplit('.').next() == Some("tags")
}

struct Rules<'r, 'i, 'a> {
    import: &'r mut Import<'a>,
    draft: &'i mut Draft,
    /// The policy's.
    action: &'r str,
    name: &'r str,
}

impl Rules<'_, '_, '_> {
    /// Whether the whole of a rule can be said: nothing narrows it.
    fn is_whole(&mut self, rule: Node) -> bool {
        let line = rule.line;
        let path = rule.path.clone();
        let said = |node: &Node| matches!(node.path.rsplit('.').next(), Some("severity" | "message")) || is_tag(node);
        let rest = rule.rest().into_iter().filter(|node| node.as_text() != Some("false"));
        let (said, left): (Vec<Node>, Vec<Node>) = rest.partition(said);
        for node in &said {
            self.import.leave_node(node, "events say which rule decided; severities and messages have no counterpart");
        }
        for node in &left {
            let why = match node.path.rsplit('.').next() {
                Some("fromSource") => "rules for single programs have no counterpart, so the whole rule is left out",
                Some("ownerOnly") => "rules for a file's owner have no counterpart, so the whole rule is left out",
                _ => "it has no counterpart in a policy, so the whole rule is left out",
            };
            self.import.leave_node(node, why);
        }
        if !left.is_empty() {
            self.import.leave(line, &path, "the rule is left out because of what narrows it");
        }
        left.is_empty()
    }

    /// The path of a rule, or of a directory with all below it.
    fn place(&mut self, rule: &mut Node, field: &str) -> Option<String> {
        let mut place = rule.take(field)?;
        let text = place.as_text().map(str::to_owned)?;
        if field == "dir" && rule.text("recursive").as_deref() != Some("true") {
            self.import.leave_node(&place, "a directory without those below it has no counterpart; name its files");
            return None;
        }
        place.path.clone_from(&rule.path);
        match path(&text) {
            Ok(path) if field == "dir" => Some(format!("{path}/**")),
            Ok(path) => Some(path),
            Err(why) => {
                self.import.leave_node(&place, why);
                None
            }
        }
    }

    fn processes(&mut self, section: Option<Node>) {
        let Some(mut section) = section else { return };
        let around = action_of(&mut section, self.action);
        for (list, field) in [("matchPaths", "path"), ("matchDirectories", "dir")] {
            for mut rule in section.items(list) {
                let action = action_of(&mut rule, &around);
                let Some(path) = self.place(&mut rule, field) else { continue };
                let line = rule.line;
                if action != "Allow" {
                    let why = "no rule denies a program: name none, and let no evidence allow it";
                    self.import.leave(line, &format!("{action} to run {path}"), why);
                } else if self.is_whole(rule) {
                    let reason = format!("allowed by KubeArmorPolicy {}", self.name);
                    add(&mut self.draft.allow, Addition { path, sha256: None, reason });
                }
            }
        }
        self.import.leave_rest(section);
    }

    fn files(&mut self, section: Option<Node>) {
        let Some(mut section) = section else { return };
        let around = action_of(&mut section, self.action);
        for (list, field) in [("matchPaths", "path"), ("matchDirectories", "dir")] {
            for mut rule in section.items(list) {
                let action = action_of(&mut rule, &around);
                let read_only = rule.text("readOnly").as_deref() == Some("true");
                let Some(path) = self.place(&mut rule, field) else { continue };
                let line = rule.line;
                if action == "Allow" {
                    let why =
                        "what it denies elsewhere depends on the namespace's default posture; name what is denied";
                    self.import.leave(line, &format!("Allow {path}"), why);
                } else if action != self.action {
                    let why = "a policy reports or denies as a whole";
                    self.import.leave(line, &format!("{action} {path}"), why);
                } else if self.draft.files.iter().any(|known| known.path == path) {
                    self.import.leave(line, &path, "a second rule for the same path");
                } else if self.is_whole(rule) {
                    let deny = if read_only { CHANGING.to_vec() } else { ALL.to_vec() };
                    self.draft.files.push(FileRule { path, deny });
                }
            }
        }
        self.import.leave_rest(section);
    }

    /// KubeArmor's rules are by protocol alone.
    fn network(&mut self, section: Option<Node>) {
        let Some(mut section) = section else { return };
        let around = action_of(&mut section, self.action);
        let mut named = Vec::new();
        for mut rule in section.items("matchProtocols") {
            let action = action_of(&mut rule, &around);
            let protocol = rule.text("protocol").unwrap_or_default().to_lowercase();
            let line = rule.line;
            if !matches!(protocol.as_str(), "tcp" | "udp" | "icmp" | "raw") || action != around {
                self.import.leave(
                    line,
                    &format!("{action} {protocol}"),
                    "only tcp, udp, icmp and raw, with one action",
                );
            } else if self.is_whole(rule) {
                named.push(protocol);
            }
        }
        if !named.is_empty() {
            let allowed = |protocol: &str| named.iter().any(|one| one == protocol) == (around == "Allow");
            let mut network = Network::default();
            for (protocol, word) in [("tcp", "TCP"), ("udp", "UDP")] {
                if allowed(protocol) {
                    network.egress.push(format!("{{protocol: {word}}}"));
                    network.bind.push(format!("{{protocol: {word}}}"));
                }
            }
            if allowed("tcp") {
                network.ingress.push("{protocol: TCP}".to_owned());
            }
            network.sockets.extend(["icmp", "raw"].into_iter().filter(|one| allowed(one)).map(str::to_owned));
            if around != "Allow" {
                network.sockets.extend(OTHER_SOCKETS.map(str::to_owned));
            }
            self.draft.network = Some(network);
        }
        self.import.leave_rest(section);
    }

    fn capabilities(&mut self, section: Option<Node>) {
        let Some(mut section) = section else { return };
        let around = action_of(&mut section, self.action);
        let mut allowed = Vec::new();
        for mut rule in section.items("matchCapabilities") {
            let action = action_of(&mut rule, &around);
            let capability = rule.text("capability").unwrap_or_default();
            let line = rule.line;
            if action == "Allow" && self.is_whole(rule) {
                allowed.push(format!("CAP_{}", capability.to_uppercase().trim_start_matches("CAP_")));
            } else if action != "Allow" {
                let why = "a policy names the capabilities that may be used: list the others in hardening.capabilities";
                self.import.leave(line, &format!("{action} {capability}"), why);
            }
        }
        if !allowed.is_empty() {
            self.draft.capabilities = Some(allowed);
        }
        self.import.leave_rest(section);
    }
}
