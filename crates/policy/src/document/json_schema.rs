//! The JSON Schema of a policy document, for editors. Names and choices come from what the reader itself uses.
//!
//! The types here are never filled: documents are read field by field, so that every problem is found. A test holds their
//! fields against the shapes that the reader knows.

use std::collections::BTreeMap;

use plimsoll_abi::MAX_FILE_RULES;
use plimsoll_sbom::EvidenceClass;
use schemars::{
    JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema as schema, transform::RecursiveTransform,
};
use serde_json::Value;

use super::{hardening, trust};
use crate::{
    hardening::Capabilities,
    network::SOCKET_KINDS,
    policy::{AnonymousExec, Mode, OPERATIONS, Scripts},
};

const DIGEST: &str = "^sha256:[0-9a-f]{64}$";
/// Absolute, without empty, `.` and `..` parts and without wildcards but `/**` at its end. Without looking ahead, which the
/// API server's regular expressions cannot.
const PATH: &str = r"^(/([^/*?\[.]|\.[^/*?\[.]|\.\.[^/*?\[])[^/*?\[]*)+(/\*\*)?$";
const FILE_PATH: &str = r"^(/\*\*|(/([^/*?\[.]|\.[^/*?\[.]|\.\.[^/*?\[])[^/*?\[]*)+(/\*\*)?)$";

/// JSON Schema, draft 2020-12, of one policy. A document it takes may still be wrong; `plimsoll policy check` has the last
/// word.
pub fn json_schema() -> Value {
    of::<EnforcementPolicy>()
}

/// The schema of a type, with nothing to look up elsewhere.
pub(super) fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let settings = settings.with_transform(RecursiveTransform(never_null));
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// A field that may be left out may not be empty.
fn never_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|one| one != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    let is_null = |one: &Value| one.get("type").is_some_and(|kind| kind == "null");
    let Some(Value::Array(alternatives)) = schema.get_mut("anyOf") else { return };
    let before = alternatives.len();
    alternatives.retain(|one| !is_null(one));
    if let ([Value::Object(only)], true) = (alternatives.as_slice(), alternatives.len() < before) {
        let only = only.clone();
        schema.remove("anyOf");
        for (name, value) in only {
            if schema.get(&name).is_none() {
                schema.insert(name, value);
            }
        }
    }
}

