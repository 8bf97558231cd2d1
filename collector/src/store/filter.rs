//! What a query asks for, as conditions of a statement. Values are always bound, never part of the statement's text.

use rusqlite::types::Value;
use utoipa::{
    IntoParams,
    openapi::{
        Object, ObjectBuilder,
        schema::{KnownFormat, OneOfBuilder, Schema, SchemaFormat, Type},
    },
};

use crate::json::{Kind, filter_words};

/// Characters of a text that is asked for.
pub(crate) const TEXT: usize = 4096;

/// What must be true of an event. What is left out is always true.
#[derive(Clone, Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Name of the node.
    #[param(schema_with = text)]
    pub(crate) node: Option<String>,
    /// Id of the workload.
    #[param(schema_with = text)]
    pub(crate) workload: Option<String>,
    /// Namespace of the workload.
    #[param(schema_with = text)]
    pub(crate) namespace: Option<String>,
    /// The image's digest if it begins with `sha256:`, else its reference.
    #[param(schema_with = text)]
    pub(crate) image: Option<String>,
    /// Name of the policy.
    #[param(schema_with = text)]
    pub(crate) policy: Option<String>,
    /// The package URL if it begins with `pkg:`, else the package's name.
    #[param(schema_with = text)]
    pub(crate) package: Option<String>,
    #[param(schema_with = verdict)]
    pub(crate) verdict: Option<i32>,
    #[param(schema_with = reason)]
    pub(crate) reason: Option<i32>,
    #[param(schema_with = hook)]
    pub(crate) hook: Option<i32>,
    /// A part of the path; upper and lower case are told apart.
    #[param(schema_with = text)]
    pub(crate) path: Option<String>,
    /// Time of the decision, this moment included: seconds since 1970, or RFC 3339.
    #[param(schema_with = time)]
    pub(crate) since: Option<i64>,
    /// Time of the decision, this moment not included: seconds since 1970, or RFC 3339.
    #[param(schema_with = time)]
    pub(crate) until: Option<i64>,
}

impl Filter {
    /// ` AND ...` for every condition, and what is to be bound to its question marks.
    pub(super) fn conditions(&self) -> (String, Vec<Value>) {
        let (mut sql, mut values) = (String::new(), Vec::new());
        let text = |text: &Option<String>| text.clone().map(Value::from);
        let either = |text: &Option<String>, prefix: &str| {
            let is_first = text.as_ref().is_some_and(|text| text.starts_with(prefix));
            if is_first { (text.clone().map(Value::from), None) } else { (None, text.clone().map(Value::from)) }
        };
        let (digest, reference) = either(&self.image, "sha256:");
        let (purl, package) = either(&self.package, "pkg:");
        for (condition, value) in [
            (" AND events.node = ?", text(&self.node)),
            (" AND workload = ?", text(&self.workload)),
            (" AND namespace = ?", text(&self.namespace)),
            (" AND image_digest = ?", digest),
            (" AND image_reference = ?", reference),
            (" AND policy = ?", text(&self.policy)),
            (" AND package_name = ?", package),
            (" AND package_purl = ?", purl),
            (" AND verdict = ?", self.verdict.map(Value::from)),
            (" AND reason = ?", self.reason.map(Value::from)),
            (" AND hook = ?", self.hook.map(Value::from)),
            (" AND instr(path, ?) > 0", text(&self.path)),
            (" AND time_unix_ns >= ?", self.since.map(Value::from)),
            (" AND time_unix_ns < ?", self.until.map(Value::from)),
        ] {
            if let Some(value) = value {
                sql.push_str(condition);
                values.push(value);
            }
        }
        (sql, values)
    }
}

fn text() -> Object {
    ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(TEXT)).build()
}

fn one_of(kind: Kind) -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(filter_words(kind))).build()
}

fn verdict() -> Object {
    one_of(Kind::Verdict)
}

fn reason() -> Object {
    one_of(Kind::Reason)
}

fn hook() -> Object {
    one_of(Kind::Hook)
}

fn time() -> Schema {
    let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(MAX_SECONDS)).build();
    let format = SchemaFormat::KnownFormat(KnownFormat::DateTime);
    let written = ObjectBuilder::new().schema_type(Type::String).format(Some(format)).build();
    OneOfBuilder::new().item(seconds).item(written).build().into()
}

/// Seconds since 1970 whose nanoseconds the store can hold: the year 2262.
pub(crate) const MAX_SECONDS: i64 = i64::MAX / 1_000_000_000;
