//! `spec.hardening`: operations to allow or to deny, and the capabilities that may be used.

use plimsoll_abi::Operation;

use super::{
    fields::{Fields, closest, quoted, wrong_type},
    report::{Report, Reported},
    shape,
    tree::{Field, Node, ScalarType, Value},
};
use crate::hardening::{Capabilities, Forbidden, Hardening};

/// The operations' names in policies.
pub(super) const OPERATIONS: [(&str, Operation); 14] = [
    ("ptrace", Operation::Trace),
    ("bpf", Operation::Bpf),
    ("perfEvent", Operation::PerfEvent),
    ("kernelCode", Operation::KernelCode),
    ("mount", Operation::Mount),
    ("userNamespace", Operation::UserNamespace),
    ("setns", Operation::EnterNamespace),
    ("keyring", Operation::Keyring),
    ("ioUring", Operation::IoUring),
    ("kernelFiles", Operation::KernelFile),
    ("kernelLog", Operation::KernelLog),
    ("clock", Operation::Clock),
    ("deviceFile", Operation::DeviceFile),
    ("chroot", Operation::Chroot),
];

const CHOICES: [(&str, bool); 2] = [("Allow", false), ("Deny", true)];

pub(super) fn hardening(field: &Field, report: &mut Report<'_>) -> Result<Hardening, Reported> {
    let fields = Fields::open(&field.node, field.key_span, &shape::HARDENING, report)?;
    let forbidden = forbidden(&fields, report);
    let named = fields.optional("capabilities").map(|field| capabilities(field, report)).transpose();
    let (forbidden, capabilities) = (forbidden?, named?);
    if capabilities.is_some() && !forbidden.has(Operation::IoUring) {
        let span = fields.optional("ioUring").map_or(field.key_span, Field::value_span);
        let message = "`ioUring: Allow` cannot stand beside `capabilities`";
        let help =
            "remove one of them: a ring can work with credentials of its own, which no set of capabilities holds";
        return Err(report.error(span, message, help));
    }
    Ok(Hardening { forbidden, capabilities })
}

fn forbidden(fields: &Fields<'_>, report: &mut Report<'_>) -> Result<Forbidden, Reported> {
    let restricted = fields.optional("capabilities").is_some();
    let by_default =
        |operation| Hardening::DEFAULT.contains(&operation) || (restricted && operation == Operation::IoUring);
    let outcomes: Vec<_> = OPERATIONS
        .into_iter()
        .map(|(name, operation)| {
            let said = fields.optional(name).map(|field| field.choice(&CHOICES, report)).transpose()?;
            Ok((operation, said.unwrap_or_else(|| by_default(operation))))
        })
        .collect();
    let denied: Result<Vec<(Operation, bool)>, Reported> = outcomes.into_iter().collect();
    Ok(denied?.into_iter().filter_map(|(operation, denied)| denied.then_some(operation)).collect())
}

fn capabilities(field: &Field, report: &mut Report<'_>) -> Result<Capabilities, Reported> {
    let mut set = Capabilities::default();
    let mut outcome = Ok(());
    for item in field.list(report)? {
        let added = capability(item, report).and_then(|(name, number)| {
            if set.add(number) {
                return Ok(());
            }
            Err(report.error(item.span, format!("`{name}` is named twice"), "remove one of them"))
        });
        outcome = outcome.and(added);
    }
    outcome.map(|()| set)
}

fn capability(item: &Node, report: &mut Report<'_>) -> Result<(&'static str, u32), Reported> {
    let text = match &item.value {
        Value::Scalar(scalar) if scalar.kind() == ScalarType::String => &scalar.text,
        _ => return Err(wrong_type(item, item.span, "an entry of `capabilities`", "a string", report)),
    };
    let mut known = Capabilities::NAMES.iter().copied().zip(0..);
    if let Some(found) = known.find(|(name, _)| *name == text) {
        return Ok(found);
    }
    let prefixed = format!("CAP_{}", text.to_uppercase());
    let meant = Capabilities::NAMES.into_iter().find(|name| *name == prefixed);
    let help = match meant.or_else(|| closest(text, &Capabilities::NAMES)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "write it as in capabilities(7), for example `CAP_NET_BIND_SERVICE`".to_owned(),
    };
    Err(report.error(item.span, format!("{} is no capability", quoted(text)), help))
}
