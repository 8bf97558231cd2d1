//! The values of the language, each with what is wrong with it and how to write it.

use plimsoll_abi::{MAX_DEPTH, MAX_NAME};
use plimsoll_sbom::Sha256;

use super::{
    fields::quoted,
    report::{Report, Reported},
    tree::Field,
};
use crate::{
    policy::PathPattern,
    reference::{InvalidReference, ReferencePattern},
};

const MAX_PATH_BYTES: usize = 4096;
const MAX_REASON_CHARS: usize = 500;
/// A prefix of 253, a slash, and a name of 63 characters, as Kubernetes has it.
const MAX_LABEL_KEY_CHARS: usize = 317;
const MAX_LABEL_CHARS: usize = 63;

/// A policy's name.
pub(super) fn name(field: &Field, report: &mut Report<'_>) -> Result<String, Reported> {
    let text = field.string(report)?;
    if is_dns_name(text, 253, ".-") {
        return Ok(text.to_owned());
    }
    let help = "use up to 253 lower-case letters, digits, `-` and `.`, with a letter or digit at both ends";
    Err(report.error(field.value_span(), format!("{} is not a policy name", quoted(text)), help))
}

/// A Kubernetes namespace.
pub(super) fn namespace(field: &Field, report: &mut Report<'_>) -> Result<String, Reported> {
    let text = field.string(report)?;
    if is_dns_name(text, 63, "-") {
        return Ok(text.to_owned());
    }
    let help = "name one namespace, up to 63 lower-case letters, digits and `-`; patterns are for `image.reference`";
    Err(report.error(field.value_span(), format!("{} is not a namespace", quoted(text)), help))
}

fn is_dns_name(text: &str, max: usize, inner: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let ends = text.starts_with(alphanumeric) && text.ends_with(alphanumeric);
    ends && text.len() <= max && text.chars().all(|c| alphanumeric(c) || inner.contains(c))
}

/// A SHA-256 digest.
pub(super) fn digest(field: &Field, report: &mut Report<'_>) -> Result<Sha256, Reported> {
    let text = field.string(report)?;
    let lower_case = !text.chars().any(|c| c.is_ascii_uppercase());
    match text.parse() {
        Ok(digest) if lower_case => Ok(digest),
        _ => {
            let bare_hex = text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit());
            let help = match format!("sha256:{text}").parse::<Sha256>() {
                Ok(digest) if bare_hex => format!("write `{digest}`"),
                _ => "write `sha256:` and 64 lower-case hex digits".to_owned(),
            };
            let message = format!("`{}` must be a SHA-256 digest, found {}", field.key, quoted(text));
            Err(report.error(field.value_span(), message, help))
        }
    }
}

/// A pattern of image references.
pub(super) fn reference(field: &Field, report: &mut Report<'_>) -> Result<ReferencePattern, Reported> {
    let text = field.string(report)?;
    ReferencePattern::new(text).map_err(|error| {
        let help = match error {
            InvalidReference::NoTag => {
                format!("write {} for every tag, or name one", quoted(&format!("{text}:*")))
            }
            InvalidReference::Digest => "put the digest into `digest`, next to `reference`".to_owned(),
            InvalidReference::Spelling => "write for example `registry.example/team/app:*`".to_owned(),
        };
        report.error(field.value_span(), error.to_string(), help)
    })
}

/// A label and its value.
pub(super) fn label(field: &Field, report: &mut Report<'_>) -> Result<(String, String), Reported> {
    let value = field.string(report);
    let spelled = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let key = &field.key;
    if key.is_empty() || key.len() > MAX_LABEL_KEY_CHARS || !key.chars().all(|c| spelled(c) || c == '/') {
        let help = "use letters, digits, `-`, `_`, `.` and `/`, as in `app.kubernetes.io/name`";
        return Err(report.error(field.key_span, format!("{} is not a label's name", quoted(key)), help));
    }
    let value = value?;
    if value.len() > MAX_LABEL_CHARS || !value.chars().all(spelled) {
        let help = "a label's value is compared as it is: up to 63 letters, digits, `-`, `_` and `.`, no patterns";
        return Err(report.error(field.value_span(), format!("{} is not a label's value", quoted(value)), help));
    }
    Ok((key.clone(), value.to_owned()))
}

/// The path of an addition.
pub(super) fn path(field: &Field, report: &mut Report<'_>) -> Result<PathPattern, Reported> {
    let text = field.string(report)?;
    let directory = text.strip_suffix("/**");
    let plain = directory.unwrap_or(text);
    let (message, help) = if plain.is_empty() && directory.is_some() {
        ("`/**` would allow every file of the image", "write `evidence: layer-only` if that is what you want")
    } else if !plain.starts_with('/') {
        ("a path starts with `/`", "write it from the root of the image's file system")
    } else if plain.len() > MAX_PATH_BYTES {
        ("the path is longer than 4096 bytes", "no file has such a path")
    } else if plain.contains(['*', '?', '[']) {
        ("a wildcard in the middle of a path", "name the file, or end the path in `/**` for a whole directory")
    } else if plain.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
        ("the path has an empty, `.` or `..` part", "write it without them, and without a slash at its end")
    } else {
        return Ok(match directory {
            Some(directory) => PathPattern::Below(directory.to_owned()),
            None => PathPattern::Exact(plain.to_owned()),
        });
    };
    Err(report.error(field.value_span(), message, help))
}

/// The path of a file rule.
pub(super) fn file_path(field: &Field, report: &mut Report<'_>) -> Result<PathPattern, Reported> {
    let text = field.string(report)?;
    let directory = text.strip_suffix("/**");
    let plain = directory.unwrap_or(text);
    let parts = || plain.split('/').skip(1);
    let whole = plain.is_empty() && directory.is_some();
    let (message, help) = if !whole && !plain.starts_with('/') {
        ("a path starts with `/`", "write it from the container's root")
    } else if plain.contains(['*', '?', '[']) {
        ("a wildcard in the middle of a path", "name the file, or end the path in `/**` for a whole directory")
    } else if parts().any(|part| matches!(part, "" | "." | "..")) {
        ("the path has an empty, `.` or `..` part", "write it without them, and without a slash at its end")
    } else if parts().any(|part| part.len() > MAX_NAME) {
        ("a name in the path is longer than 128 bytes", "name a directory further up, with `/**`")
    } else if parts().count() >= MAX_DEPTH {
        ("the path has more than 19 parts", "name a directory further up, with `/**`")
    } else {
        return Ok(match directory {
            Some(directory) => PathPattern::Below(directory.to_owned()),
            None => PathPattern::Exact(plain.to_owned()),
        });
    };
    Err(report.error(field.value_span(), message, help))
}

/// Why an addition is there.
pub(super) fn reason(field: &Field, report: &mut Report<'_>) -> Result<String, Reported> {
    let text = field.string(report)?.trim();
    let help = "say in a sentence why this file must run; it is shown with every event";
    if text.is_empty() {
        return Err(report.error(field.value_span(), "the reason is empty", help));
    }
    if text.chars().nth(MAX_REASON_CHARS).is_some() {
        let message = format!("the reason is longer than {MAX_REASON_CHARS} characters");
        return Err(report.error(field.value_span(), message, help));
    }
    Ok(text.to_owned())
}
