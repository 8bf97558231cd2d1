//! `spec.sbom`: who must have signed an image's SBOM, and what an unsigned one is worth.

use plimsoll_sbom::EvidenceClass;

use super::{
    fields::{Fields, quoted},
    report::{Report, Reported},
    shape,
    tree::{Field, Node},
};
use crate::policy::{SbomTrust, SignedBy, Unsigned};

const MAX_SIGNERS: usize = 100;
const MAX_IDENTITY_CHARS: usize = 1000;
const REFUSE: &str = "Refuse";

/// Reads `sbom`; without it any SBOM counts, as far as its evidence goes.
pub(super) fn sbom(field: &Field, report: &mut Report<'_>) -> Result<SbomTrust, Reported> {
    let fields = Fields::open(&field.node, field.key_span, &shape::SBOM, report)?;
    let signers = fields.optional("signedBy").map(|field| signers(field, report)).transpose();
    let unsigned = fields.optional("unsigned").map(|field| field.choice(&unsigned_choices(), report)).transpose();
    let (signers, unsigned) = (signers?, unsigned?);
    if signers.is_none() && unsigned.is_none() {
        let help = "name who must sign under `signedBy`, or what `unsigned` is worth, or remove the field";
        return Err(fields.empty("`sbom` says nothing", help, report));
    }
    // Whoever names signers does not mean that everybody may leave them out.
    let default = if signers.is_some() { Unsigned::Refuse } else { Unsigned::AtMost(EvidenceClass::SbomDigest) };
    Ok(SbomTrust { signed_by: signers.unwrap_or_default(), unsigned: unsigned.unwrap_or(default) })
}

pub(super) fn unsigned_choices() -> [(&'static str, Unsigned); 5] {
    let [layer, path, package, sbom] = EvidenceClass::ALL;
    [
        (REFUSE, Unsigned::Refuse),
        (layer.name(), Unsigned::AtMost(layer)),
        (path.name(), Unsigned::AtMost(path)),
        (package.name(), Unsigned::AtMost(package)),
        (sbom.name(), Unsigned::AtMost(sbom)),
    ]
}

fn signers(field: &Field, report: &mut Report<'_>) -> Result<Vec<SignedBy>, Reported> {
    let items = field.list(report)?;
    if items.is_empty() {
        return Err(report.error(field.key_span, "`signedBy` is empty", "name a signer, or remove the field"));
    }
    if items.len() > MAX_SIGNERS {
        let message = format!("`signedBy` has {} entries, the limit is {MAX_SIGNERS}", items.len());
        return Err(report.error(field.key_span, message, "let fewer keys sign, or name identities with a `*`"));
    }
    let outcomes: Vec<_> = items.iter().map(|item| signer(item, report)).collect();
    outcomes.into_iter().collect()
}

fn signer(item: &Node, report: &mut Report<'_>) -> Result<SignedBy, Reported> {
    let fields = Fields::open(item, item.span, &shape::SIGNER, report)?;
    match (fields.optional("key"), fields.optional("identity"), fields.optional("issuer")) {
        (Some(key), None, None) => Ok(SignedBy::Key(key_name(key, report)?)),
        (None, Some(identity), Some(issuer)) => {
            let (identity, issuer) = (identity_pattern(identity, report), issuer_url(issuer, report));
            Ok(SignedBy::Identity { identity: identity?, issuer: issuer? })
        }
        (None, None, None) => {
            Err(fields.empty("an empty signer is nobody", "name a `key`, or an `identity` with its `issuer`", report))
        }
        (Some(_), _, _) => {
            let help = "make two entries of it: either may then sign";
            Err(report.error(item.span, "a signer has a key or an identity, not both", help))
        }
        (None, Some(_), None) => {
            let help = "add the `issuer` that vouches for the identity, such as `https://accounts.example`";
            Err(report.error(item.span, "an identity without its `issuer`", help))
        }
        (None, None, Some(_)) => {
            let help = "add the `identity`: the certificate's e-mail address or URI";
            Err(report.error(item.span, "an `issuer` without an identity", help))
        }
    }
}

/// Becomes part of a file's name on the node.
fn key_name(field: &Field, report: &mut Report<'_>) -> Result<String, Reported> {
    let text = field.string(report)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if text.is_empty() || text.len() > 100 || text.starts_with('.') || !text.chars().all(plain) {
        let help = "name a file of the node's directory of keys without its `.pub`, such as `release`";
        return Err(report.error(field.value_span(), format!("{} is not a key's name", quoted(text)), help));
    }
    Ok(text.to_owned())
}

fn identity_pattern(field: &Field, report: &mut Report<'_>) -> Result<String, Reported> {
    let text = field.string(report)?;
    let fixed = text.strip_suffix('*').unwrap_or(text);
    if fixed.is_empty() || fixed.contains('*') || text.chars().nth(MAX_IDENTITY_CHARS).is_some() {
        let help = "write the certificate's e-mail address or URI; a `*` at its end stands for anything";
        return Err(report.error(field.value_span(), format!("{} is not an identity", quoted(text)), help));
    }
    Ok(text.to_owned())
}

fn issuer_url(field: &Field, report: &mut Report<'_>) -> Result<String, Reported> {
    let text = field.string(report)?;
    if text.starts_with("https://") && !text.contains('*') && text.chars().nth(MAX_IDENTITY_CHARS).is_none() {
        return Ok(text.to_owned());
    }
    let help = "write the OpenID Connect issuer as certificates have it, such as `https://accounts.example`";
    Err(report.error(field.value_span(), format!("{} is not an issuer", quoted(text)), help))
}
