//! Network rules: what they mean, and that the prefixes made from them say the same.
#![cfg(test)]

use std::net::IpAddr;

use plimsoll_abi::{
    Reason, Verdict,
    network::{MAX_PORT_RANGES, protocol},
};
use plimsoll_policy::{
    Cidr, CompiledPolicy, Direction, Limits, Network, NetworkAccess, compile, evaluate_network, parse,
};
use plimsoll_sbom::{Coverage, Inventory, Sha256};
use proptest::{collection::vec, prelude::*, sample::select};

/// A policy whose `spec.network` continues with `rest`.
fn compiled(rest: &str) -> CompiledPolicy {
    let text = format!(
        "apiVersion: plimsoll.dev/v1alpha1\nkind: EnforcementPolicy\nmetadata: {{name: shop}}\n\
         spec:\n  selector: {{namespace: shop}}\n  mode: Enforce\n{rest}"
    );
    let policy =
        parse("policy.yaml", text.as_bytes(), &Limits::default()).unwrap_or_else(|problems| panic!("{problems}"));
    let nothing = Inventory {
        files: Vec::new(),
        missing: Vec::new(),
        coverage: Coverage::default(),
        sbom_digest: Sha256::of(b"sbom"),
    };
    compile(&policy, &nothing).unwrap()
}

fn allows(policy: &CompiledPolicy, direction: Direction, address: &str, port: u16, protocol: u32) -> bool {
    let access = NetworkAccess::Address { direction, address: address.parse().unwrap(), port, protocol };
    evaluate_network(policy, &access).0 == Verdict::Allow
}

const TCP: u32 = 6;
const UDP: u32 = 17;

#[test]
fn without_rules_nothing_is_restricted() {
    let policy = compiled("");
    assert!(policy.network.is_none());
    assert!(allows(&policy, Direction::Egress, "192.0.2.1", 1, TCP));
    assert_eq!(policy.state(1) & plimsoll_abi::state::NETWORK_RULES, 0);
}

#[test]
fn an_empty_network_denies_all_but_loopback() {
    let policy = compiled("  network: {}\n");
    assert_ne!(policy.state(1) & plimsoll_abi::state::NETWORK_RULES, 0);
    for address in ["192.0.2.1", "2001:db8::1", "10.0.0.1"] {
        assert!(!allows(&policy, Direction::Egress, address, 443, TCP), "{address}");
    }
    for address in ["127.0.0.1", "127.255.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::"] {
        assert!(allows(&policy, Direction::Egress, address, 443, UDP), "{address}");
    }
    // To be bound to all addresses is not to be bound to loopback.
    assert!(!allows(&policy, Direction::Bind, "0.0.0.0", 80, TCP));
}

#[test]
fn denied_loopback_needs_rules() {
    let policy = compiled("  network: {loopback: Deny, egress: [{cidr: 127.0.0.1/32, ports: [80]}]}\n");
    assert!(allows(&policy, Direction::Egress, "0.0.0.0", 80, TCP));
    assert!(!allows(&policy, Direction::Egress, "127.0.0.1", 81, TCP));
    assert!(!allows(&policy, Direction::Egress, "::1", 80, TCP));
}

#[test]
fn every_ipv6_address_is_no_ipv4_address() {
    let policy = compiled("  network: {egress: [{cidr: \"::/0\"}]}\n");
    assert!(allows(&policy, Direction::Egress, "2001:db8::1", 443, TCP));
    assert!(!allows(&policy, Direction::Egress, "192.0.2.1", 443, TCP));
    assert!(!allows(&policy, Direction::Egress, "::ffff:192.0.2.1", 443, TCP));
}

#[test]
fn a_prefix_has_the_ports_of_those_around_it() {
    let policy = compiled(
        "  network:\n    egress:\n      - {cidr: 10.1.0.0/16, ports: [443], protocol: TCP}\n      \
         - {cidr: 10.0.0.0/8, ports: [53], protocol: UDP}\n",
    );
    let network = policy.network.as_ref().unwrap();
    let narrow: Cidr = "10.1.0.0/16".parse().unwrap();
    let prefix = network.prefixes.iter().find(|prefix| prefix.cidr == narrow).unwrap();
    let ranges: Vec<_> = prefix.ranges.iter().map(|range| (range.first, range.protocols, range.rule)).collect();
    assert_eq!(ranges, [(443, protocol::TCP, 0), (53, protocol::UDP, 1)]);
}

