//! From a kernel record to an event that explains itself: a pure function of the record and the workload.

mod network;

use std::borrow::Cow;

use plimsoll_abi::{Hook, Injection, Operation, Reason, Tampering, Verdict, event_flags, operation};
use plimsoll_policy::{Capabilities, CompiledPolicy, Mode};
use plimsoll_proto::v1;
use plimsoll_sbom::{Gap, InodeKey, InventoryFile};

use crate::{
    event::{Decoded, comm},
    workload::{Workload, pod::PodRef},
};

/// Says what the record is about, as far as the workload tells. `boot_ns` is the wall clock at boot, nanoseconds.
pub fn explain(event: &Decoded, workload: Option<&Workload>, boot_ns: u64) -> v1::Event {
    let known = workload.and_then(|workload| image_file(event, workload));
    v1::Event {
        sequence: 0,
        kernel_sequence: event.raw.sequence,
        time_unix_ns: boot_ns.saturating_add(event.raw.time_ns),
        verdict: verdict(event.verdict).into(),
        reason: reason(event.reason).into(),
        hook: hook(event.hook).into(),
        process: Some(process(event)),
        file: Some(file(event, known, workload)),
        package: known.and_then(|file| file.package.as_ref()).map(|package| v1::Package {
            name: package.name.clone(),
            version: package.version.clone(),
            purl: package.purl.clone().unwrap_or_default(),
        }),
        evidence: evidence(event, known, workload),
        sbom_digest: workload.map(|workload| workload.image.inventory.sbom_digest.to_string()).unwrap_or_default(),
        image: workload.map(|workload| v1::Image {
            digest: workload.image.digest.to_string(),
            reference: workload.facts.image_reference.clone().unwrap_or_default(),
        }),
        workload: Some(v1::Workload {
            id: workload.map(|workload| workload.id.clone()).unwrap_or_default(),
            namespace: workload.and_then(|workload| workload.facts.namespace.clone()).unwrap_or_default(),
            labels: workload.map(|workload| workload.facts.labels.clone().into_iter().collect()).unwrap_or_default(),
            cgroup: event.raw.cgroup,
            ..pod(workload)
        }),
        policy: workload.map(|workload| v1::Policy {
            name: workload.policy.name.clone(),
            generation: workload.policy.generation.to_string(),
            rule: rule(event, &workload.policy),
            authority: workload.policy.authority.name().to_owned(),
        }),
        mode: mode(event, workload).into(),
        network: network::network(event),
        operation: operation_of(event),
        cloud: None,
    }
}

/// The pod and container that the runtime named.
fn pod(workload: Option<&Workload>) -> v1::Workload {
    let PodRef { uid, name, container } = workload.and_then(|workload| workload.pod.clone()).unwrap_or_default();
    v1::Workload { pod: name, pod_uid: uid, container, ..v1::Workload::default() }
}

/// What exactly was asked for, in words.
fn operation_of(event: &Decoded) -> String {
    let code = u32::try_from(event.raw.operand).ok();
    match event.hook {
        Hook::Operation => {
            let known = code.and_then(|code| Operation::try_from(code).ok());
            known.map_or_else(|| event.raw.operand.to_string(), |operation| operation.name().to_owned())
        }
        Hook::Socket | Hook::Send | Hook::Listen | Hook::Accept => network::operation(event),
        Hook::Inject => {
            let known = code.and_then(|code| Injection::try_from(code).ok());
            known.map_or_else(|| event.raw.operand.to_string(), |injection| injection.name().to_owned())
        }
        Hook::Tamper => {
            let known = code.and_then(|code| Tampering::try_from(code).ok());
            known.map_or_else(|| event.raw.operand.to_string(), |tampering| tampering.name().to_owned())
        }
        Hook::Capability => Capabilities::name(event.raw.operand),
        _ => String::new(),
    }
}

/// The image's file behind the event: the one that ran, or, for a changed copy, the one it was copied from.
fn image_file<'a>(event: &Decoded, workload: &'a Workload) -> Option<&'a InventoryFile> {
    let by_lower = event.has(event_flags::LOWER) || event.hook == Hook::Protect;
    let inode = InodeKey { dev: event.raw.dev, ino: event.raw.ino };
    by_lower.then(|| workload.image.file(inode)).flatten()
}

