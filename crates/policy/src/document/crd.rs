//! The definitions by which a Kubernetes API server takes policies: the JSON Schema of documents as a structural schema, with
//! the rules between fields in CEL, and what agents report.

use serde_json::{Map, Value, json};

use super::{
    json_schema::{json_schema, of},
    schema::API_VERSION,
    status::Status,
};

/// What may be said between fields: where, in CEL (in which `namespace` is a reserved word), and what is told. An API server that knows no CEL takes what these
/// refuse; agents do not.
const RULES: [(&str, &str, &str); 8] = [
    (
        "/selector",
        "has(self.image) || has(self.labels) || has(self.__namespace__)",
        "an empty selector selects nothing: name at least one of image, labels and namespace",
    ),
    (
        "/selector/properties/image",
        "has(self.digest) || has(self.reference)",
        "name the image's digest, or a pattern of its reference",
    ),
    (
        "/files/items",
        "has(self.deny) || has(self.allow)",
        "a file rule that says nothing: add an operation to deny or allow",
    ),
    (
        "/files/items",
        "!has(self.deny) || !has(self.allow) || !self.deny.exists(o, o == 'All' || o in self.allow) && !('All' in self.allow)",
        "an operation is denied and allowed by the same rule: keep it in one of the two lists",
    ),
    (
        "/network/properties/egress/items",
        "!has(self.cidr) || !has(self.dns)",
        "a rule has a cidr or a dns name, not both",
    ),
    (
        "/network",
        "has(self.resolvers) && size(self.resolvers) > 0 || !has(self.egress) || !self.egress.exists(r, has(r.dns))",
        "a rule by dns name needs resolvers whose answers count",
    ),
    (
        "/hardening",
        "!has(self.capabilities) || !has(self.ioUring) || self.ioUring != 'Allow'",
        "ioUring: Allow cannot stand beside capabilities",
    ),
    (
        "/sbom/properties/signedBy/items",
        "has(self.key) ? !has(self.identity) && !has(self.issuer) : has(self.identity) && has(self.issuer)",
        "a signer has a key, or an identity with its issuer",
    ),
];

/// The two definitions, each with its kind: `EnforcementPolicy`, which is a namespace's, and `ClusterEnforcementPolicy`.
pub fn crds() -> [(&'static str, Value); 2] {
    [
        ("EnforcementPolicy", definition("EnforcementPolicy", "enforcementpolicies", "Namespaced", "ep")),
        (
            "ClusterEnforcementPolicy",
            definition("ClusterEnforcementPolicy", "clusterenforcementpolicies", "Cluster", "cep"),
        ),
    ]
}

fn definition(kind: &str, plural: &str, scope: &str, short: &str) -> Value {
    let (group, version) = API_VERSION.split_once('/').unwrap_or((API_VERSION, ""));
    let column = |name: &str, path: &str| json!({ "name": name, "type": "string", "jsonPath": path });
    let condition = |kind: &str| format!(".status.conditions[?(@.type==\"{kind}\")].status");
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{group}") },
        "spec": {
            "group": group,
            "scope": scope,
            "names": {
                "kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": kind.to_lowercase(),
                "shortNames": [short], "categories": ["plimsoll"],
            },
            "versions": [{
                "name": version,
                "served": true,
                "storage": true,
                "subresources": { "status": {} },
                "additionalPrinterColumns": [
                    column("Mode", ".spec.mode"),
                    column("Accepted", &condition("Accepted")),
                    column("Enforced", &condition("Enforced")),
                    { "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" },
                ],
                "schema": { "openAPIV3Schema": {
                    "type": "object",
                    "description": "What the workloads of one selector may do.",
                    "required": ["spec"],
                    "properties": {
                        "apiVersion": { "type": "string" },
                        "kind": { "type": "string" },
                        "metadata": { "type": "object" },
                        "spec": spec(),
                        "status": status(),
                    },
                } },
            }],
        },
    })
}

