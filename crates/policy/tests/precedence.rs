//! Which of several matching policies is for a workload.
#![cfg(test)]

use plimsoll_policy::{
    Authority, Difference, Limits, Policy, Standing, Unmatched, WorkloadFacts, duplicate_names, parse, parse_all,
    select, standings,
};

const DIGEST: &str = "sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";

fn policy(name: &str, selector: &str, mode: &str) -> Policy {
    let text = format!(
        "apiVersion: plimsoll.dev/v1alpha1\nkind: EnforcementPolicy\nmetadata: {{name: {name}}}\n\
         spec:\n  selector: {selector}\n  mode: {mode}\n"
    );
    parse(name, text.as_bytes(), &Limits::default()).unwrap()
}

fn cart() -> WorkloadFacts {
    WorkloadFacts {
        image_digest: Some(DIGEST.to_owned()),
        image_reference: Some("registry.example/shop/cart:3".to_owned()),
        labels: [("app", "cart"), ("tier", "web")].map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        namespace: Some("shop".to_owned()),
    }
}

/// Every policy goes before all that follow it, in whatever order they are given.
#[track_caller]
fn check_order(ranked: &[(&str, &str)]) {
    let policies: Vec<_> = ranked
        .iter()
        .enumerate()
        .map(|(rank, (selector, mode))| policy(&format!("p{rank:02}"), selector, mode))
        .collect();
    for (rank, first) in policies.iter().enumerate() {
        let mut candidates = policies[rank..].to_vec();
        assert_eq!(select(&candidates, &cart()), Some(first));
        candidates.reverse();
        assert_eq!(select(&candidates, &cart()), Some(first));
    }
}

#[test]
fn the_more_specific_selector_goes_first() {
    let digest_alone = format!("{{image: {{digest: \"{DIGEST}\"}}}}");
    let digest_and_namespace = format!("{{image: {{digest: \"{DIGEST}\"}}, namespace: shop}}");
    check_order(&[
        (&digest_and_namespace, "Monitor"),
        (&digest_alone, "Monitor"),
        ("{image: {reference: \"registry.example/shop/cart:3\"}}", "Monitor"),
        ("{image: {reference: \"registry.example/shop/cart:3*\"}}", "Monitor"),
        ("{image: {reference: \"registry.example/shop/cart:*\"}}", "Monitor"),
        ("{image: {reference: \"registry.example/*\"}, labels: {app: cart}, namespace: shop}", "Monitor"),
        ("{image: {reference: \"registry.example/*\"}}", "Monitor"),
        ("{labels: {app: cart, tier: web}}", "Monitor"),
        ("{labels: {app: cart}, namespace: shop}", "Monitor"),
        ("{labels: {app: cart}}", "Monitor"),
        ("{image: {reference: \"*\"}, namespace: shop}", "Monitor"),
        ("{image: {reference: \"*\"}}", "Enforce"),
    ]);
}

/// As the API server's objects become documents.
fn of(kind: &str, namespace: &str, selector: &str, mode: &str) -> Policy {
    let namespace = if namespace.is_empty() { String::new() } else { format!(", namespace: {namespace}") };
    let text = format!(
        "apiVersion: plimsoll.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: own{namespace}}}\n\
         spec:\n  selector: {selector}\n  mode: {mode}\n"
    );
    parse("own", text.as_bytes(), &Limits::default()).unwrap()
}

#[test]
fn nobody_weakens_what_a_higher_authority_says() {
    let exact = format!("{{image: {{digest: \"{DIGEST}\"}}, labels: {{app: cart, tier: web}}}}");
    let mut bundle = policy("fleet", "{namespace: shop}", "Enforce");
    bundle.authority = Authority::Bundle;
    let ranked = [
        bundle,
        of("ClusterEnforcementPolicy", "", "{namespace: shop}", "Enforce"),
        policy("node", "{image: {reference: \"*\"}}", "Enforce"),
        of("EnforcementPolicy", "shop", &exact, "Monitor"),
    ];
    assert_eq!(ranked[3].name, "shop/own");
    assert_eq!(ranked[3].selector.namespace.as_deref(), Some("shop"));
    for first in 0..ranked.len() {
        let mut candidates = ranked[first..].to_vec();
        candidates.reverse();
        assert_eq!(select(&candidates, &cart()), Some(&ranked[first]));
        for (policy, standing) in standings(&candidates, &cart()).iter().skip(1) {
            assert_eq!(*standing, Standing::PassedOver(Difference::Authority), "{}", policy.name);
        }
    }
}

#[test]
fn a_namespaces_policy_is_for_its_own_workloads_alone() {
    let own = of("EnforcementPolicy", "bank", "{labels: {app: cart}}", "Monitor");
    assert_eq!(select(std::slice::from_ref(&own), &cart()), None);
    let unknown = WorkloadFacts { namespace: None, ..cart() };
    assert_eq!(select(std::slice::from_ref(&own), &unknown), None);
    let [(_, standing)] = &standings(std::slice::from_ref(&own), &cart())[..] else { panic!("one policy") };
    assert_eq!(*standing, Standing::Unmatched(Unmatched::Namespace));
}