#[test]
fn an_earlier_rule_that_covers_a_later_one_saves_its_ranges() {
    let policy =
        compiled("  network:\n    bind:\n      - {ports: [\"1-1023\"]}\n      - {ports: [80], protocol: TCP}\n");
    let network = policy.network.as_ref().unwrap();
    let any = network.prefixes.iter().find(|prefix| prefix.cidr == Cidr::EVERY_IPV4).unwrap();
    assert_eq!(any.ranges.len(), 1);
}

#[test]
fn rules_read_as_events_show_them() {
    let policy = compiled(
        "  network:\n    egress:\n      - {cidr: 10.0.0.0/8, ports: [443, \"8000-8100\"], protocol: TCP}\n    \
         bind:\n      - {ports: [53], protocol: UDP}\n    ingress:\n      - {cidr: \"fd00::/8\"}\n",
    );
    let shown: Vec<_> = policy.network.unwrap().rules.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "network egress 10.0.0.0/8 ports 443, 8000-8100 TCP",
            "network bind any address ports 53 UDP",
            "network ingress fd00::/8",
            "network egress loopback",
            "network bind loopback",
            "network ingress loopback",
        ]
    );
}

#[test]
fn sockets_are_named() {
    let policy = compiled("  network: {sockets: [icmp, vsock]}\n");
    let made = |family, kind, protocol| {
        evaluate_network(&policy, &NetworkAccess::Socket { family, kind, protocol }).0 == Verdict::Allow
    };
    for (family, kind, protocol) in [(1, 1, 0), (2, 1, 0), (2, 2, 17), (10, 1, 6), (16, 3, 0), (2, 2, 1), (40, 1, 0)] {
        assert!(made(family, kind, protocol), "{family} {kind} {protocol}");
    }
    for (family, kind, protocol) in [
        (2, 3, 1),
        (2, 1, 262),
        (10, 5, 132),
        (17, 3, 768),
        (16, 3, 12),
        (38, 5, 0),
        (44, 3, 0),
        (31, 3, 1),
        (2, 2, 136),
    ] {
        assert!(!made(family, kind, protocol), "{family} {kind} {protocol}");
    }
}

/// What the kernel would find: the longest prefix, and in it the first range that matches.
fn by_prefix(network: &Network, direction: Direction, address: IpAddr, port: u16, bit: u16) -> Option<u16> {
    let host = Cidr::new(address, 128);
    let around = network.prefixes.iter().filter(|prefix| prefix.direction == direction && prefix.cidr.contains(&host));
    let longest = around.max_by_key(|prefix| prefix.cidr.key_bits())?;
    let mut ranges = longest.ranges.iter();
    ranges
        .find(|range| (range.first..=range.last).contains(&port) && range.protocols & bit != 0)
        .map(|range| range.rule)
}

fn any_rule() -> impl Strategy<Value = String> {
    let cidrs =
        vec!["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "::/0", "fd00::/8", "fd00:1::/32", "::1/128"];
    let ports = vec!["", ", ports: [80]", ", ports: [\"1-1023\", 8080]", ", ports: [443, 53, \"8000-9000\"]"];
    let protocols = vec!["", ", protocol: TCP"];
    (select(cidrs), select(ports), select(protocols))
        .prop_map(|(cidr, ports, protocol)| format!("      - {{cidr: \"{cidr}\"{ports}{protocol}}}\n"))
}

proptest! {
    #[test]
    fn prefixes_say_what_rules_say(
        rules in vec(any_rule(), 1..10),
        address in select(vec!["10.1.2.3", "10.1.9.9", "10.9.9.9", "11.1.1.1", "127.0.0.1", "::1", "fd00:1::5", "fd01::1", "2001:db8::1"]),
        port in select(vec![0_u16, 53, 80, 443, 1023, 1024, 8080, 8500, 65535]),
        stream in any::<bool>(),
        direction in select(Direction::ALL.to_vec()),
    ) {
        let list = rules.concat();
        let policy = compiled(&format!("  network:\n    egress:\n{list}    bind:\n{list}    ingress:\n{list}"));
        let network = policy.network.as_ref().unwrap();
        prop_assert!(network.prefixes.iter().all(|prefix| prefix.ranges.len() <= MAX_PORT_RANGES));
        let address: IpAddr = address.parse().unwrap();
        let access = NetworkAccess::Address { direction, address, port, protocol: if stream { TCP } else { UDP } };
        let (verdict, reason, rule) = evaluate_network(&policy, &access);
        let found = by_prefix(network, direction, address, port, if stream { protocol::TCP } else { protocol::UDP });
        prop_assert_eq!(found.map(usize::from), rule);
        prop_assert_eq!(verdict == Verdict::Allow, rule.is_some());
        prop_assert_eq!(reason, if rule.is_some() { Reason::Listed } else { Reason::NetworkRule });
    }
}
