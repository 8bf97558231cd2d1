//! The network: what a workload connects to and sends to, what it binds and listens on, who connects to it, and which
//! sockets it makes.

pub mod decide;
pub mod names;

use plimsoll_abi::{
    Hook, Reason, Stat, Verdict,
    network::{FOREIGN_SOCKET, NO_RULE, SOURCE_ROUTE, scope},
    state,
};

use self::decide::{Flow, decide, decide_socket, denied};
use crate::{
    decide::{Decision, deviation},
    emit::{self, Peer, Report},
    kernel::socket::{Address, Message, Request, Sock, Socket},
    label::{Standing, Subject, subject, subject_of},
    maps::CGROUPS,
    stats::{count, may_report_peer},
};

/// `SOL_IP`
const IP: u32 = 0;
/// `SOL_IPV6`
const IPV6: u32 = 41;
/// Control messages that one sending may have; nobody has use for more.
const MAX_CONTROL: usize = 16;
/// Bytes of a control message's header.
const CONTROL_HEADER: usize = 16;

/// Decides on a far end that a task connects or sends to.
#[inline(always)]
pub fn reach(address: Address, port: u16, protocol: u32, hook: Hook) -> i32 {
    let Some(subject) = governed() else { return 0 };
    let flow = Flow::new(scope::EGRESS, address, port, protocol);
    let decision = standing(&subject).unwrap_or_else(|| reachable(&subject, &flow));
    conclude(&Report { peer: peer(&flow), ..Report::new(&subject, decision, hook) })
}

/// By its address, or by a name that a resolver gave it for.
#[inline(always)]
fn reachable(subject: &Subject, flow: &Flow) -> Decision {
    let decision = decide(subject.state, flow);
    if matches!(decision.verdict, Verdict::Allow) || subject.state & state::NAME_RULES == 0 {
        return decision;
    }
    names::decide(subject, flow).unwrap_or(decision)
}

/// Decides on an own end that a task asks for. Where the kernel is to choose the port it passes, since that is how clients
/// bind; whoever listens then is asked again.
#[inline(always)]
pub fn bind(address: Address, port: u16, protocol: u32) -> i32 {
    if port == 0 {
        return 0;
    }
    let Some(subject) = governed() else { return 0 };
    settle(&subject, &Flow::new(scope::BIND, address, port, protocol), Hook::Bind)
}

/// Decides whether a socket may be listened on.
#[inline(always)]
pub fn listen(socket: Socket) -> i32 {
    let sock = socket.sock();
    if !may_be_inet(sock) {
        return 0;
    }
    let Some(subject) = governed() else { return 0 };
    let Some(sock) = sock else { return refuse(&subject, Hook::Listen, 0) };
    if !is_own(&subject, sock) {
        return refuse(&subject, Hook::Listen, FOREIGN_SOCKET);
    }
    settle(&subject, &Flow::new(scope::BIND, sock.address(), sock.port(), sock.protocol()), Hook::Listen)
}

/// Decides whether connections may be taken from a socket. Who may connect was decided when the peer asked for it, for the
/// socket's own workload; a socket of another one was never asked for.
#[inline(always)]
pub fn accept(socket: Socket) -> i32 {
    let sock = socket.sock();
    if !may_be_inet(sock) {
        return 0;
    }
    let Some(subject) = governed() else { return 0 };
    if sock.is_some_and(|sock| is_own(&subject, sock)) {
        return 0;
    }
    refuse(&subject, Hook::Accept, FOREIGN_SOCKET)
}

/// Decides on a peer that wants to connect. No task acts here, so the socket's cgroup says whose it is.
#[inline(always)]
pub fn incoming(sock: Sock, request: Request) -> i32 {
    let Some(cgroup) = sock.cgroup().id() else { return 0 };
    let Some(subject) = subject_of(cgroup) else { return 0 };
    if !has_rules(&subject) {
        return 0;
    }
    count(Stat::NetworkChecked);
    let flow = Flow::new(scope::INGRESS, request.peer(), sock.port(), sock.protocol());
    let decision = standing(&subject).unwrap_or_else(|| decide(subject.state, &flow));
    let report = Report { packet_of: Some(cgroup), peer: peer(&flow), ..Report::new(&subject, decision, Hook::Accept) };
    if matches!(decision.verdict, Verdict::Allow) || may_report_peer() {
        return conclude(&report);
    }
    emit::unreported(&report)
}

