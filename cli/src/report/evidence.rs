//! What shows that a control is supported, and whether it is there.

use plimsoll_policy::{AnonymousExec, Hardening, Policy, Scripts};
use serde::{Deserialize, Serialize};

use super::{
    facts::Facts,
    mapping::{Control, Mapping},
};

/// Names listed in one sentence.
const NAMED: usize = 8;

/// Questions to policies, events and nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Evidence {
    /// Policies are given, and one is in `Enforce`.
    EnforcedPolicies,
    /// A policy in `Enforce` restricts the network.
    NetworkRules,
    /// A policy in `Enforce` has file rules.
    FileRules,
    /// A policy in `Enforce` names the capabilities that may be used.
    Capabilities,
    /// A policy in `Enforce` denies what is not denied by default: mounting, user namespaces, ...
    Hardening,
    /// A policy in `Enforce` never lets memory without a file become code.
    NoAnonymousCode,
    /// A policy in `Enforce` keeps interpreters to the image's scripts.
    ImageScripts,
    /// A policy in `Enforce` accepts SBOMs only with a signature.
    SignedSboms,
    /// Decisions of the window were stored.
    StoredDecisions,
    /// Deviations of files that are no part of the image as it was built were looked for, and decisions are there.
    ChangedFiles,
    /// Every node is heard of.
    Nodes,
    /// Nothing of the window was lost, skipped or forgotten.
    WholeRecord,
}

/// Whether evidence is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum State {
    Shown,
    Partly,
    NotShown,
}

/// What a mapping's controls come to.
#[derive(Debug, Serialize)]
pub(super) struct Results<'m> {
    pub(super) mapping: &'m str,
    pub(super) controls: Vec<Outcome<'m>>,
}

#[derive(Debug, Serialize)]
pub(super) struct Outcome<'m> {
    #[serde(flatten)]
    pub(super) control: &'m Control,
    /// `shown` if all of its evidence is there. It says nothing about what the control does not cover.
    pub(super) state: State,
    pub(super) findings: Vec<Finding>,
}

#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) evidence: Evidence,
    pub(super) state: State,
    pub(super) text: String,
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Shown => "shown",
            Self::Partly => "in part",
            Self::NotShown => "NOT SHOWN",
        }
    }
}

pub(super) fn results<'m>(mapping: &'m Mapping, facts: &Facts) -> Results<'m> {
    let outcome = |control: &'m Control| {
        let findings: Vec<_> = control.evidence.iter().map(|evidence| evidence.find(facts)).collect();
        let state = match findings.iter().filter(|finding| finding.state == State::Shown).count() {
            all if all == findings.len() => State::Shown,
            0 if findings.iter().all(|finding| finding.state == State::NotShown) => State::NotShown,
            _ => State::Partly,
        };
        Outcome { control, state, findings }
    };
    Results { mapping: &mapping.id, controls: mapping.controls.iter().map(outcome).collect() }
}

impl Evidence {
    fn find(self, facts: &Facts) -> Finding {
        let (state, text) = match self {
            Self::EnforcedPolicies => policies(facts, "given", |_| true),
            Self::NetworkRules => policies(facts, "with network rules", |policy| policy.network.is_some()),
            Self::FileRules => policies(facts, "with file rules", |policy| !policy.files.is_empty()),
            Self::Capabilities => {
                policies(facts, "that name capabilities", |policy| policy.hardening.capabilities.is_some())
            }
            Self::Hardening => policies(facts, "that forbid more operations than by default", forbids_more),
            Self::NoAnonymousCode => {
                policies(facts, "with `anonymousExec: Deny`", |policy| policy.anonymous_exec == AnonymousExec::Deny)
            }
            Self::ImageScripts => policies(facts, "with `scripts: Image`", |policy| policy.scripts == Scripts::Image),
            Self::SignedSboms => {
                policies(facts, "that name signers of SBOMs", |policy| !policy.sbom.signed_by.is_empty())
            }
            Self::StoredDecisions => decisions(facts),
            Self::ChangedFiles => changed(facts),
            Self::Nodes => nodes(facts),
            Self::WholeRecord => match facts.reading.doubts.len() {
                0 => (State::Shown, "nothing of the window is known to be lost, missing or forgotten".to_owned()),
                count => (State::NotShown, format!("the record may have holes, for {count} reasons: see nodes.json")),
            },
        };
        Finding { evidence: self, state, text }
    }
}

/// Whether a policy takes away more than the defaults, and gives none of those back.
fn forbids_more(policy: &Policy) -> bool {
    let forbidden: Vec<_> = policy.hardening.forbidden.operations().collect();
    let default = Hardening::DEFAULT;
    default.iter().all(|operation| forbidden.contains(operation)) && forbidden.len() > default.len()
}

fn policies(facts: &Facts, what: &str, satisfy: impl Fn(&Policy) -> bool) -> (State, String) {
    let [enforce, monitor] = facts.policies_that(satisfy);
    let all = facts.policies.len();
    let state = match enforce.len() {
        0 => State::NotShown,
        count if count == all => State::Shown,
        _ => State::Partly,
    };
    let names = |names: &[&str]| match names.len() {
        0 => "none".to_owned(),
        count => {
            let more = if count > NAMED { format!(" and {} more", count - NAMED) } else { String::new() };
            let first: Vec<_> = names.iter().take(NAMED).copied().collect();
            format!("{}{more}", first.join(", "))
        }
    };
    let text = format!(
        "policies {what}: enforcing {} ({}), only reporting {} ({}); {all} are given",
        enforce.len(),
        names(&enforce),
        monitor.len(),
        names(&monitor)
    );
    (state, text)
}

fn decisions(facts: &Facts) -> (State, String) {
    let [denied, audited, allowed] = ["deny", "audit", "allow"].map(|verdict| facts.with_verdict(verdict));
    let text = format!("{denied} denials, {audited} reports without denial, {allowed} allowed executions stored");
    (if facts.reading.events > 0 { State::Shown } else { State::NotShown }, text)
}

fn changed(facts: &Facts) -> (State, String) {
    let count = facts.for_reasons(&["written", "foreign", "modified-code", "not-listed"]);
    let [enforce, _] = facts.policies_that(|_| true);
    let text = format!(
        "{count} attempts to run or load what is not the image's, or was changed since; {} policies deny them",
        enforce.len()
    );
    // No attempt is no proof that one would be denied; policies that deny them are.
    (if enforce.is_empty() { State::NotShown } else { State::Shown }, text)
}

fn nodes(facts: &Facts) -> (State, String) {
    let Some(nodes) = &facts.reading.nodes else {
        return (State::NotShown, "nobody told which nodes there are".to_owned());
    };
    let silent = nodes.iter().filter(|node| facts.reading.is_silent(node)).count();
    let state = match (nodes.len(), silent) {
        (0, _) => State::NotShown,
        (_, 0) => State::Shown,
        (all, silent) if silent < all => State::Partly,
        _ => State::NotShown,
    };
    (state, format!("{} nodes sent events, {silent} of them are silent", nodes.len()))
}