fn process(event: &Decoded) -> v1::Process {
    let mut ancestors: Vec<_> = event
        .raw
        .ancestors
        .iter()
        .map(|ancestor| v1::Ancestor { tgid: ancestor.tgid, comm: comm(&ancestor.comm) })
        .take_while(|ancestor| ancestor.tgid != 0)
        .collect();
    ancestors.dedup();
    v1::Process { tgid: event.raw.tgid, tid: event.raw.tid, uid: event.raw.uid, comm: comm(&event.raw.comm), ancestors }
}

fn file(event: &Decoded, known: Option<&InventoryFile>, workload: Option<&Workload>) -> v1::File {
    let path = path(event, workload);
    let text = String::from_utf8_lossy(&path);
    let raw = if matches!(text, Cow::Owned(_)) { path.to_vec() } else { Vec::new() };
    // The inventory's digest is that of the image's file; a changed copy has another one, which nobody computed.
    let unchanged = known.filter(|_| !event.has(event_flags::UPPER));
    v1::File {
        path: text.into_owned(),
        path_raw: raw,
        path_is_name_only: event.has(event_flags::NAME_ONLY),
        dev: event.raw.dev,
        ino: event.raw.ino,
        size: event.raw.size,
        sha256: unchanged.map(|file| file.sha256.to_string()).unwrap_or_default(),
        origin: origin(event).into(),
    }
}

/// The path, put together from its components where the kernel reported those.
fn path<'a>(event: &'a Decoded, workload: Option<&Workload>) -> Cow<'a, [u8]> {
    if !event.has(event_flags::COMPONENTS) {
        return Cow::Borrowed(event.path());
    }
    let mut parts: Vec<&[u8]> = event.components().collect();
    parts.reverse();
    if event.has(event_flags::NAME_ONLY) {
        return Cow::Owned(parts.join(&b'/'));
    }
    let volume = usize::try_from(event.raw.operand).unwrap_or(usize::MAX).checked_sub(1);
    let mounted = volume.and_then(|index| workload.and_then(|workload| workload.volumes.get(index)));
    let mut path = mounted.map(|volume| volume.path.clone()).unwrap_or_default();
    for part in parts {
        path.push(b'/');
        path.extend_from_slice(part);
    }
    Cow::Owned(if path.is_empty() { vec![b'/'] } else { path })
}

fn origin(event: &Decoded) -> v1::Origin {
    let has = |flag| event.has(flag);
    match event.reason {
        Reason::AnonymousExec | Reason::Unreadable => v1::Origin::Unspecified,
        Reason::Foreign => v1::Origin::Foreign,
        _ if has(event_flags::UPPER) && has(event_flags::LOWER) => v1::Origin::CopiedUp,
        _ if has(event_flags::UPPER) => v1::Origin::Dropped,
        _ if has(event_flags::LOWER) => v1::Origin::ImageFile,
        _ => v1::Origin::Unspecified,
    }
}

/// The evidence that let the file run, or what is missing.
fn evidence(event: &Decoded, known: Option<&InventoryFile>, workload: Option<&Workload>) -> String {
    if operation_on_files(event.hook).is_some() {
        return String::new();
    }
    let Some(known) = known else { return "none".to_owned() };
    if event.has(event_flags::UPPER) {
        return "changed".to_owned();
    }
    if let Some(entry) = workload.and_then(|workload| workload.policy.entry(known.inode)) {
        return entry.evidence.to_string();
    }
    match (&known.gap, known.evidence) {
        (Some(Gap::Mismatch { expected, by }), _) => format!("mismatch: the {by} declares {expected}"),
        (Some(Gap::Undeclared), _) => "undeclared".to_owned(),
        (None, Some(class)) => class.to_string(),
        (None, None) => "none".to_owned(),
    }
}

/// The rule that allowed it, or what keeps the file off the allowlist.
fn rule(event: &Decoded, policy: &CompiledPolicy) -> String {
    let inode = InodeKey { dev: event.raw.dev, ino: event.raw.ino };
    match event.reason {
        Reason::Listed => policy.rules.get(event.raw.rule as usize).map(ToString::to_string).unwrap_or_default(),
        Reason::NotListed => {
            let refused = policy.refused.iter().find(|refused| refused.inode == inode);
            refused.map(|refused| refused.why.to_string()).unwrap_or_default()
        }
        Reason::NetworkRule => network::missing_rule(event, policy),
        Reason::FileRule => file_rule(event, policy),
        _ => String::new(),
    }
}