/// Decides whether a socket may be made.
#[inline(always)]
pub fn create(family: u32, kind: u32, protocol: u32) -> i32 {
    let Some(subject) = governed() else { return 0 };
    let decision = standing(&subject).unwrap_or_else(|| decide_socket(subject.state, family, kind, protocol));
    let operand = u64::from(family) << 32 | u64::from(kind & 0xff) << 24 | u64::from(protocol & 0x00ff_ffff);
    conclude(&Report { operand, ..Report::new(&subject, decision, Hook::Socket) })
}

/// Refuses options by which a sender chooses the way, and so the machine that gets the packet first.
#[inline(always)]
pub fn set_option(socket: Socket, level: u32, name: u32) -> i32 {
    if !is_route(level, name) || !may_be_inet(socket.sock()) {
        return 0;
    }
    let Some(subject) = governed() else { return 0 };
    refuse(&subject, Hook::Send, SOURCE_ROUTE)
}

/// The same for options that come with what is sent.
#[inline(always)]
pub fn send(socket: Socket, message: Message) -> i32 {
    let (control, length) = message.control();
    if length < CONTROL_HEADER || !may_be_inet(socket.sock()) {
        return 0;
    }
    let Some(subject) = governed() else { return 0 };
    let mut offset = 0;
    for _ in 0..MAX_CONTROL {
        let Some(header) = control.header(offset) else { break };
        if is_route(header.level, header.kind) {
            break;
        }
        // What the kernel will not take for a control message, it does not look behind.
        let size = header.length as usize;
        if size < CONTROL_HEADER || size > length {
            return 0;
        }
        offset += (size + 7) & !7;
        if offset > length || length - offset < CONTROL_HEADER {
            return 0;
        }
    }
    refuse(&subject, Hook::Send, SOURCE_ROUTE)
}

/// Whether addresses and ports are IP's; what cannot be told counts as if they were.
#[inline(always)]
fn may_be_inet(sock: Option<Sock>) -> bool {
    sock.is_none_or(Sock::is_inet)
}

/// `IP_OPTIONS` and `IP_RETOPTS`; `IPV6_RTHDR`, `IPV6_2292RTHDR` and `IPV6_2292PKTOPTIONS`.
#[inline(always)]
fn is_route(level: u32, name: u32) -> bool {
    matches!((level, name), (IP, 4 | 7) | (IPV6, 57 | 5 | 6))
}

/// The current task's workload, if network rules are for it.
#[inline(always)]
fn governed() -> Option<Subject> {
    let subject = subject()?;
    if !has_rules(&subject) {
        return None;
    }
    count(Stat::NetworkChecked);
    Some(subject)
}

/// A label whose workload is gone says nothing of its rules, so it counts as if it had some.
#[inline(always)]
fn has_rules(subject: &Subject) -> bool {
    subject.state & state::NETWORK_RULES != 0 || matches!(subject.standing, Standing::Stale)
}

/// What the task's own standing settles.
#[inline(always)]
fn standing(subject: &Subject) -> Option<Decision> {
    let rule = u32::from(NO_RULE);
    match subject.standing {
        Standing::Member => None,
        Standing::Unlabelled => Some(Decision { verdict: deviation(subject.state), reason: Reason::Unlabelled, rule }),
        Standing::Stale => {
            count(Stat::StaleLabel);
            Some(Decision { verdict: Verdict::Deny, reason: Reason::StaleLabel, rule })
        }
    }
}

/// Whether the socket was made in the workload: connections that come in are checked by its cgroup.
#[inline(always)]
fn is_own(subject: &Subject, sock: Sock) -> bool {
    let Some(cgroup) = sock.cgroup().id() else { return false };
    // SAFETY: the value is compared at once, and cgroup ids are never reused.
    unsafe { CGROUPS.get(cgroup) }.is_some_and(|label| *label == subject.label)
}

#[inline(always)]
fn settle(subject: &Subject, flow: &Flow, hook: Hook) -> i32 {
    let decision = standing(subject).unwrap_or_else(|| decide(subject.state, flow));
    conclude(&Report { peer: peer(flow), ..Report::new(subject, decision, hook) })
}

#[inline(always)]
fn refuse(subject: &Subject, hook: Hook, operand: u64) -> i32 {
    let decision = standing(subject).unwrap_or_else(|| denied(subject.state, NO_RULE));
    conclude(&Report { operand, ..Report::new(subject, decision, hook) })
}

#[inline(always)]
fn conclude(report: &Report<'_>) -> i32 {
    emit::conclude(report, Stat::NetworkDenied, Stat::NetworkAudited)
}

#[inline(always)]
fn peer(flow: &Flow) -> Peer {
    Peer { address: flow.address, port: u32::from(flow.port), protocol: flow.protocol }
}
