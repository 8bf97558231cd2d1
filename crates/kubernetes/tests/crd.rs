//! The published definitions are those of the types; they are structural, and their CEL rules hold.
#![cfg(test)]

use std::{fs, path::Path};

use expect_test::expect_file;
use kube_cel::{Validator, compile_schema, estimate_rule_cost};
use serde_json::{Value, json};

/// The schema of a definition, and of what is below `spec`.
fn schema(definition: &Value) -> &Value {
    definition.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap()
}

#[test]
fn the_published_definitions_are_up_to_date() {
    let [(_, namespaced), (_, cluster)] = plimsoll_policy::crds();
    let text = |definition| serde_yaml::to_string(definition).unwrap();
    expect_file!["../../../deploy/helm/plimsoll/crds/enforcementpolicies.yaml"].assert_eq(&text(&namespaced));
    expect_file!["../../../deploy/helm/plimsoll/crds/clusterenforcementpolicies.yaml"].assert_eq(&text(&cluster));
}

/// Every schema below one, with its place.
fn walk<'a>(place: &str, schema: &'a Value, found: &mut Vec<(String, &'a serde_json::Map<String, Value>)>) {
    let object = schema.as_object().unwrap_or_else(|| panic!("{place} is no schema"));
    found.push((place.to_owned(), object));
    for (name, inner) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
        walk(&format!("{place}.{name}"), inner, found);
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(inner) = object.get(keyword) {
            walk(&format!("{place}[]"), inner, found);
        }
    }
}

/// What the API server's `structural` rules are about: <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources>.
#[test]
fn every_value_has_one_type_and_no_unknown_keyword() {
    const KNOWN: [&str; 22] = [
        "type",
        "description",
        "properties",
        "items",
        "required",
        "enum",
        "pattern",
        "format",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "additionalProperties",
        "anyOf",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-validations",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-int-or-string",
    ];
    for (kind, definition) in plimsoll_policy::crds() {
        let mut found = Vec::new();
        walk(kind, schema(&definition), &mut found);
        assert!(found.len() > 60, "{kind} has {} schemas", found.len());
        for (place, schema) in found {
            let either = schema.contains_key("x-kubernetes-int-or-string");
            assert_ne!(schema.contains_key("type"), either, "{place}: {schema:?}");
            assert_eq!(schema.contains_key("anyOf"), either, "{place}");
            for keyword in schema.keys() {
                assert!(KNOWN.contains(&keyword.as_str()), "{place} has `{keyword}`");
            }
            let pattern = schema.get("pattern").and_then(Value::as_str).unwrap_or_default();
            assert!(!pattern.contains("(?"), "{place}: RE2 cannot look ahead: {pattern}");
        }
    }
}

fn policy(extra: &Value) -> Value {
    let mut spec = json!({ "selector": { "labels": { "app": "cart" } }, "mode": "Enforce" });
    for (name, value) in extra.as_object().unwrap() {
        spec[name] = value.clone();
    }
    json!({ "apiVersion": "plimsoll.dev/v1alpha1", "kind": "EnforcementPolicy", "metadata": { "name": "a" }, "spec": spec })
}

#[test]
fn rules_between_fields_refuse_what_the_agent_would() {
    let [(_, definition), _] = plimsoll_policy::crds();
    let schema = schema(&definition);
    let named =
        |resolvers: &[&str]| json!({ "network": { "egress": [{ "dns": "a.example" }], "resolvers": resolvers } });
    for (extra, message) in [
        (json!({ "selector": {} }), "an empty selector"),
        (json!({ "selector": { "image": {} } }), "name the image's digest"),
        (json!({ "files": [{ "path": "/a" }] }), "says nothing"),
        (json!({ "files": [{ "path": "/a", "deny": ["Read"], "allow": ["Read"] }] }), "denied and allowed"),
        (json!({ "files": [{ "path": "/a", "deny": ["All"], "allow": ["Read"] }] }), "denied and allowed"),
        (json!({ "files": [{ "path": "/a", "deny": ["Read"], "allow": ["All"] }] }), "denied and allowed"),
        (
            json!({ "network": { "egress": [{ "dns": "a.example", "cidr": "10.0.0.0/8" }], "resolvers": ["10.0.0.1"] } }),
            "not both",
        ),
        (named(&[]), "needs resolvers"),
        (json!({ "hardening": { "capabilities": [], "ioUring": "Allow" } }), "beside capabilities"),
        (json!({ "sbom": { "signedBy": [{ "key": "a", "issuer": "https://b" }] } }), "a signer has"),
        (json!({ "sbom": { "signedBy": [{ "identity": "a" }] } }), "a signer has"),
    ] {
        let object = policy(&extra);
        let errors = Validator::new().validate(schema, &object, None).expect_err(&object.to_string());
        assert!(errors.iter().any(|error| error.message.contains(message)), "{errors:?}");
        // The agent's reader agrees.
        let text = object.to_string();
        assert!(
            plimsoll_policy::parse("policy", text.as_bytes(), &plimsoll_policy::Limits::default()).is_err(),
            "{text}"
        );
    }
    for extra in [
        json!({ "files": [{ "path": "/a", "deny": ["Write"], "allow": ["Read"] }] }),
        json!({ "sbom": { "signedBy": [{ "key": "a" }, { "identity": "a", "issuer": "https://b" }] } }),
        json!({ "hardening": { "capabilities": [], "ioUring": "Deny" } }),
        named(&["10.0.0.1"]),
    ] {
        let object = policy(&extra);
        Validator::new().validate(schema, &object, None).unwrap_or_else(|errors| panic!("{errors:?}\n{object}"));
        let text = object.to_string();
        plimsoll_policy::parse("policy", text.as_bytes(), &plimsoll_policy::Limits::default()).unwrap();
    }
}

#[test]
fn rules_can_be_compiled_and_are_cheap_enough() {
    for (kind, definition) in plimsoll_policy::crds() {
        let mut found = Vec::new();
        walk(kind, schema(&definition), &mut found);
        let compiled = compile_schema(schema(&definition));
        assert!(!compiled.has_errors(), "{:?}", compiled.compilation_errors());
        let mut rules = 0;
        for (place, object) in found {
            for rule in object.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
                let here = compile_schema(&Value::Object(object.clone()));
                let dear = estimate_rule_cost(rule["rule"].as_str().unwrap(), &here);
                assert!(dear.is_empty(), "{place}: {dear:?}");
                rules += 1;
            }
        }
        assert_eq!(rules, 8);
    }
}

#[test]
fn every_shipped_policy_is_taken() {
    let [_, (_, definition)] = plimsoll_policy::crds();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let Ok(text) = fs::read_to_string(entry.unwrap().path().join("policy.yaml")) else { continue };
        let object: Value = serde_yaml::from_str(&text).unwrap();
        Validator::new()
            .validate(schema(&definition), &object, None)
            .unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
        seen += 1;
    }
    assert!(seen > 2);
}
