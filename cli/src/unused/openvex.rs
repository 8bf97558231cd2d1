//! The answer as OpenVEX, for vulnerabilities that somebody else has found.
//!
//! That nothing was executed shows neither that it cannot be, nor that its code is in no execution path: absence from a
//! window is `under_investigation`, however long the window. `not_affected` is said only of what a policy in `Enforce`
//! forbids altogether, with an impact statement that says how, and no justification: none of OpenVEX's means this.

use std::collections::BTreeSet;

use plimsoll_policy::{Mode, Policy, WorkloadFacts, compile, select};
use plimsoll_sbom::{InodeKey, Inventory, PackageDatabase, Sha256};
use serde::Serialize;
use serde_json::{Value, json};

use super::usage::{Package, Usage, Use};
use crate::events::time;

/// Ends of names whose content interpreters run, which no allowlist of programs forbids.
const INTERPRETED: [&str; 16] = [
    ".py", ".pyc", ".pl", ".pm", ".rb", ".js", ".mjs", ".cjs", ".php", ".phar", ".lua", ".tcl", ".awk", ".jar",
    ".class", ".sh",
];

/// A vulnerability of a package, from the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vulnerability {
    id: String,
    /// Name or package URL.
    package: String,
}

impl Vulnerability {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (id, package) = text.split_once('=').ok_or("write it as in `CVE-2023-38545=curl`")?;
        Ok(Self { id: id.to_owned(), package: package.to_owned() })
    }
}

/// Packages of which a policy lets nothing run.
#[derive(Debug, Default)]
pub(super) struct Forbidden {
    policy: String,
    generation: String,
    packages: BTreeSet<String>,
}

impl Forbidden {
    /// Of the policy that is for the image in this namespace, if it is in `Enforce`.
    pub(super) fn new(
        policies: &[Policy],
        namespace: Option<&str>,
        usage: &Usage<'_>,
        (inventory, databases): (&Inventory, &[PackageDatabase]),
    ) -> anyhow::Result<Self> {
        let is_digest = usage.image.starts_with("sha256:");
        let facts = WorkloadFacts {
            image_digest: Some(usage.image.to_owned()).filter(|_| is_digest),
            image_reference: Some(usage.image.to_owned()).filter(|_| !is_digest),
            namespace: namespace.map(str::to_owned),
            ..WorkloadFacts::default()
        };
        let Some(policy) = select(policies, &facts).filter(|policy| policy.mode == Mode::Enforce) else {
            return Ok(Self::default());
        };
        let allowed: BTreeSet<InodeKey> = compile(policy, inventory)?.entries.iter().map(|entry| entry.inode).collect();
        let is_allowed = |name: &str| {
            let mut files = inventory.files.iter();
            files.any(|file| file.package.as_ref().is_some_and(|it| it.name == name) && allowed.contains(&file.inode))
        };
        let names = usage.packages.iter().map(|package| package.name).filter(|name| !name.is_empty());
        let forbidden = names.filter(|name| is_whole_and_native(name, databases) && !is_allowed(name));
        Ok(Self {
            policy: policy.name.clone(),
            generation: policy.generation.to_string(),
            packages: forbidden.map(str::to_owned).collect(),
        })
    }
}

/// Whether a package database knows all files of the package, and no interpreter would run any of them.
fn is_whole_and_native(name: &str, databases: &[PackageDatabase]) -> bool {
    let mut files = databases.iter().flat_map(|database| {
        let of = |index: usize| database.packages.get(index).is_some_and(|package| package.name == name);
        database.files.iter().filter(move |file| of(file.package))
    });
    let mut known = false;
    let native = files.all(|file| {
        known = true;
        !INTERPRETED.iter().any(|end| file.path.ends_with(end.as_bytes()))
    });
    native && known
}

#[derive(Serialize)]
struct Statement {
    vulnerability: Value,
    products: [Value; 1],
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_notes: Option<String>,
    #[serde(rename = "impact_statement", skip_serializing_if = "Option::is_none")]
    impact: Option<String>,
}

/// A document with its name.
#[derive(Serialize)]
struct Document {
    #[serde(rename = "@id")]
    id: String,
    #[serde(flatten)]
    content: Value,
}

