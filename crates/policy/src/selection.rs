//! Which policy is for which workload.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, HashMap},
    fmt,
};

use plimsoll_sbom::Sha256;

use crate::{
    diagnostic::Diagnostic,
    policy::{Mode, Policy, Selector},
};

/// What is known of a workload when it starts. What is not known matches no selector that asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkloadFacts {
    /// Digest of the image's manifest, `sha256:...`, without a repository.
    pub image_digest: Option<String>,
    /// The image's reference, as the container runtime gives it.
    pub image_reference: Option<String>,
    /// The workload's labels.
    pub labels: BTreeMap<String, String>,
    /// Its namespace.
    pub namespace: Option<String>,
}

impl Policy {
    /// Whether every part of the selector matches the workload.
    pub fn matches(&self, facts: &WorkloadFacts) -> bool {
        self.mismatch(facts).is_none()
    }

    /// Whether the selector matches the workload if its image has the right digest.
    pub fn could_match(&self, facts: &WorkloadFacts) -> bool {
        self.mismatch_beside_digest(facts).is_none()
    }

    /// The first part of the selector that does not match.
    fn mismatch(&self, facts: &WorkloadFacts) -> Option<Unmatched> {
        let digest_matches = self.selector.image_digest.as_ref().is_none_or(|digest| {
            let actual = facts.image_digest.as_deref().map(str::parse::<Sha256>);
            matches!(actual, Some(Ok(actual)) if actual == *digest)
        });
        match self.mismatch_beside_digest(facts) {
            Some(Unmatched::Namespace) => Some(Unmatched::Namespace),
            other if digest_matches => other,
            _ => Some(Unmatched::Digest),
        }
    }

    fn mismatch_beside_digest(&self, facts: &WorkloadFacts) -> Option<Unmatched> {
        let Selector { image_digest: _, image_reference, labels, namespace } = &self.selector;
        let reference_matches = image_reference
            .as_ref()
            .is_none_or(|pattern| facts.image_reference.as_deref().is_some_and(|reference| pattern.matches(reference)));
        let label = labels.iter().find(|(key, value)| facts.labels.get(*key) != Some(*value));
        if namespace.is_some() && *namespace != facts.namespace {
            Some(Unmatched::Namespace)
        } else if !reference_matches {
            Some(Unmatched::Reference)
        } else {
            label.map(|(key, _)| Unmatched::Label(key.clone()))
        }
    }
}

/// The part of a selector that keeps a policy from a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmatched {
    /// Another namespace, or an unknown one.
    Namespace,
    /// Another image digest, or an unknown one.
    Digest,
    /// The image's reference does not fit the pattern, or is unknown.
    Reference,
    /// The workload does not have this label with this value.
    Label(String),
}

impl fmt::Display for Unmatched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace => f.write_str("the workload is not known to be in its namespace"),
            Self::Digest => f.write_str("the workload's image is not known to have its digest"),
            Self::Reference => f.write_str("the workload's image reference does not fit"),
            Self::Label(key) => write!(f, "the workload does not have its label `{key}`"),
        }
    }
}

/// What puts one matching policy before another; the first that differs decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Who stands behind it.
    Authority,
    /// An image digest before none.
    Digest,
    /// The more literal image reference.
    Reference,
    /// More labels.
    Labels,
    /// A namespace before none.
    Namespace,
    /// `Enforce` before `Monitor`.
    Mode,
    /// The name that sorts first.
    Name,
    /// The lower digest of the text.
    Generation,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authority => "a higher authority goes first",
            Self::Digest => "an image digest goes before none",
            Self::Reference => "the more literal image reference goes first",
            Self::Labels => "more labels go before fewer",
            Self::Namespace => "a namespace goes before none",
            Self::Mode => "`Enforce` goes before `Monitor`",
            Self::Name => "the name that sorts first goes first",
            Self::Generation => "the lower digest goes first",
        })
    }
}