/// What the workloads of one selector may do. Reference: docs/policy.md.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
struct EnforcementPolicy {
    #[schemars(schema_with = "api_version")]
    api_version: (),
    #[schemars(schema_with = "kind")]
    kind: (),
    metadata: Metadata,
    spec: Spec,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
struct Metadata {
    /// Unique on a node, or in its namespace; events name it.
    #[schemars(regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"), length(max = 253))]
    name: String,
    /// Makes it the policy of this namespace, for its workloads alone.
    #[schemars(regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"), length(max = 63))]
    namespace: Option<String>,
    /// For other tools.
    labels: Option<BTreeMap<String, String>>,
    /// For other tools.
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
struct Spec {
    selector: Selector,
    mode: Mode,
    /// The weakest evidence that puts a file on the allowlist; `package-digest` if left out.
    evidence: Option<EvidenceClass>,
    /// `Auto` if left out: allowed for images with a package that compiles while it runs.
    anonymous_exec: Option<AnonymousExec>,
    /// Files allowed whatever their evidence.
    #[schemars(length(max = 10_000))]
    allow: Option<Vec<Addition>>,
    /// What may be done with which files. Linux 6.12 or later.
    #[schemars(length(max = MAX_FILE_RULES))]
    files: Option<Vec<FileRule>>,
    scripts: Option<Scripts>,
    /// If given, even empty, what no rule allows is denied.
    network: Option<Network>,
    hardening: Option<Hardening>,
    sbom: Option<Sbom>,
}

/// The workloads the policy is for: all that is given must match.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
#[expect(dead_code, reason = "only described")]
struct Selector {
    image: Option<Image>,
    /// Labels with their exact values.
    #[schemars(extend("minProperties" = 1))]
    labels: Option<BTreeMap<String, String>>,
    #[schemars(regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"), length(max = 63))]
    namespace: Option<String>,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
#[expect(dead_code, reason = "only described")]
struct Image {
    /// The manifest's digest.
    #[schemars(regex(pattern = DIGEST))]
    digest: Option<String>,
    /// The image's reference with a tag; `*` is any characters.
    #[schemars(regex(pattern = r"^[A-Za-z0-9._/:*-]+$"), length(max = 512))]
    reference: Option<String>,
}

/// A file of the image, or everything below a directory: `/opt/app/**`.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
struct Addition {
    #[schemars(regex(pattern = PATH))]
    path: String,
    /// The only content allowed there.
    #[schemars(regex(pattern = DIGEST))]
    sha256: Option<String>,
    /// Why it must run; shown with events.
    #[schemars(length(min = 1))]
    reason: String,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("anyOf" = [{"required": ["deny"]}, {"required": ["allow"]}]))]
#[expect(dead_code, reason = "only described")]
struct FileRule {
    #[schemars(regex(pattern = FILE_PATH))]
    path: String,
    #[schemars(schema_with = "operations")]
    #[serde(default)]
    deny: Option<()>,
    #[schemars(schema_with = "operations")]
    #[serde(default)]
    allow: Option<()>,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
struct Network {
    /// `Deny`: loopback needs rules as all other addresses do.
    loopback: Option<Answer>,
    /// Addresses of the resolvers whose answers say which addresses a name has; asking them is allowed.
    #[schemars(length(max = super::network::MAX_RESOLVERS))]
    resolvers: Option<Vec<String>>,
    /// What may be connected and sent to.
    #[schemars(length(max = 500))]
    egress: Option<Vec<EgressRule>>,
    /// What may be bound to and listened on.
    #[schemars(length(max = 500))]
    bind: Option<Vec<AddressRule>>,
    /// Who may connect; TCP alone.
    #[schemars(length(max = 500))]
    ingress: Option<Vec<IngressRule>>,
    /// Kinds of sockets beside the usual ones.
    #[schemars(schema_with = "sockets")]
    #[serde(default)]
    sockets: Option<()>,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "not" = {"required": ["cidr", "dns"]}))]
#[expect(dead_code, reason = "only described")]
struct EgressRule {
    /// A network, `10.0.0.0/8`; every address if left out.
    cidr: Option<String>,
    /// A name, `api.example.com`, or all names below one, `*.example.com`.
    #[schemars(regex(pattern = r"^(\*\.)?[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$"), length(max = 255))]
    dns: Option<String>,
    #[schemars(schema_with = "ports")]
    #[serde(default)]
    ports: Option<()>,
    protocol: Option<Protocol>,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
#[expect(dead_code, reason = "only described")]
struct AddressRule {
    /// A network, `10.0.0.0/8`; every address if left out.
    cidr: Option<String>,
    #[schemars(schema_with = "ports")]
    #[serde(default)]
    ports: Option<()>,
    protocol: Option<Protocol>,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
#[expect(dead_code, reason = "only described")]
struct IngressRule {
    /// A network, `10.0.0.0/8`; every address if left out.
    cidr: Option<String>,
    #[schemars(schema_with = "ports")]
    #[serde(default)]
    ports: Option<()>,
    #[schemars(extend("const" = "TCP"))]
    protocol: Option<String>,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only described")]
enum Protocol {
    #[serde(rename = "TCP")]
    Tcp,
    #[serde(rename = "UDP")]
    Udp,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only described")]
enum Answer {
    Allow,
    Deny,
}

/// Operations to allow or to deny, and the capabilities that may be used.
struct Hardening;

impl JsonSchema for Hardening {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Hardening".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let answer = serde_json::json!({ "enum": ["Allow", "Deny"] });
        let mut fields: serde_json::Map<String, Value> =
            hardening::OPERATIONS.iter().map(|(name, _)| ((*name).to_owned(), answer.clone())).collect();
        let capabilities = serde_json::json!({
            "type": "array", "uniqueItems": true, "items": { "enum": Capabilities::NAMES.as_slice() },
            "description": "The capabilities that may be used; `[]` is none.",
        });
        fields.insert("capabilities".to_owned(), capabilities);
        schema!({ "type": "object", "additionalProperties": false, "properties": fields })
    }
}

/// Who must have signed the image's SBOM.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
#[expect(dead_code, reason = "only described")]
struct Sbom {
    #[schemars(length(min = 1, max = 100))]
    signed_by: Option<Vec<Signer>>,
    #[schemars(schema_with = "unsigned")]
    #[serde(default)]
    unsigned: Option<()>,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["key"]}, {"required": ["identity", "issuer"]}]))]
