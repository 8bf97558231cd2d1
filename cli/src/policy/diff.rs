//! `plimsoll policy diff`: what an edit changes about what is allowed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{Debug, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use plimsoll_policy::{Policy, SOCKET_KINDS, SignedBy, Unsigned};
use serde::Serialize;

use crate::{
    output::{print, printable},
    policy::check::{Loaded, load},
};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The policies in force: a document, or a directory.
    before: PathBuf,
    /// Those that are to replace them.
    after: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What one policy changes.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Change {
    policy: String,
    field: &'static str,
    /// Nothing if it was not there.
    before: Option<String>,
    after: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let side = |path: &PathBuf| load(std::slice::from_ref(path));
    let (before, after) = match (side(&arguments.before)?, side(&arguments.after)?) {
        (Loaded::Policies(before), Loaded::Policies(after)) => (before, after),
        (Loaded::Refused(code), _) | (_, Loaded::Refused(code)) => return Ok(code),
    };
    let changes = between(&before, &after);
    let text = if arguments.json { serde_json::to_string_pretty(&changes)? + "\n" } else { text(&changes)? };
    print(&text)?;
    Ok(if changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn between(before: &[Policy], after: &[Policy]) -> Vec<Change> {
    let by_name = |policies| -> BTreeMap<String, BTreeSet<(&'static str, String)>> {
        let named = |policy: &Policy| (policy.name.clone(), facts(policy));
        <[Policy]>::iter(policies).map(named).collect()
    };
    let (before, after) = (by_name(before), by_name(after));
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let nothing = BTreeSet::new();
    let changed = |name: &String| {
        let (old, new) = (before.get(name).unwrap_or(&nothing), after.get(name).unwrap_or(&nothing));
        changes(name, old, new)
    };
    names.into_iter().flat_map(changed).collect()
}

/// Facts that only one side has; two of a field with one value are one change.
fn changes(name: &str, old: &BTreeSet<(&'static str, String)>, new: &BTreeSet<(&'static str, String)>) -> Vec<Change> {
    let gone: Vec<_> = old.difference(new).collect();
    let mut come: Vec<_> = new.difference(old).collect();
    let mut found = Vec::new();
    for (field, value) in gone {
        let partner = come.iter().position(|(other, _)| other == field && SINGLE.contains(field));
        let after = partner.map(|index| come.remove(index).1.clone());
        found.push(Change { policy: name.to_owned(), field, before: Some(value.clone()), after });
    }
    let added = |(field, value): &(&'static str, String)| Change {
        policy: name.to_owned(),
        field,
        before: None,
        after: Some(value.clone()),
    };
    found.extend(come.into_iter().map(added));
    found.sort_by_key(|change| ORDER.iter().position(|field| *field == change.field));
    found
}

/// Fields with one value.
const SINGLE: [&str; 8] =
    ["selector", "mode", "evidence", "anonymousExec", "scripts", "hardening.capabilities", "sbom.unsigned", "network"];
/// The order in which a person asks.
const ORDER: [&str; 13] = [
    "selector",
    "mode",
    "evidence",
    "anonymousExec",
    "scripts",
    "allow",
    "network",
    "network.rules",
    "hardening",
    "hardening.capabilities",
    "files",
    "sbom.signedBy",
    "sbom.unsigned",
];

/// All that a policy says, defaults written out, as single facts. A reason is no fact: it changes nothing that is decided.
fn facts(policy: &Policy) -> BTreeSet<(&'static str, String)> {
    let word = |value: &dyn Debug| format!("{value:?}");
    let mut facts = BTreeSet::from([
        ("selector", selector(policy)),
        ("mode", policy.mode.to_string()),
        ("evidence", policy.evidence.to_string()),
        ("anonymousExec", word(&policy.anonymous_exec)),
        ("scripts", word(&policy.scripts)),
        (
            "sbom.unsigned",
            match policy.sbom.unsigned {
                Unsigned::Refuse => "Refuse".to_owned(),
                Unsigned::AtMost(class) => class.to_string(),
            },
        ),
        (
            "hardening.capabilities",
            match policy.hardening.capabilities {
                None => "all".to_owned(),
                Some(allowed) => serde_json::to_string(&allowed).unwrap_or_default(),
            },
        ),
        ("network", if policy.network.is_some() { "restricted" } else { "not restricted" }.to_owned()),
    ]);
    facts.extend(policy.allow.iter().map(|addition| {
        let pin = addition.sha256.map(|digest| format!(" with {digest}")).unwrap_or_default();
        ("allow", format!("{}{pin}", addition.path))
    }));
    facts.extend(policy.files.iter().map(|rule| ("files", rule.to_string())));
    facts.extend(policy.hardening.forbidden.operations().map(|it| ("hardening", format!("deny {}", it.name()))));
    if let Some(network) = &policy.network {
        facts.extend(network.rules.iter().map(|rule| ("network.rules", rule.to_string())));
        let kinds = SOCKET_KINDS.iter().filter(|(_, bit)| network.sockets & bit != 0);
        facts.extend(kinds.map(|(name, _)| ("network.rules", format!("sockets {name}"))));
    }
    facts.extend(policy.sbom.signed_by.iter().map(|signer| match signer {
        SignedBy::Key(name) => ("sbom.signedBy", format!("key {name}")),
        SignedBy::Identity { identity, issuer } => ("sbom.signedBy", format!("{identity}, vouched for by {issuer}")),
    }));
    facts
}

fn selector(policy: &Policy) -> String {
    let selector = &policy.selector;
    let mut parts = Vec::new();
    parts.extend(selector.image_digest.map(|digest| format!("image {digest}")));
    parts.extend(selector.image_reference.as_ref().map(|reference| format!("image {reference}")));
    parts.extend(selector.labels.iter().map(|(key, value)| format!("label {key}={value}")));
    parts.extend(selector.namespace.as_ref().map(|namespace| format!("namespace {namespace}")));
    parts.join(", ")
}

fn text(changes: &[Change]) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let mut last = None;
    for Change { policy, field, before, after } in changes {
        if last != Some(policy) {
            writeln!(text, "{}", printable(policy))?;
            last = Some(policy);
        }
        match (before, after) {
            (Some(before), Some(after)) => writeln!(text, "  {field}: {} -> {}", printable(before), printable(after))?,
            (Some(before), None) => writeln!(text, "  {field}: no longer {}", printable(before))?,
            (None, after) => writeln!(text, "  {field}: new {}", printable(after.as_deref().unwrap_or_default()))?,
        }
    }
    if changes.is_empty() {
        writeln!(text, "nothing changes about what is decided")?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use plimsoll_policy::{Limits, parse_all};

    use super::*;

    const HEAD: &str = "apiVersion: plimsoll.dev/v1alpha1\nkind: EnforcementPolicy\nmetadata: {name: shop}\nspec:\n  \
                        selector: {namespace: shop}\n";

    #[track_caller]
    fn check(before: &str, after: &str, expected: &Expect) {
        let side = |rest: &str| parse_all("a.yaml", format!("{HEAD}{rest}").as_bytes(), &Limits::default()).unwrap();
        expected.assert_eq(&text(&between(&side(before), &side(after))).unwrap());
    }

    #[test]
    fn defaults_and_reasons_are_no_change() {
        check(
            "  mode: Enforce\n  allow: [{path: /a, reason: one}]\n",
            "  mode: Enforce\n  evidence: package-digest\n  anonymousExec: Auto\n  allow: [{path: /a, reason: two}]\n",
            &expect![[r"
                nothing changes about what is decided
            "]],
        );
    }

    #[test]
    fn every_part_is_told() {
        check(
            "  mode: Monitor\n  allow: [{path: /a, reason: one}]\n  files: [{path: /etc/shadow, deny: [Read]}]\n",
            "  mode: Enforce\n  evidence: layer-only\n  anonymousExec: Allow\n  scripts: Image\n  allow: [{path: /b/**, reason: one}]\n  \
             files: [{path: /etc/shadow, deny: [Read, Write]}]\n  network: {egress: [{cidr: 10.0.0.0/8}], sockets: [icmp]}\n  \
             hardening: {mount: Deny, bpf: Allow, capabilities: []}\n  sbom: {signedBy: [{key: release}]}\n",
            &expect![[r"
                shop
                  mode: Monitor -> Enforce
                  evidence: package-digest -> layer-only
                  anonymousExec: Auto -> Allow
                  scripts: Any -> Image
                  allow: no longer /a
                  allow: new /b/**
                  network: not restricted -> restricted
                  network.rules: new network bind loopback
                  network.rules: new network egress 10.0.0.0/8
                  network.rules: new network egress loopback
                  network.rules: new network ingress loopback
                  network.rules: new sockets icmp
                  hardening: no longer deny bpf
                  hardening: new deny io-uring
                  hardening: new deny mount
                  hardening.capabilities: all -> []
                  files: no longer `/etc/shadow`: deny Read
                  files: new `/etc/shadow`: deny Read, Write
                  sbom.signedBy: new key release
                  sbom.unsigned: sbom-digest -> Refuse
            "]],
        );
    }

    #[test]
    fn a_policy_that_goes_takes_its_selector_along() {
        let policies = parse_all("a.yaml", format!("{HEAD}  mode: Enforce\n").as_bytes(), &Limits::default()).unwrap();
        let changes = between(&policies, &[]);
        assert!(changes.iter().all(|change| change.after.is_none() && change.policy == "shop"));
        assert!(changes.iter().any(|change| change.field == "selector"));
    }
}