/// The file rule that denies it.
fn file_rule(event: &Decoded, policy: &CompiledPolicy) -> String {
    let index = usize::try_from(event.raw.rule).unwrap_or(0).checked_sub(1);
    let asked = operation_on_files(event.hook).unwrap_or(0);
    let deciding = index.and_then(|index| policy.files.get(index)).filter(|rule| rule.deny & asked != 0);
    deciding.map_or_else(|| "a file rule that would not hold under the other name".to_owned(), ToString::to_string)
}

/// What a hook on files asks for; `None` for other hooks.
fn operation_on_files(hook: Hook) -> Option<u16> {
    Some(match hook {
        Hook::Read => operation::READ,
        Hook::Write => operation::WRITE,
        Hook::Create => operation::CREATE,
        Hook::Remove => operation::REMOVE,
        // Of the name that would be replaced or made, too.
        Hook::Rename => operation::RENAME | operation::CREATE | operation::REMOVE,
        Hook::Link => operation::LINK | operation::CREATE,
        Hook::Attribute => operation::ATTRIBUTE,
        _ => return None,
    })
}

fn mode(event: &Decoded, workload: Option<&Workload>) -> v1::Mode {
    match (event.verdict, workload.map(|workload| workload.policy.mode)) {
        (Verdict::Deny, _) | (_, Some(Mode::Enforce)) => v1::Mode::Enforce,
        (Verdict::Audit, _) | (_, Some(Mode::Monitor)) => v1::Mode::Monitor,
        (Verdict::Allow, None) => v1::Mode::Unspecified,
    }
}

fn verdict(verdict: Verdict) -> v1::Verdict {
    match verdict {
        Verdict::Allow => v1::Verdict::Allow,
        Verdict::Audit => v1::Verdict::Audit,
        Verdict::Deny => v1::Verdict::Deny,
    }
}

fn reason(reason: Reason) -> v1::Reason {
    match reason {
        Reason::Listed => v1::Reason::Listed,
        Reason::NotListed => v1::Reason::NotListed,
        Reason::Written => v1::Reason::Written,
        Reason::Foreign => v1::Reason::Foreign,
        Reason::AnonymousExec => v1::Reason::AnonymousExec,
        Reason::ModifiedCode => v1::Reason::ModifiedCode,
        Reason::StaleLabel => v1::Reason::StaleLabel,
        Reason::Unreadable => v1::Reason::Unreadable,
        Reason::Unlabelled => v1::Reason::Unlabelled,
        Reason::FileRule => v1::Reason::FileRule,
        Reason::NetworkRule => v1::Reason::NetworkRule,
        Reason::Forbidden => v1::Reason::Forbidden,
        Reason::Tampering => v1::Reason::Tampering,
        Reason::InjectedCode => v1::Reason::InjectedCode,
        Reason::UnlistedScript => v1::Reason::UnlistedScript,
        Reason::TooDeep => v1::Reason::TooDeep,
    }
}

fn hook(hook: Hook) -> v1::Hook {
    match hook {
        Hook::Exec => v1::Hook::Exec,
        Hook::Map => v1::Hook::Map,
        Hook::Protect => v1::Hook::Protect,
        Hook::Script => v1::Hook::Script,
        Hook::Inject => v1::Hook::Inject,
        Hook::Read => v1::Hook::Read,
        Hook::Write => v1::Hook::Write,
        Hook::Create => v1::Hook::Create,
        Hook::Remove => v1::Hook::Remove,
        Hook::Rename => v1::Hook::Rename,
        Hook::Link => v1::Hook::Link,
        Hook::Attribute => v1::Hook::Attribute,
        Hook::Connect => v1::Hook::Connect,
        Hook::Send => v1::Hook::Send,
        Hook::Bind => v1::Hook::Bind,
        Hook::Listen => v1::Hook::Listen,
        Hook::Accept => v1::Hook::Accept,
        Hook::Socket => v1::Hook::Socket,
        Hook::Operation => v1::Hook::Operation,
        Hook::Capability => v1::Hook::Capability,
        Hook::Tamper => v1::Hook::Tamper,
    }
}