#[expect(dead_code, reason = "only described")]
struct Signer {
    /// A key's name on the node.
    key: Option<String>,
    /// A certificate's e-mail address or URI; a `*` at its end stands for anything.
    identity: Option<String>,
    #[schemars(regex(pattern = "^https://"))]
    issuer: Option<String>,
}

fn api_version(_: &mut SchemaGenerator) -> Schema {
    schema!({ "const": super::schema::API_VERSION })
}

fn kind(_: &mut SchemaGenerator) -> Schema {
    schema!({ "enum": super::schema::KINDS.map(|(name, _)| name) })
}

fn operations(_: &mut SchemaGenerator) -> Schema {
    let names: Vec<_> = OPERATIONS.iter().map(|(name, _)| *name).chain([super::files::ALL]).collect();
    schema!({ "type": "array", "minItems": 1, "maxItems": names.len(), "items": { "enum": names } })
}

fn sockets(_: &mut SchemaGenerator) -> Schema {
    let names = SOCKET_KINDS.map(|(name, _)| name);
    schema!({ "type": "array", "maxItems": names.len(), "items": { "enum": names } })
}

fn ports(_: &mut SchemaGenerator) -> Schema {
    schema!({
        "type": "array", "minItems": 1, "maxItems": super::network::MAX_PORTS,
        "items": {
            "anyOf": [
                { "type": "integer", "minimum": 1, "maximum": u16::MAX },
                { "type": "string", "pattern": "^[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?$" },
            ],
        },
    })
}

fn unsigned(_: &mut SchemaGenerator) -> Schema {
    schema!({ "enum": trust::unsigned_choices().map(|(name, _)| name) })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{super::shape, *};

    /// The names below a path of the schema; `None` where it has no such object.
    fn names(root: &Value, pointer: &str) -> BTreeSet<String> {
        let found = root.pointer(pointer).unwrap_or_else(|| panic!("nothing at {pointer}"));
        assert_eq!(found["additionalProperties"], false, "{pointer}");
        found["properties"].as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn the_schema_has_the_fields_that_the_reader_knows() {
        let root = json_schema();
        let spec = "/properties/spec";
        for (pointer, shape) in [
            (String::new(), &shape::DOCUMENT),
            ("/properties/metadata".to_owned(), &shape::METADATA),
            (spec.to_owned(), &shape::SPEC),
            (format!("{spec}/properties/selector"), &shape::SELECTOR),
            (format!("{spec}/properties/selector/properties/image"), &shape::IMAGE),
            (format!("{spec}/properties/allow/items"), &shape::ADDITION),
            (format!("{spec}/properties/files/items"), &shape::FILE),
            (format!("{spec}/properties/network"), &shape::NETWORK),
            (format!("{spec}/properties/network/properties/egress/items"), &shape::EGRESS),
            (format!("{spec}/properties/network/properties/bind/items"), &shape::BIND),
            (format!("{spec}/properties/network/properties/ingress/items"), &shape::INGRESS),
            (format!("{spec}/properties/hardening"), &shape::HARDENING),
            (format!("{spec}/properties/sbom"), &shape::SBOM),
            (format!("{spec}/properties/sbom/properties/signedBy/items"), &shape::SIGNER),
        ] {
            let known: BTreeSet<_> = shape.fields.iter().map(ToString::to_string).collect();
            assert_eq!(names(&root, &pointer), known, "{}", shape.name);
        }
    }
}
