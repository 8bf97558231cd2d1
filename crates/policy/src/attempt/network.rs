//! Attempts on the network.

use std::net::IpAddr;

use plimsoll_abi::{Hook, Reason, Verdict};

use super::{Answer, Attempt, Undecided};
use crate::{
    compile::CompiledPolicy,
    network::{Direction, NetworkAccess, evaluate_network, may_be_a_names},
    policy::Mode,
};

pub(super) fn judge(policy: &CompiledPolicy, attempt: &Attempt<'_>, hook: Hook) -> Result<Answer, Undecided> {
    let Some(network) = &policy.network else {
        return Ok(Answer { verdict: Verdict::Allow, reason: Reason::Listed, rule: "no `network`".to_owned() });
    };
    let direction = match hook {
        Hook::Connect | Hook::Send => Direction::Egress,
        Hook::Bind | Hook::Listen => Direction::Bind,
        Hook::Accept => Direction::Ingress,
        _ => return socket(policy, attempt.operation),
    };
    if matches!(attempt.operation, "source-route" | "socket-of-another-cgroup") {
        let verdict = if policy.mode == Mode::Enforce { Verdict::Deny } else { Verdict::Audit };
        return Ok(Answer { verdict, reason: Reason::NetworkRule, rule: "no rule allows it".to_owned() });
    }
    let (address, port, protocol) = attempt.network.ok_or(Undecided::Address)?;
    let address: IpAddr = address.parse().ok().ok_or(Undecided::Address)?;
    let access =
        NetworkAccess::Address { direction, address, port, protocol: number(protocol).ok_or(Undecided::Address)? };
    let (verdict, reason, index) = evaluate_network(policy, &access);
    if verdict != Verdict::Allow && may_be_a_names(network, &access) {
        return Err(Undecided::Names);
    }
    let rule = match index.and_then(|index| network.rules.get(index)) {
        Some(rule) => rule.to_string(),
        None if reason == Reason::Listed => "`network.sockets`".to_owned(),
        None => format!("no `network.{}` rule covers the address and port", direction.name()),
    };
    Ok(Answer { verdict, reason, rule })
}

/// `inet raw protocol 1`, as events have it.
fn socket(policy: &CompiledPolicy, text: &str) -> Result<Answer, Undecided> {
    let (before, protocol) = text.rsplit_once(" protocol ").ok_or(Undecided::Operation)?;
    let (family, kind) = split(before).ok_or(Undecided::Operation)?;
    let protocol = protocol.parse().ok().ok_or(Undecided::Operation)?;
    let (verdict, reason, _) = evaluate_network(policy, &NetworkAccess::Socket { family, kind, protocol });
    Ok(Answer { verdict, reason, rule: "`network.sockets`".to_owned() })
}

fn split(text: &str) -> Option<(u32, u32)> {
    let (family, kind) = if let Some((family, kind)) = text.split_once(" type ") {
        (family, kind.parse().ok()?)
    } else {
        let (family, kind) = text.rsplit_once(' ')?;
        let kinds = [("stream", 1), ("dgram", 2), ("raw", 3), ("seqpacket", 5)];
        (family, kinds.into_iter().find(|(name, _)| *name == kind)?.1)
    };
    let families =
        [("inet", 2), ("inet6", 10), ("netlink", 16), ("packet", 17), ("alg", 38), ("vsock", 40), ("xdp", 44)];
    let family = match family.strip_prefix("family ") {
        Some(number) => number.parse().ok()?,
        None => families.into_iter().find(|(name, _)| *name == family)?.1,
    };
    Some((family, kind))
}

fn number(protocol: &str) -> Option<u32> {
    match protocol {
        "tcp" => Some(6),
        "udp" => Some(17),
        "sctp" => Some(132),
        "mptcp" => Some(262),
        number => number.parse().ok(),
    }
}
