//! The meaning of a tree: every field is looked at before the first problem ends the reading.

use std::collections::HashMap;

use plimsoll_sbom::{EvidenceClass, Sha256};

use super::{
    Limits,
    fields::{Fields, quoted},
    files,
    hardening::hardening,
    network,
    report::{Report, Reported},
    shape,
    source::Span,
    tree::{Field, Node, Value},
    trust, value,
};
use crate::{
    hardening::Hardening,
    network::Network,
    policy::{Addition, AnonymousExec, Authority, FileRule, LabelSelector, Mode, Policy, SbomTrust, Scripts, Selector},
};

pub(super) const API_VERSION: &str = "plimsoll.dev/v1alpha1";
/// What a policy may be; without a namespace, an `EnforcementPolicy` is the node's.
pub(super) const KINDS: [(&str, Authority); 2] =
    [("EnforcementPolicy", Authority::Directory), ("ClusterEnforcementPolicy", Authority::Cluster)];

const MODES: [(&str, Mode); 2] = [("Monitor", Mode::Monitor), ("Enforce", Mode::Enforce)];
const ANONYMOUS_EXEC: [(&str, AnonymousExec); 3] =
    [("Auto", AnonymousExec::Auto), ("Deny", AnonymousExec::Deny), ("Allow", AnonymousExec::Allow)];

const SCRIPTS: [(&str, Scripts); 2] = [("Any", Scripts::Any), ("Image", Scripts::Image)];

/// Reads one policy; `generation` is the digest of its text.
pub(super) fn policy(
    root: &Node,
    generation: Sha256,
    limits: &Limits,
    report: &mut Report<'_>,
) -> Result<Policy, Reported> {
    let document = Fields::open(root, root.span, &shape::DOCUMENT, report)?;
    let version = constant(&document, "apiVersion", API_VERSION, report);
    let kind = document.required("kind", "kind: EnforcementPolicy", report);
    let kind = kind.and_then(|field| field.choice(&KINDS, report));
    let metadata = metadata(&document, report);
    let spec = spec(&document, limits, report);
    version?;
    let (metadata, authority) = (metadata?, kind?);
    let Spec { selector, mode, evidence, anonymous_exec, allow, files, scripts, network, hardening, sbom } = spec?;
    let place = report.source().place(metadata.name_span);
    let (name, authority, selector) = confined(metadata, authority, selector, report)?;
    Ok(Policy {
        name,
        authority,
        place,
        generation,
        selector,
        mode,
        evidence,
        anonymous_exec,
        allow,
        network,
        hardening,
        files,
        scripts,
        sbom,
    })
}

fn constant(
    document: &Fields<'_>,
    name: &str,
    expected: &'static str,
    report: &mut Report<'_>,
) -> Result<(), Reported> {
    let field = document.required(name, &format!("{name}: {expected}"), report)?;
    field.choice(&[(expected, ())], report)
}

/// Who a policy is.
struct Metadata {
    name: String,
    name_span: Span,
    /// With where it stands.
    namespace: Option<(String, Span)>,
}

fn metadata(document: &Fields<'_>, report: &mut Report<'_>) -> Result<Metadata, Reported> {
    let metadata = document.required("metadata", "metadata: {name: my-policy}", report)?;
    let fields = Fields::open(&metadata.node, metadata.key_span, &shape::METADATA, report)?;
    let namespace = fields.optional("namespace");
    let namespace = namespace.map(|field| Ok((value::namespace(field, report)?, field.value_span()))).transpose();
    // They are for other tools; what they must be is theirs to say.
    let notes =
        ["labels", "annotations"].map(|name| fields.optional(name).map_or(Ok(()), |field| notes(field, report)));
    let field = fields.required("name", "name: my-policy", report)?;
    let name = value::name(field, report)?;
    notes.into_iter().collect::<Result<(), _>>()?;
    Ok(Metadata { name, name_span: field.value_span(), namespace: namespace? })
}

fn notes(field: &Field, report: &mut Report<'_>) -> Result<(), Reported> {
    if let Value::Mapping(notes) = &field.node.value {
        return notes.iter().try_for_each(|note| note.string(report).map(drop));
    }
    Err(super::fields::wrong_type(&field.node, field.value_span(), &quoted(&field.key), "a mapping", report))
}

/// Keeps a namespace's policy to its own workloads, whatever it selects.
fn confined(
    metadata: Metadata,
    authority: Authority,
    selector: Selector,
    report: &mut Report<'_>,
) -> Result<(String, Authority, Selector), Reported> {
    let Metadata { name, namespace, .. } = metadata;
    match (namespace, authority) {
        (None, _) => Ok((name, authority, selector)),
        (Some((_, span)), Authority::Cluster) => {
            let help = "remove it, or make it an `EnforcementPolicy`, which is for the workloads of its namespace";
            Err(report.error(span, "a `ClusterEnforcementPolicy` has no namespace", help))
        }
        (Some((own, span)), _) if selector.namespace.as_ref().is_some_and(|other| *other != own) => {
            let help = "remove `selector.namespace`, or let a `ClusterEnforcementPolicy` select workloads elsewhere";
            Err(report.error(span, "a policy of one namespace cannot select workloads of another", help))
        }
        (Some((own, _)), _) => {
            Ok((format!("{own}/{name}"), Authority::Namespace, Selector { namespace: Some(own), ..selector }))
        }
    }
}

struct Spec {
    selector: Selector,
    mode: Mode,
    evidence: EvidenceClass,
    anonymous_exec: AnonymousExec,
    allow: Vec<Addition>,
    network: Option<Network>,
    hardening: Hardening,
    files: Vec<FileRule>,
    scripts: Scripts,
    sbom: SbomTrust,
}

