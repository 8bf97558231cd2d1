//! Operations and capabilities.

use plimsoll_abi::{Operation, Reason, Verdict, state};
use plimsoll_policy::{Access, Capabilities, Hardening, evaluate};

use super::{compiled, policy};

const ENFORCED: &str = "  mode: Enforce\n";

fn hardening(lines: &str) -> Hardening {
    policy(&format!("{ENFORCED}  hardening:\n{lines}")).hardening
}

#[test]
fn a_policy_that_says_nothing_forbids_what_lets_code_in() {
    let silent = policy(ENFORCED).hardening;
    let names: Vec<_> = silent.forbidden.operations().map(Operation::name).collect();
    assert_eq!(names, ["trace", "bpf", "perf-event", "kernel-code", "kernel-file"]);
    assert_eq!(silent.capabilities, None);
    assert_eq!(hardening("    chroot: Allow\n"), silent);
}

#[test]
fn every_operation_can_be_allowed_and_denied() {
    const NAMES: [&str; 14] = [
        "ptrace",
        "bpf",
        "perfEvent",
        "kernelCode",
        "mount",
        "userNamespace",
        "setns",
        "keyring",
        "ioUring",
        "kernelLog",
        "clock",
        "deviceFile",
        "chroot",
        "kernelFiles",
    ];
    assert_eq!(NAMES.len(), Operation::ALL.len());
    let all = |word: &str| NAMES.map(|name| format!("    {name}: {word}\n")).concat();
    assert_eq!(hardening(&all("Deny")).forbidden.operations().count(), NAMES.len());
    assert_eq!(hardening(&all("Allow")).forbidden.operations().count(), 0);
}

#[test]
fn the_state_says_what_is_forbidden() {
    let text = format!("{ENFORCED}  hardening: {{ptrace: Allow, mount: Deny, capabilities: []}}\n");
    let bits = compiled(&text, Vec::new()).state(7);
    assert_eq!(state::allowlist(bits), 7);
    assert_eq!(bits & state::forbidden(Operation::Trace), 0);
    assert_ne!(bits & state::forbidden(Operation::Mount), 0);
    assert_ne!(bits & state::CAPABILITIES, 0);
    assert_eq!(compiled(ENFORCED, Vec::new()).state(7) & state::CAPABILITIES, 0);
}

#[test]
fn capabilities_go_without_rings() {
    assert!(hardening("    capabilities: []\n").forbidden.has(Operation::IoUring));
    assert!(!hardening("    mount: Deny\n").forbidden.has(Operation::IoUring));
}

#[test]
fn capabilities_are_those_of_the_kernel() {
    let set = hardening("    capabilities: [CAP_CHOWN, CAP_SYS_ADMIN, CAP_CHECKPOINT_RESTORE]\n").capabilities;
    assert_eq!(set.unwrap().bits(), 1 | 1 << 21 | 1 << 40);
    assert_eq!(Capabilities::name(10), "CAP_NET_BIND_SERVICE");
    assert_eq!(Capabilities::name(63), "63");
    assert_eq!(Capabilities::name(u64::MAX), u64::MAX.to_string());
}

#[test]
fn decisions_follow_the_mode() {
    let lines = "  hardening: {mount: Deny, capabilities: [CAP_CHOWN]}\n";
    for (mode, forbidden) in [("Enforce", Verdict::Deny), ("Monitor", Verdict::Audit)] {
        let policy = compiled(&format!("  mode: {mode}\n{lines}"), Vec::new());
        for (access, reason) in [
            (Access::Operation(Operation::Mount), Reason::Forbidden),
            (Access::Operation(Operation::Chroot), Reason::Listed),
            (Access::Inject, Reason::InjectedCode),
            (Access::Capability(0), Reason::Listed),
            (Access::Capability(21), Reason::Forbidden),
            (Access::Capability(63), Reason::Forbidden),
        ] {
            let verdict = if reason == Reason::Listed { Verdict::Allow } else { forbidden };
            assert_eq!(evaluate(&policy, &access), (verdict, reason), "{access:?} in {mode}");
        }
    }
    let free = compiled("  mode: Enforce\n  hardening: {ptrace: Allow}\n", Vec::new());
    assert_eq!(evaluate(&free, &Access::Inject).0, Verdict::Allow);
    assert_eq!(evaluate(&free, &Access::Capability(21)).0, Verdict::Allow);
}
