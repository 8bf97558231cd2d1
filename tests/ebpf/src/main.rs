//! The kernel's `decide()` behind a program type that can be run on demand, on any kernel, without attaching it.
#![no_std]
#![no_main]
#![expect(clippy::cast_possible_truncation, reason = "parts of words that were packed from as much")]
#![expect(clippy::needless_pass_by_value, reason = "the macros hand contexts over by value")]

use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_get_prandom_u32, generated::bpf_xdp_load_bytes},
    macros::xdp,
    programs::XdpContext,
};
use plimsoll_abi::{Label, MAX_DEPTH, Operation, PathKey, access};
use plimsoll_agent_ebpf::{
    decide::{Decision, Object, Origin, decide},
    hardening::{decide_capability, decide_injection, decide_operation},
    kernel::{packet::last_of, socket::Address},
    network::{
        decide::{Flow, decide as decide_network, decide_socket},
        names,
    },
    rules::{Denied, Judged, Lookup, link, rename},
};

/// What one run is given as its packet. The same layout stands in `plimsoll-tests-decide`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Case {
    state: u64,
    ino: u64,
    dev: u32,
    access: u32,
    origin: u32,
    modified: u32,
    kind: u32,
    operand: u32,
}

/// Returns verdict, reason and rule of the case in the packet, one byte each and two for the rule.
#[xdp]
fn decide_case(ctx: XdpContext) -> u32 {
    let Some(case) = case::<Case>(&ctx) else { return u32::MAX };
    let decision = match case.kind {
        0 => code(&case),
        1 => decide_injection(case.state),
        2 => match Operation::try_from(case.operand) {
            Ok(operation) => decide_operation(case.state, operation),
            Err(_) => return u32::MAX,
        },
        _ => decide_capability(case.state, case.operand),
    };
    packed(decision)
}

/// What one run on network rules is given. The same layout stands in `plimsoll-tests-decide`.
#[repr(C)]
#[derive(Clone, Copy)]
struct NetworkCase {
    state: u64,
    /// One of `plimsoll_abi::network::scope`, or [`MAKING`].
    scope: u32,
    /// `AF_*`
    family: u32,
    /// As memory has it; what is IPv4 is in the first word alone.
    address: [u32; 4],
    port: u32,
    protocol: u32,
    /// `SOCK_*`
    kind: u32,
    reserved: u32,
}

/// The case is about making a socket.
const MAKING: u32 = 100;
const INET: u32 = 2;

/// Returns verdict, reason and rule of a case about the network, as [`decide_case`] does.
#[xdp]
fn network_case(ctx: XdpContext) -> u32 {
    let Some(case) = case::<NetworkCase>(&ctx) else { return u32::MAX };
    packed(network_decision(&case))
}

#[inline]
fn network_decision(case: &NetworkCase) -> Decision {
    if case.scope == MAKING {
        return decide_socket(case.state, case.family, case.kind, case.protocol);
    }
    let address = if case.family == INET { Address::V4(case.address[0]) } else { Address::V6(case.address) };
    decide_network(case.state, &Flow::new(case.scope, address, u16::try_from(case.port).unwrap_or(0), case.protocol))
}

/// What a run on a resolver's answer is given, before the answer itself.
#[repr(C)]
#[derive(Clone, Copy)]
struct AnswerCase {
    state: u64,
    slot: u32,
    length: u32,
}

/// Returns 1 for an answer that was read to its end, 0 for others.
#[xdp]
fn answer_case(ctx: XdpContext) -> u32 {
    let (Some(case), Some(answer)) = (case::<AnswerCase>(&ctx), names::answer()) else { return u32::MAX };
    let last = last_of(case.length);
    if last >= names::MESSAGE as u64 {
        return u32::MAX;
    }
    let length = last as u32 + 1;
    let to = answer.message.as_mut_ptr().cast();
    // SAFETY: the context is the program's own, and the buffer has as many bytes.
    let copied = unsafe { bpf_xdp_load_bytes(ctx.as_ptr().cast(), size_of::<AnswerCase>() as u32, to, length) };
    if copied != 0 {
        return u32::MAX;
    }
    u32::from(names::read(length, case.state, Label { slot: case.slot, incarnation: 1 }))
}

fn packed(decision: Decision) -> u32 {
    (decision.verdict as u32) | ((decision.reason as u32) << 8) | ((decision.rule & 0xffff) << 16)
}

fn code(case: &Case) -> Decision {
    let object = Object { origin: origin(case.origin), modified: case.modified != 0, dev: case.dev, ino: case.ino };
    decide(case.state, &object, case.access)
}