/// What became of a policy when one was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is the workload's.
    Selected,
    /// It matches, and another one goes before it for this reason.
    PassedOver(Difference),
    /// It is not for this workload.
    Unmatched(Unmatched),
}

/// The policy for a workload, if there is one; the order of `policies` plays no part.
///
/// Of the policies that match, the first difference decides:
/// 1. the higher [`crate::Authority`], so that a policy cannot be weakened from below;
/// 2. an image digest in the selector before none;
/// 3. an image reference before none, and of two, the one with more literal characters, then fewer wildcards;
///    `*` alone counts as none, so that a policy for everything never stands before one for something;
/// 4. more labels before fewer;
/// 5. a namespace before none;
/// 6. `Enforce` before `Monitor`;
/// 7. the name that sorts first, and of equal names the lower generation.
pub fn select<'a>(policies: &'a [Policy], facts: &WorkloadFacts) -> Option<&'a Policy> {
    policies.iter().filter(|policy| policy.matches(facts)).min_by(|a, b| precedence(a, b).0)
}

/// What became of each policy when [`select`] looks for one: the selected one first, then those that match in the order in
/// which they would be, then the others in the order of their names.
pub fn standings<'a>(policies: &'a [Policy], facts: &WorkloadFacts) -> Vec<(&'a Policy, Standing)> {
    let (mut matching, mut others): (Vec<_>, Vec<_>) = policies.iter().partition(|policy| policy.matches(facts));
    matching.sort_by(|a, b| precedence(a, b).0);
    others.sort_by(|a, b| (&a.name, a.generation).cmp(&(&b.name, b.generation)));
    let selected = matching.first().copied();
    let standing = |policy: &'a Policy| match selected {
        Some(selected) if !std::ptr::eq(selected, policy) => Standing::PassedOver(precedence(selected, policy).1),
        _ => Standing::Selected,
    };
    let ranked = matching.into_iter().map(|policy| (policy, standing(policy)));
    let unmatched =
        others.into_iter().filter_map(|policy| Some((policy, Standing::Unmatched(policy.mismatch(facts)?))));
    ranked.chain(unmatched).collect()
}

/// `Less` if `a` goes before `b`, and what decides that.
fn precedence(a: &Policy, b: &Policy) -> (Ordering, Difference) {
    let (left, right) = (specificity(&a.selector), specificity(&b.selector));
    let enforces = |policy: &Policy| policy.mode == Mode::Enforce;
    let decisive = [
        (a.authority.cmp(&b.authority), Difference::Authority),
        (right.0.cmp(&left.0), Difference::Digest),
        (right.1.cmp(&left.1), Difference::Reference),
        (right.2.cmp(&left.2), Difference::Labels),
        (right.3.cmp(&left.3), Difference::Namespace),
        (enforces(b).cmp(&enforces(a)), Difference::Mode),
        (a.name.cmp(&b.name), Difference::Name),
    ];
    let last = (a.generation.cmp(&b.generation), Difference::Generation);
    decisive.into_iter().find(|(order, _)| order.is_ne()).unwrap_or(last)
}

/// Greater is more specific; parts are compared in the order of their weight.
fn specificity(selector: &Selector) -> (bool, Option<(usize, Reverse<usize>)>, usize, bool) {
    (
        selector.image_digest.is_some(),
        selector.image_reference.as_ref().and_then(crate::ReferencePattern::specificity),
        selector.labels.len(),
        selector.namespace.is_some(),
    )
}

/// One problem for each policy whose name an earlier one of `policies` has: events name the policy, and must mean one.
pub fn duplicate_names(policies: &[Policy]) -> Vec<Diagnostic> {
    let mut first = HashMap::new();
    let mut found = Vec::new();
    for policy in policies {
        if let Some(place) = first.get(policy.name.as_str()) {
            found.push(Diagnostic {
                place: policy.place.clone(),
                message: format!("a second policy named `{}`", policy.name),
                help: Some(format!("the first is at {place}; rename or remove one of them")),
            });
        } else {
            first.insert(policy.name.as_str(), &policy.place);
        }
    }
    found
}