fn spec(document: &Fields<'_>, limits: &Limits, report: &mut Report<'_>) -> Result<Spec, Reported> {
    let field = document.required("spec", "spec:", report)?;
    let fields = Fields::open(&field.node, field.key_span, &shape::SPEC, report)?;
    let selector = fields.required("selector", "selector: {namespace: my-namespace}", report);
    let selector = selector.and_then(|field| selector_of(field, report));
    let mode = fields.required("mode", "mode: Monitor", report).and_then(|field| field.choice(&MODES, report));
    let evidence = fields
        .optional("evidence")
        .map(|field| field.choice(&EvidenceClass::ALL.map(|class| (class.name(), class)), report));
    let anonymous_exec = fields.optional("anonymousExec").map(|field| field.choice(&ANONYMOUS_EXEC, report));
    let allow = fields.optional("allow").map(|field| additions(field, limits, report));
    let network = fields.optional("network").map(|field| network::network(field, limits, report));
    let hardening = fields.optional("hardening").map(|field| hardening(field, report));
    let files = fields.optional("files").map(|field| files::rules(field, limits, report));
    let scripts = fields.optional("scripts").map(|field| field.choice(&SCRIPTS, report));
    let sbom = fields.optional("sbom").map(|field| trust::sbom(field, report));
    Ok(Spec {
        selector: selector?,
        mode: mode?,
        evidence: evidence.transpose()?.unwrap_or(EvidenceClass::PackageDigest),
        anonymous_exec: anonymous_exec.transpose()?.unwrap_or(AnonymousExec::Auto),
        allow: allow.transpose()?.unwrap_or_default(),
        network: network.transpose()?,
        hardening: hardening.transpose()?.unwrap_or_default(),
        files: files.transpose()?.unwrap_or_default(),
        scripts: scripts.transpose()?.unwrap_or(Scripts::Any),
        sbom: sbom.transpose()?.unwrap_or_default(),
    })
}

fn selector_of(field: &Field, report: &mut Report<'_>) -> Result<Selector, Reported> {
    let fields = Fields::open(&field.node, field.key_span, &shape::SELECTOR, report)?;
    let image = fields.optional("image").map(|field| image(field, report)).transpose();
    let labels = fields.optional("labels").map(|field| labels(field, report)).transpose();
    let namespace = fields.optional("namespace").map(|field| value::namespace(field, report)).transpose();
    let image = image?.unwrap_or_default();
    let selector = Selector { labels: labels?.unwrap_or_default(), namespace: namespace?, ..image };
    if selector == Selector::default() {
        let help = "name at least one of `image`, `labels` and `namespace`; to select every image, \
                    write `image: {reference: \"*\"}`";
        return Err(fields.empty("an empty selector selects nothing", help, report));
    }
    Ok(selector)
}

/// The image's part of a selector.
fn image(field: &Field, report: &mut Report<'_>) -> Result<Selector, Reported> {
    let fields = Fields::open(&field.node, field.key_span, &shape::IMAGE, report)?;
    let digest = fields.optional("digest").map(|field| value::digest(field, report)).transpose();
    let reference = fields.optional("reference").map(|field| value::reference(field, report)).transpose();
    let selector = Selector { image_digest: digest?, image_reference: reference?, ..Selector::default() };
    if selector == Selector::default() {
        let help = "name the image's `digest`, or a pattern of its `reference`";
        return Err(fields.empty("an empty image selector selects nothing", help, report));
    }
    Ok(selector)
}

fn labels(field: &Field, report: &mut Report<'_>) -> Result<LabelSelector, Reported> {
    let Value::Mapping(labels) = &field.node.value else {
        return Err(super::fields::wrong_type(&field.node, field.value_span(), "`labels`", "a mapping", report));
    };
    if labels.is_empty() {
        return Err(report.error(field.key_span, "`labels` is empty", "name a label, or remove the field"));
    }
    let outcomes: Vec<_> = labels.iter().map(|label| value::label(label, report)).collect();
    outcomes.into_iter().collect()
}

fn additions(field: &Field, limits: &Limits, report: &mut Report<'_>) -> Result<Vec<Addition>, Reported> {
    let items = field.list(report)?;
    if items.len() > limits.max_additions {
        let message = format!("`allow` has {} entries, the limit is {}", items.len(), limits.max_additions);
        let help = "allow a directory with `/**`, or accept weaker `evidence`";
        return Err(report.error(field.key_span, message, help));
    }
    let mut first_lines = HashMap::new();
    let mut outcomes = Vec::new();
    for item in items {
        let outcome = addition(item, report).and_then(|addition| {
            let key = (addition.path.clone(), addition.sha256);
            match first_lines.insert(key, item.span.line) {
                None => Ok(addition),
                Some(first) => {
                    let message = format!("{} is allowed twice", quoted(&addition.path.to_string()));
                    Err(report.error(item.span, message, format!("it is already on line {first}; remove one of them")))
                }
            }
        });
        outcomes.push(outcome);
    }
    outcomes.into_iter().collect()
}

fn addition(item: &Node, report: &mut Report<'_>) -> Result<Addition, Reported> {
    let fields = Fields::open(item, item.span, &shape::ADDITION, report)?;
    let path = fields.required("path", "path: /usr/local/bin/tool", report).and_then(|path| value::path(path, report));
    let sha256 = fields.optional("sha256").map(|field| value::digest(field, report)).transpose();
    let reason = fields.required("reason", "reason: why it must run", report);
    let reason = reason.and_then(|field| value::reason(field, report));
    Ok(Addition { path: path?, sha256: sha256?, reason: reason?, place: report.source().place(item.span) })
}