fn spec() -> Value {
    let document = json_schema();
    let mut spec = document.pointer("/properties/spec").cloned().unwrap_or_default();
    structural(&mut spec);
    for (pointer, rule, message) in RULES {
        if let Some(Value::Object(place)) = spec.pointer_mut(&format!("/properties{pointer}")) {
            // What was said of these fields in JSON Schema is said better here.
            for keyword in ["anyOf", "oneOf", "not"] {
                place.remove(keyword);
            }
            let rules = place.entry("x-kubernetes-validations").or_insert_with(|| json!([]));
            if let Value::Array(rules) = rules {
                rules.push(json!({ "rule": rule, "message": message }));
            }
        }
    }
    // The path is what a rule is known by, and no two may have the same.
    as_map(&mut spec, "/properties/files", "path");
    spec
}

fn status() -> Value {
    let mut status = of::<Status>();
    structural(&mut status);
    as_map(&mut status, "/properties/conditions", "type");
    as_map(&mut status, "/properties/nodes", "node");
    if let Value::Object(status) = &mut status {
        status.remove("$schema");
        status.remove("title");
    }
    status
}

/// A list whose entries are known by one field: the API server keeps it unique, and writers apart.
fn as_map(schema: &mut Value, pointer: &str, key: &str) {
    if let Some(Value::Object(list)) = schema.pointer_mut(pointer) {
        list.insert("x-kubernetes-list-type".to_owned(), json!("map"));
        list.insert("x-kubernetes-list-map-keys".to_owned(), json!([key]));
    }
}

/// Makes a schema structural: every value has one type, and there is no keyword that the API server does not know.
fn structural(schema: &mut Value) {
    let Value::Object(object) = schema else { return };
    if object.get("additionalProperties") == Some(&Value::Bool(false)) {
        object.remove("additionalProperties");
        // Else the API server would drop an unknown field in silence, and the policy would say less than was written. So
        // it is kept, and the agent refuses it by name.
        object.insert("x-kubernetes-preserve-unknown-fields".to_owned(), Value::Bool(true));
    }
    // Nothing has a default here: a field that was left out must stay so, for those that depend on it.
    object.remove("default");
    if object.remove("uniqueItems").is_some() {
        object.insert("x-kubernetes-list-type".to_owned(), json!("set"));
    }
    constants(object);
    numbers_or_text(object);
    if object.contains_key("enum") {
        object.insert("type".to_owned(), json!("string"));
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(inner) = object.get_mut(keyword) {
            structural(inner);
        }
    }
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        properties.values_mut().for_each(structural);
    }
}

/// One constant, or the choice between several that are each explained, is an enumeration.
fn constants(object: &mut Map<String, Value>) {
    if let Some(constant) = object.remove("const") {
        object.insert("enum".to_owned(), json!([constant]));
    }
    let Some(Value::Array(choices)) = object.get("oneOf") else { return };
    let values: Vec<_> = choices.iter().filter_map(|choice| choice.get("const").cloned()).collect();
    if values.len() != choices.len() {
        return;
    }
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut lines = vec![text(object.get("description"))];
    lines.extend(
        choices.iter().map(|choice| format!("{}: {}", text(choice.get("const")), text(choice.get("description")))),
    );
    lines.retain(|line| !line.is_empty());
    object.remove("oneOf");
    object.insert("description".to_owned(), json!(lines.join("\n")));
    object.insert("enum".to_owned(), Value::Array(values));
}

/// A number or a text is of a kind of its own; the bounds of each stand beside it.
fn numbers_or_text(object: &mut Map<String, Value>) {
    let Some(Value::Array(kinds)) = object.get("anyOf") else { return };
    let kinds: Vec<Map<String, Value>> = kinds.iter().filter_map(|kind| kind.as_object().cloned()).collect();
    let types: Vec<_> = kinds.iter().filter_map(|kind| kind.get("type").and_then(Value::as_str)).collect();
    if types != ["integer", "string"] {
        return;
    }
    object.insert("x-kubernetes-int-or-string".to_owned(), Value::Bool(true));
    object.insert("anyOf".to_owned(), json!([{ "type": "integer" }, { "type": "string" }]));
    let bounds = kinds.into_iter().flatten().filter(|(keyword, _)| keyword != "type");
    object.extend(bounds.collect::<Vec<_>>());
}
