//! Which policy is for which workload.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, HashMap},
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
        let digest_matches = self.selector.image_digest.as_ref().is_none_or(|digest| {
            let actual = facts.image_digest.as_deref().map(str::parse::<Sha256>);
            matches!(actual, Some(Ok(actual)) if actual == *digest)
        });
        digest_matches && self.could_match(facts)
    }

    /// Whether the selector matches the workload if its image has the right digest.
    pub fn could_match(&self, facts: &WorkloadFacts) -> bool {
        let Selector { image_digest: _, image_reference, labels, namespace } = &self.selector;
        let reference_matches = image_reference
            .as_ref()
            .is_none_or(|pattern| facts.image_reference.as_deref().is_some_and(|reference| pattern.matches(reference)));
        let labels_match = labels.iter().all(|(key, value)| facts.labels.get(key) == Some(value));
        let namespace_matches = namespace.is_none() || *namespace == facts.namespace;
        reference_matches && labels_match && namespace_matches
    }
}

/// The policy for a workload, if there is one; the order of `policies` plays no part.
///
/// Of the policies that match, the first difference decides:
/// 1. an image digest in the selector before none;
/// 2. an image reference before none, and of two, the one with more literal characters, then fewer wildcards;
///    `*` alone counts as none, so that a policy for everything never stands before one for something;
/// 3. more labels before fewer;
/// 4. a namespace before none;
/// 5. `Enforce` before `Monitor`;
/// 6. the name that sorts first, and of equal names the lower generation.
pub fn select<'a>(policies: &'a [Policy], facts: &WorkloadFacts) -> Option<&'a Policy> {
    policies.iter().filter(|policy| policy.matches(facts)).min_by(|a, b| precedence(a, b))
}

/// `Less` if `a` goes before `b`.
fn precedence(a: &Policy, b: &Policy) -> Ordering {
    specificity(&b.selector)
        .cmp(&specificity(&a.selector))
        .then_with(|| (b.mode == Mode::Enforce).cmp(&(a.mode == Mode::Enforce)))
        .then_with(|| a.name.cmp(&b.name))
        .then_with(|| a.generation.cmp(&b.generation))
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