#[test]
fn every_policy_is_told_why_it_is_not_the_one() {
    let policies = [
        policy("a-label", "{labels: {app: cart}}", "Enforce"),
        policy("b-other", "{labels: {app: till}}", "Enforce"),
        policy("c-digest", &format!("{{image: {{digest: \"{DIGEST}\"}}}}"), "Monitor"),
        policy("d-image", "{image: {reference: \"other:*\"}}", "Enforce"),
        policy("e-label", "{labels: {app: cart}}", "Monitor"),
    ];
    let told: Vec<_> = standings(&policies, &cart()).into_iter().map(|(policy, why)| (&*policy.name, why)).collect();
    assert_eq!(
        told,
        [
            ("c-digest", Standing::Selected),
            ("a-label", Standing::PassedOver(Difference::Digest)),
            ("e-label", Standing::PassedOver(Difference::Digest)),
            ("b-other", Standing::Unmatched(Unmatched::Label("app".to_owned()))),
            ("d-image", Standing::Unmatched(Unmatched::Reference)),
        ]
    );
}

/// The policy that watches everything must not take a workload from the one that enforces.
#[test]
fn a_pattern_for_everything_is_not_specific() {
    let observe = policy("observe", "{image: {reference: \"**\"}}", "Monitor");
    let baseline = policy("baseline", "{namespace: shop}", "Enforce");
    assert_eq!(select(&[observe, baseline.clone()], &cart()), Some(&baseline));
}

#[test]
fn specificity_goes_before_the_mode_and_the_mode_before_the_name() {
    check_order(&[
        ("{labels: {app: cart}}", "Monitor"),
        ("{namespace: shop}", "Enforce"),
        ("{namespace: shop}", "Monitor"),
    ]);
    let (a, b) = (policy("a", "{namespace: shop}", "Monitor"), policy("b", "{namespace: shop}", "Enforce"));
    assert_eq!(select(&[a.clone(), b.clone()], &cart()), Some(&b));
    let c = policy("c", "{namespace: shop}", "Enforce");
    assert_eq!(select(&[c, b.clone(), a], &cart()), Some(&b));
}

#[test]
fn every_part_of_a_selector_must_match() {
    let facts = cart();
    let matches = |selector: &str, facts: &WorkloadFacts| policy("p", selector, "Enforce").matches(facts);
    assert!(matches("{labels: {app: cart}, namespace: shop}", &facts));
    assert!(!matches("{labels: {app: cart}, namespace: other}", &facts));
    assert!(!matches("{labels: {app: cart, tier: db}}", &facts));
    assert!(!matches("{labels: {absent: \"\"}}", &facts));
    let other = DIGEST.replace("0a", "0b");
    assert!(!matches(&format!("{{image: {{digest: \"{other}\", reference: \"*\"}}}}"), &facts));
}

#[test]
fn what_is_not_known_matches_nothing() {
    let nothing = WorkloadFacts::default();
    let digest = format!("{{image: {{digest: \"{DIGEST}\"}}}}");
    for selector in [digest.as_str(), "{image: {reference: \"*\"}}", "{labels: {app: cart}}", "{namespace: shop}"] {
        assert!(!policy("p", selector, "Enforce").matches(&nothing), "{selector}");
    }
    let garbled = WorkloadFacts { image_digest: Some("sha256:0a".to_owned()), ..cart() };
    assert!(!policy("p", &digest, "Enforce").matches(&garbled));
    assert_eq!(select(&[], &cart()), None);
}

#[test]
fn two_policies_of_one_name_are_told_with_both_places() {
    let policies = [
        policy("shop", "{namespace: shop}", "Enforce"),
        policy("cart", "{namespace: shop}", "Enforce"),
        policy("shop", "{namespace: cart}", "Monitor"),
    ];
    let problems = duplicate_names(&policies);
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].to_string().lines().next().unwrap(), "shop:3:18: error: a second policy named `shop`");
    assert_eq!(problems[0].help.as_deref(), Some("the first is at shop:3:18; rename or remove one of them"));
}

#[test]
fn documents_of_one_file_have_generations_of_their_own() {
    let one = "apiVersion: plimsoll.dev/v1alpha1\nkind: EnforcementPolicy\nmetadata: {name: one}\n\
               spec: {selector: {namespace: shop}, mode: Enforce}\n";
    let two = one.replace("one", "two");
    let generations = |text: &str| -> Vec<_> {
        let policies = parse_all("both.yaml", text.as_bytes(), &Limits::default()).unwrap();
        policies.iter().map(|policy| (policy.name.clone(), policy.generation)).collect()
    };
    let both = generations(&format!("{one}---\n{two}"));
    assert_eq!(both[0], ("one".to_owned(), plimsoll_sbom::Sha256::of(one.as_bytes())));
    assert_eq!(both[1].0, "two");
    let edited = generations(&format!("{one}# a note\n---\n{two}---\n"));
    assert_ne!(edited[0].1, both[0].1);
    assert_eq!(edited[1].1, both[1].1);
}

#[test]
fn a_policy_may_ask_for_a_digest_that_is_not_known() {
    let unknown = WorkloadFacts { image_digest: None, ..cart() };
    let asks = |namespace: &str| {
        policy("p", &format!("{{image: {{digest: \"{DIGEST}\"}}, namespace: {namespace}}}"), "Enforce")
    };
    assert!(!asks("shop").matches(&unknown) && asks("shop").could_match(&unknown));
    assert!(!asks("other").could_match(&unknown));
    assert!(policy("p", "{labels: {app: cart}}", "Enforce").could_match(&unknown));
}