/// What a run on file rules is given: two paths by the hashes of their components, the last ones first.
#[repr(C)]
#[derive(Clone, Copy)]
struct FileCase {
    key: PathKey,
    list: u32,
    /// 0: one name. 1: a second name. 2: a change of name, 3: with something replaced, 4: an exchange.
    kind: u32,
    asked: u32,
    reserved: u32,
    old: Name,
    new: Name,
}

/// A path by the hashes of its components.
#[repr(C)]
#[derive(Clone, Copy)]
struct Name {
    depth: u64,
    components: [u64; MAX_DEPTH],
}

/// Returns 1 if all that is asked is allowed, 2 if some rule denies some of it; 0 if the list is not there.
#[xdp]
fn judge_one(ctx: XdpContext) -> u32 {
    let Some(case) = file_case(&ctx) else { return u32::MAX };
    match unpack(judged(case, false)) {
        Some(judged) => 1 + u32::from(u32::from(judged.denied) & case.asked != 0),
        None => 0,
    }
}

/// Returns 1 if an operation on two names is allowed, 2 if the old name is why not, 3 if the new one is; 0 without a list.
#[xdp]
fn judge_two(ctx: XdpContext) -> u32 {
    let Some(case) = file_case(&ctx) else { return u32::MAX };
    let (links, replaces, exchanges) = (case.kind == 1, case.kind == 3, case.kind == 4);
    let (Some(from), Some(to)) = (unpack(judged(case, false)), unpack(judged(case, true))) else { return 0 };
    match if links { link(&from, &to) } else { rename(&from, &to, replaces, exchanges) } {
        Denied::Neither => 1,
        Denied::Old => 2,
        Denied::New => 3,
    }
}

/// What rules say of one of the case's names, in one word, with bit 63 set; 0 without a list. A function of its own, for the
/// stack it needs.
#[inline(never)]
fn judged(case: &FileCase, new: bool) -> u64 {
    let name = if new { &case.new } else { &case.old };
    let key = case.key;
    let mut lookup = Lookup::new(&key, case.list, case.asked as u16);
    for (to, from) in lookup.components.iter_mut().zip(&name.components) {
        *to = *from;
    }
    lookup.depth = name.depth;
    match lookup.judge() {
        Some(judged) => 1 << 63 | u64::from(judged.denied) | u64::from(judged.leads) << 32,
        None => 0,
    }
}

fn unpack(word: u64) -> Option<Judged> {
    (word != 0).then_some(Judged { denied: word as u16, rule: 0, leads: (word >> 32) as u32 & 1 })
}

/// The case in the packet, if all of it is there.
fn file_case(ctx: &XdpContext) -> Option<&FileCase> {
    let (start, end) = (ctx.data(), ctx.data_end());
    if start + size_of::<FileCase>() > end {
        return None;
    }
    // SAFETY: the packet has at least this many bytes, checked above, and is there as long as its context; every bit
    // pattern is a `FileCase`, and packets are aligned well enough for the kernel's own loads.
    Some(unsafe { &*(start as *const FileCase) })
}

/// Decides on a random inode below the case's `ino`, as a cache would meet it on a busy node.
#[xdp]
fn decide_random(ctx: XdpContext) -> u32 {
    let Some(case) = case::<Case>(&ctx) else { return u32::MAX };
    let object = Object { origin: Origin::Lower, modified: false, dev: case.dev, ino: random_below(case.ino) };
    decide(case.state, &object, access::EXEC).verdict as u32
}

/// All of `decide_random` but the decision.
#[xdp]
fn baseline(ctx: XdpContext) -> u32 {
    let Some(case) = case::<Case>(&ctx) else { return u32::MAX };
    u32::from(random_below(case.ino) == 1)
}

fn random_below(bound: u64) -> u64 {
    // SAFETY: the helper has no preconditions.
    let random = u64::from(unsafe { bpf_get_prandom_u32() });
    (random * bound) >> 32
}

#[inline]
fn case<T: Copy>(ctx: &XdpContext) -> Option<T> {
    let (start, end) = (ctx.data(), ctx.data_end());
    if start + size_of::<T>() > end {
        return None;
    }
    // SAFETY: the packet has at least this many bytes, checked above, and every bit pattern is a case of either kind.
    Some(unsafe { core::ptr::read_unaligned(start as *const T) })
}

fn origin(code: u32) -> Origin {
    match code {
        0 => Origin::Lower,
        1 => Origin::Written,
        2 => Origin::Foreign,
        3 => Origin::Anonymous,
        _ => Origin::Unreadable,
    }
}

/// A reachable panic is an endless loop, which the verifier rejects: none can be loaded.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Helpers marked GPL-only need this declaration.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