/// The document, as of the end of the window.
pub(super) fn document(
    usage: &Usage<'_>,
    vulnerabilities: &[Vulnerability],
    forbidden: &Forbidden,
    author: &str,
) -> anyhow::Result<Value> {
    anyhow::ensure!(
        !vulnerabilities.is_empty(),
        "OpenVEX speaks of vulnerabilities; name each with its package, as in `--vulnerability CVE-2023-38545=curl`"
    );
    let statements: Vec<_> = vulnerabilities
        .iter()
        .map(|vulnerability| statement(usage, vulnerability, forbidden))
        .collect::<anyhow::Result<_>>()?;
    let end = usage.reading.until_unix_ns;
    let timestamp = time::display(end).chars().take(19).collect::<String>().replace(' ', "T") + "Z";
    let content = json!({
        "@context": "https://openvex.dev/ns/v0.2.0",
        "author": author,
        "timestamp": timestamp,
        "version": 1,
        "tooling": concat!("plimsoll ", env!("CARGO_PKG_VERSION")),
        "statements": statements,
    });
    // Named by its content: the same answer has the same name.
    let id = format!("https://plimsoll.dev/vex/{}", Sha256::of(content.to_string().as_bytes()).hex());
    Ok(serde_json::to_value(Document { id, content })?)
}

fn statement(usage: &Usage<'_>, vulnerability: &Vulnerability, forbidden: &Forbidden) -> anyhow::Result<Statement> {
    let is_meant =
        |package: &&Package<'_>| [Some(package.name), package.purl].contains(&Some(vulnerability.package.as_str()));
    let package = usage.packages.iter().find(is_meant);
    let Some(package) = package else {
        anyhow::bail!(
            "no file of the image that could run belongs to a package `{}`; `--format table` lists the packages",
            vulnerability.package
        )
    };
    let id = package.purl.map_or_else(|| format!("pkg:generic/{}", package.name), str::to_owned);
    let product = json!({ "@id": product(usage.image), "subcomponents": [{ "@id": id }] });
    let was_used = matches!(package.usage, Use::Executed | Use::Loaded);
    let is_forbidden = forbidden.packages.contains(package.name) && !was_used;
    Ok(Statement {
        vulnerability: json!({ "name": vulnerability.id }),
        products: [product],
        status: if is_forbidden { "not_affected" } else { "under_investigation" },
        status_notes: (!is_forbidden).then(|| notes(usage, package)),
        impact: is_forbidden.then(|| {
            format!(
                "Plimsoll's policy `{}` ({}) in mode Enforce allows no file of this package to be executed or loaded, and the \
                 package has no file that interpreters run. This holds where that policy is in force, and no longer.",
                forbidden.policy, forbidden.generation
            )
        }),
    })
}

/// What was observed, and what that does not show.
fn notes(usage: &Usage<'_>, package: &Package<'_>) -> String {
    let facts = &package.facts;
    let observed = format!(
        "observed: {} executions, {} reported loads, {} refused attempts; the answer is {}",
        facts.executed.count,
        facts.loaded.count,
        facts.refused.count,
        usage.answer.name()
    );
    let limit = match package.usage {
        Use::Executed | Use::Loaded => "the package is in use",
        Use::Refused => "something tried to use the package and was refused",
        Use::Never => "no execution in the window does not show that there will be none",
        Use::NotSeen => "some events of the window may be missing",
        Use::Unknown => "whether files of the package were used is not known",
    };
    format!("{observed}; {limit}")
}

/// The image as a package URL.
fn product(image: &str) -> String {
    if let Some(digest) = image.strip_prefix("sha256:") {
        return format!("pkg:oci/image@sha256%3A{digest}");
    }
    let (place, name) = image.rsplit_once('/').map_or(("", image), |(place, name)| (place, name));
    let (name, tag) = name.split_once(':').unwrap_or((name, "latest"));
    let repository = if place.is_empty() { name.to_owned() } else { format!("{place}/{name}") };
    format!("pkg:oci/{name}?repository_url={repository}&tag={tag}")
}
