//! The kernel's `decide()` behind a program type that can be run on demand, on any kernel, without attaching it.
#![no_std]
#![no_main]
#![expect(clippy::needless_pass_by_value, reason = "the macros hand contexts over by value")]

use aya_ebpf::{helpers::bpf_get_prandom_u32, macros::xdp, programs::XdpContext};
use plimsoll_abi::{Operation, access};
use plimsoll_agent_ebpf::{
    decide::{Decision, Object, Origin, decide},
    hardening::{decide_capability, decide_injection, decide_operation},
    kernel::socket::Address,
    network::decide::{Flow, decide as decide_network, decide_socket},
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

fn packed(decision: Decision) -> u32 {
    (decision.verdict as u32) | ((decision.reason as u32) << 8) | ((decision.rule & 0xffff) << 16)
}

fn code(case: &Case) -> Decision {
    let object = Object { origin: origin(case.origin), modified: case.modified != 0, dev: case.dev, ino: case.ino };
    decide(case.state, &object, case.access)
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
