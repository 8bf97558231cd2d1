//! Network rules.

use expect_test::expect;
use plimsoll_policy::{Limits, parse};

use super::{HEAD, check_spec};

/// Checks `spec.network` with one more line.
fn network(line: &str) -> String {
    format!("  selector: {{namespace: shop}}\n  mode: Enforce\n  network:\n    {line}\n")
}

#[test]
fn an_empty_network_rule() {
    check_spec(
        &network("egress: [{}]"),
        &expect![[r#"
        policy.yaml:9:14: error: an empty rule
          9 |     egress: [{}]
            |              ^
          help: name a `cidr`, or `ports`; to allow every address, write `cidr: 0.0.0.0/0` and `cidr: "::/0"`"#]],
    );
}

#[test]
fn an_address_without_a_length() {
    check_spec(
        &network("egress: [{cidr: 10.0.0.1}]"),
        &expect![[r#"
        policy.yaml:9:21: error: `10.0.0.1` is not a CIDR: an address without the length of its prefix
          9 |     egress: [{cidr: 10.0.0.1}]
            |                     ^^^^^^^^
          help: write `10.0.0.1/32` for one address"#]],
    );
}

#[test]
fn an_ipv6_address_without_a_length() {
    check_spec(
        &network(r#"egress: [{cidr: "2001:db8::1"}]"#),
        &expect![[r#"
        policy.yaml:9:21: error: `2001:db8::1` is not a CIDR: an address without the length of its prefix
          9 |     egress: [{cidr: "2001:db8::1"}]
            |                     ^^^^^^^^^^^^^
          help: write `2001:db8::1/128` for one address"#]],
    );
}

#[test]
fn a_cidr_with_host_bits() {
    check_spec(
        &network("egress: [{cidr: 10.1.2.3/16}]"),
        &expect![[r#"
        policy.yaml:9:21: error: `10.1.2.3/16` is not a CIDR: bits after the prefix are set
          9 |     egress: [{cidr: 10.1.2.3/16}]
            |                     ^^^^^^^^^^^
          help: write `10.1.0.0/16` for the network"#]],
    );
}

#[test]
fn a_cidr_in_mapped_spelling() {
    check_spec(
        &network(r#"egress: [{cidr: "::ffff:10.0.0.0/104"}]"#),
        &expect![[r#"
        policy.yaml:9:21: error: `::ffff:10.0.0.0/104` is not a CIDR: an IPv4 address written as IPv6
          9 |     egress: [{cidr: "::ffff:10.0.0.0/104"}]
            |                     ^^^^^^^^^^^^^^^^^^^^^
          help: write it as IPv4; it means both spellings"#]],
    );
}

#[test]
fn a_cidr_that_is_a_name() {
    check_spec(
        &network("ingress: [{cidr: example.com}]"),
        &expect![[r#"
        policy.yaml:9:22: error: `example.com` is not a CIDR: not an address
          9 |     ingress: [{cidr: example.com}]
            |                      ^^^^^^^^^^^
          help: write for example `10.0.0.0/8` or `2001:db8::/32`"#]],
    );
}

#[test]
fn a_rule_by_dns_name_without_resolver() {
    check_spec(
        &network("egress: [{dns: api.example.com, ports: [443]}]"),
        &expect![[r#"
        policy.yaml:9:14: error: a rule by name, and no resolver whose answers count
          9 |     egress: [{dns: api.example.com, ports: [443]}]
            |              ^
          help: write `resolvers: [ADDRESS]` into `spec.network`: the resolver that is in the workload's /etc/resolv.conf"#]],
    );
}

#[test]
fn a_rule_by_dns_name_and_address() {
    check_spec(
        &network("{resolvers: [10.0.0.1], egress: [{dns: api.example.com, cidr: 10.0.0.0/8}]}"),
        &expect![[r#"
            policy.yaml:9:39: error: `cidr` and `dns` in one rule
              9 |     {resolvers: [10.0.0.1], egress: [{dns: api.example.com, cidr: 10.0.0.0/8}]}
                |                                       ^^^
              help: write two entries; what one of them allows is allowed"#]],
    );
}

#[test]
fn names_that_are_none() {
    for (name, expected) in [
        (
            "10.0.0.1",
            expect![[r#"
            policy.yaml:9:44: error: `10.0.0.1` is not a rule's name: it is an address
              9 |     {resolvers: [10.0.0.1], egress: [{dns: 10.0.0.1}]}
                |                                            ^^^^^^^^
              help: write `cidr` for an address or a network"#]],
        ),
        (
            "\"*\"",
            expect![[r#"
            policy.yaml:9:44: error: `*` is not a rule's name: it is every name there is
              9 |     {resolvers: [10.0.0.1], egress: [{dns: "*"}]}
                |                                            ^^^
              help: name a domain; to allow every address, write `cidr: 0.0.0.0/0` and `cidr: "::/0"`"#]],
        ),
        (
            "api.*.example",
            expect![[r#"
            policy.yaml:9:44: error: `api.*.example` is not a rule's name: a `*` may only stand for the first labels
              9 |     {resolvers: [10.0.0.1], egress: [{dns: api.*.example}]}
                |                                            ^^^^^^^^^^^^^
              help: write `*.example.com` for every name below `example.com`"#]],
        ),
        (
            "API.example.com.",
            expect![[r#"
            policy.yaml:9:44: error: `API.example.com.` is not a rule's name: names are written in lower case, without a dot at their end
              9 |     {resolvers: [10.0.0.1], egress: [{dns: API.example.com.}]}
                |                                            ^^^^^^^^^^^^^^^^
              help: write `api.example.com`"#]],
        ),
        (
            "https://api.example.com",
            expect![[r#"
            policy.yaml:9:44: error: `https://api.example.com` is not a rule's name: not a name
              9 |     {resolvers: [10.0.0.1], egress: [{dns: https://api.example.com}]}
                |                                            ^^^^^^^^^^^^^^^^^^^^^^^
              help: write for example `api.example.com`: letters, digits, `-` and `_`, up to 63 of them between dots"#]],
        ),
    ] {
        check_spec(&network(&format!("{{resolvers: [10.0.0.1], egress: [{{dns: {name}}}]}}")), &expected);
    }
}

#[test]
fn resolvers_that_are_none() {
    for (resolver, expected) in [
        (
            "127.0.0.53",
            expect![[r#"
            policy.yaml:9:17: error: `127.0.0.53` is the workload itself
              9 |     resolvers: [127.0.0.53]
                |                 ^^^^^^^^^^
              help: name one that the workload asks elsewhere: on its own loopback it could answer itself"#]],
        ),
        (
            "dns.example",
            expect![[r#"
            policy.yaml:9:17: error: `dns.example` is not an address
              9 |     resolvers: [dns.example]
                |                 ^^^^^^^^^^^
              help: write for example `10.96.0.10`"#]],
        ),
        (
            "[1]",
            expect![[r#"
            policy.yaml:9:17: error: an entry of `resolvers` must be an address, found a list
              9 |     resolvers: [[1]]
                |                 ^
              help: write an address here, without `- ` or `[ ]`"#]],
        ),
    ] {
        check_spec(&network(&format!("resolvers: [{resolver}]")), &expected);
    }
}

#[test]
fn a_dns_name_for_ingress() {
    check_spec(
        &network("ingress: [{dns: api.example.com}]"),
        &expect![[r#"
        policy.yaml:9:16: error: unknown field `dns` in an entry of `spec.network.ingress`
          9 |     ingress: [{dns: api.example.com}]
            |                ^^^
          help: `dns` belongs in an entry of `spec.network.egress`; check the indentation"#]],
    );
}

#[test]
fn port_zero() {
    check_spec(
        &network("bind: [{ports: [0]}]"),
        &expect![[r#"
        policy.yaml:9:21: error: `0` is not a port
          9 |     bind: [{ports: [0]}]
            |                     ^
          help: write a port from 1 to 65535, or a range in quotes, as `"8000-8100"`"#]],
    );
}

#[test]
fn a_port_that_is_too_large() {
    check_spec(
        &network("bind: [{ports: [65536]}]"),
        &expect![[r#"
        policy.yaml:9:21: error: `65536` is not a port
          9 |     bind: [{ports: [65536]}]
            |                     ^^^^^
          help: write a port from 1 to 65535, or a range in quotes, as `"8000-8100"`"#]],
    );
}

#[test]
fn a_range_that_ends_before_it_begins() {
    check_spec(
        &network(r#"bind: [{ports: ["9000-8000"]}]"#),
        &expect![[r#"
        policy.yaml:9:21: error: `9000-8000` ends before it begins
          9 |     bind: [{ports: ["9000-8000"]}]
            |                     ^^^^^^^^^^^
          help: write `"8000-9000"`"#]],
    );
}

#[test]
fn ports_that_are_no_list() {
    check_spec(
        &network("bind: [{ports: 80}]"),
        &expect![[r#"
        policy.yaml:9:20: error: `ports` must be a list, found the number `80`
          9 |     bind: [{ports: 80}]
            |                    ^^
          help: write each entry on its own line, after `- `"#]],
    );
}

#[test]
fn no_ports() {
    check_spec(
        &network("bind: [{ports: []}]"),
        &expect![[r#"
        policy.yaml:9:13: error: `ports` is empty
          9 |     bind: [{ports: []}]
            |             ^^^^^
          help: name a port, or remove the field for all ports"#]],
    );
}

#[test]
fn too_many_ports() {
    check_spec(
        &network("bind: [{ports: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]}]"),
        &expect![[r#"
            policy.yaml:9:13: error: `ports` has 17 entries, the limit is 16
              9 |     bind: [{ports: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]}]
                |             ^^^^^
              help: write ranges, as `"8000-8100"`"#]],
    );
}

#[test]
fn a_protocol_in_lower_case() {
    check_spec(
        &network("egress: [{cidr: 10.0.0.0/8, protocol: tcp}]"),
        &expect![[r#"
        policy.yaml:9:43: error: `protocol` cannot be `tcp`
          9 |     egress: [{cidr: 10.0.0.0/8, protocol: tcp}]
            |                                           ^^^
          help: did you mean `TCP`?"#]],
    );
}

#[test]
fn a_rule_for_sctp() {
    check_spec(
        &network("egress: [{cidr: 10.0.0.0/8, protocol: SCTP}]"),
        &expect![[r#"
        policy.yaml:9:43: error: rules know TCP and UDP only
          9 |     egress: [{cidr: 10.0.0.0/8, protocol: SCTP}]
            |                                           ^^^^
          help: SCTP's addresses are not checked; where all of it may be used, write `sockets: [sctp]`"#]],
    );
}

#[test]
fn ingress_of_datagrams() {
    check_spec(
        &network("ingress: [{ports: [53], protocol: UDP}]"),
        &expect![[r#"
        policy.yaml:9:39: error: `ingress` is about connections, and UDP has none
          9 |     ingress: [{ports: [53], protocol: UDP}]
            |                                       ^^^
          help: remove the rule; who may receive datagrams is said by `bind`"#]],
    );
}

#[test]
fn a_socket_kind_that_does_not_exist() {
    check_spec(
        &network("sockets: [raw, paket]"),
        &expect![[r#"
        policy.yaml:9:20: error: `sockets` cannot be `paket`
          9 |     sockets: [raw, paket]
            |                    ^^^^^
          help: did you mean `packet`?"#]],
    );
}

#[test]
fn a_socket_kind_that_is_a_list() {
    check_spec(
        &network("sockets: [[raw]]"),
        &expect![[r#"
        policy.yaml:9:15: error: `sockets` must be a string, found a list
          9 |     sockets: [[raw]]
            |               ^
          help: write a string here, without `- ` or `[ ]`"#]],
    );
}

#[test]
fn a_field_of_network_that_is_misspelt() {
    check_spec(
        &network("egres: []"),
        &expect![[r#"
        policy.yaml:9:5: error: unknown field `egres` in `spec.network`
          9 |     egres: []
            |     ^^^^^
          help: did you mean `egress`?"#]],
    );
}

#[test]
fn loopback_that_is_a_boolean() {
    check_spec(
        &network("loopback: true"),
        &expect![[r#"
        policy.yaml:9:15: error: `loopback` cannot be `true`
          9 |     loopback: true
            |               ^^^^
          help: write `Allow` or `Deny`"#]],
    );
}

#[test]
fn an_address_under_bind() {
    check_spec(
        &network("bind: [{address: 10.0.0.1, ports: [80]}]"),
        &expect![[r#"
        policy.yaml:9:13: error: unknown field `address` in an entry of `spec.network.bind`
          9 |     bind: [{address: 10.0.0.1, ports: [80]}]
            |             ^^^^^^^
          help: an entry of `spec.network.bind` has `cidr`, `ports`, `protocol`"#]],
    );
}

#[test]
fn more_ranges_than_a_prefix_may_have() {
    let entry = |start: u16| {
        let ports: Vec<String> = (0..16).map(|step| (start + step * 2).to_string()).collect();
        format!("\n      - {{cidr: 10.0.0.0/8, ports: [{}]}}", ports.join(", "))
    };
    let lines = format!("egress:{}{}{}", entry(1000), entry(2000), entry(3000));
    check_spec(
        &network(&lines),
        &expect![[r#"
        policy.yaml:12:9: error: this rule and those around its addresses come to more than 32 ranges of ports
          12 |       - {cidr: 10.0.0.0/8, ports: [3000, 3002, 3004, 3006, 3008, 3010, 3012, 3014, 3016, 3018, 3020, 3022, 3024, 3026, 3
             |         ^
          help: merge neighbouring ports into ranges, or allow all ports of the addresses"#]],
    );
}

#[test]
fn more_rules_than_a_list_may_have() {
    let line = format!("egress:{}", "\n      - {cidr: 10.0.0.0/8}".repeat(501));
    check_spec(
        &network(&line),
        &expect![[r#"
        policy.yaml:9:5: error: `egress` has 501 entries, the limit is 500
          9 |     egress:
            |     ^^^^^^
          help: name larger networks, or put several `ports` into one entry"#]],
    );
}

#[test]
fn a_network_without_rules_is_right() {
    let text = format!("{HEAD}{}", network("{}"));
    assert!(parse("policy.yaml", text.as_bytes(), &Limits::default()).unwrap().network.is_some());
}
