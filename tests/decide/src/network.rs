//! The kernel's decision on network rules and the reference evaluator, case by case, under random policies.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use anyhow::Context as _;
use plimsoll_abi::{Reason, Verdict};
use plimsoll_policy::{
    CompiledPolicy, Direction, Limits, NetworkAccess, SOCKET_KINDS, compile, evaluate_network, parse,
};

use crate::{
    agree::{Random, inventory},
    program::{NetworkCase, Programs},
};

const POLICIES: u32 = 60;
/// The kernel's number for cases about making a socket, in `plimsoll-tests-ebpf`.
const MAKING: u32 = 100;
const INET: u32 = 2;
const INET6: u32 = 10;
/// Few networks and addresses, so that they meet.
const CIDRS: [&str; 14] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.0/24",
    "10.1.2.3/32",
    "127.0.0.0/8",
    "192.0.2.0/24",
    "0.0.0.0/32",
    "::/0",
    "fd00::/8",
    "fd00:1::/32",
    "fd00:1::1/128",
    "::1/128",
    "::/96",
];
const ADDRESSES: [&str; 18] = [
    "10.1.2.3",
    "10.1.2.4",
    "10.1.3.1",
    "10.2.0.1",
    "11.0.0.1",
    "127.0.0.1",
    "127.9.9.9",
    "192.0.2.77",
    "0.0.0.0",
    "255.255.255.255",
    "224.0.0.1",
    "fd00:1::1",
    "fd00:1::2",
    "fd00:2::1",
    "::1",
    "::",
    "::10.1.2.3",
    "2001:db8::1",
];
const PORTS: [&str; 9] = ["1", "53", "80", "443", "8000", "65535", "\"1-1023\"", "\"8000-8100\"", "\"50-60\""];
/// Ports that are asked for; 0 is a socket without one.
const ASKED: [u16; 12] = [0, 1, 52, 53, 54, 80, 443, 1023, 1024, 8000, 8100, 65535];
const PROTOCOLS: [u32; 9] = [6, 6, 6, 17, 17, 262, 1, 132, 136];

pub(crate) fn run(programs: &mut Programs, cases: u32, seed: u64) -> anyhow::Result<()> {
    let mut random = Random(seed.max(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut policies = Vec::new();
    for allowlist in 1..=POLICIES {
        let policy = random.policy()?;
        let network = policy.network.as_ref().context("a policy without network rules")?;
        programs.allow_network(allowlist, network)?;
        policies.push((policy, allowlist));
    }
    let mut tally = [0_u32; Verdict::ALL.len()];
    for number in 0..cases {
        let (policy, allowlist) = random.choice(&policies)?;
        let (access, case) = random.network_case(policy.state(*allowlist))?;
        let (verdict, reason, rule) = evaluate_network(policy, &access);
        let (packed, _) = programs.run("network_case", &case, 1)?;
        let actual = (Verdict::try_from(packed & 0xff)?, Reason::try_from((packed >> 8) & 0xff)?);
        let same_rule = rule.is_none_or(|rule| u32::try_from(rule) == Ok(packed >> 16));
        anyhow::ensure!(
            actual == (verdict, reason) && same_rule,
            "case {number} of seed {seed}: {access:?} under {policy:?}: the kernel says {actual:?} by {}, the evaluator {:?} by {rule:?}",
            packed >> 16,
            (verdict, reason),
        );
        if let Some(count) = tally.get_mut(packed as usize & 0xff) {
            *count += 1;
        }
    }
    anyhow::ensure!(tally.iter().all(|count| *count > 0), "some verdict never occurred: {tally:?}");
    println!("{cases} network cases agree: {} allowed, {} audited, {} denied", tally[0], tally[1], tally[2]);
    Ok(())
}

impl Random {
    fn policy(&mut self) -> anyhow::Result<CompiledPolicy> {
        let mode = self.choice(&["Enforce", "Enforce", "Monitor"])?;
        let loopback = self.choice(&["Allow", "Deny"])?;
        let mut text = format!(
            "apiVersion: plimsoll.dev/v1alpha1\nkind: EnforcementPolicy\nmetadata:\n  name: agree\nspec:\n  selector:\n    \
             namespace: x\n  mode: {mode}\n  network:\n    loopback: {loopback}\n"
        );
        for direction in Direction::ALL {
            write!(text, "    {}:", direction.name())?;
            let rules = self.next(6);
            text.push_str(if rules == 0 { " []\n" } else { "\n" });
            for _ in 0..rules {
                text.push_str(&self.rule(direction)?);
            }
        }
        let kinds: Vec<_> = SOCKET_KINDS.iter().filter(|_| self.next(4) == 0).map(|(name, _)| *name).collect();
        writeln!(text, "    sockets: [{}]", kinds.join(", "))?;
        let policy =
            parse("agree.yaml", text.as_bytes(), &Limits::default()).context("the test's own policy is wrong")?;
        Ok(compile(&policy, &inventory())?)
    }

    /// One line of a list of rules.
    fn rule(&mut self, direction: Direction) -> anyhow::Result<String> {
        let mut fields = Vec::new();
        if self.next(8) != 0 {
            fields.push(format!("cidr: \"{}\"", self.choice(&CIDRS)?));
        }
        if fields.is_empty() || self.next(3) != 0 {
            let ports: Vec<_> = (0..=self.next(3)).map(|_| self.choice(&PORTS).copied()).collect::<Result<_, _>>()?;
            fields.push(format!("ports: [{}]", ports.join(", ")));
        }
        match (self.next(3), direction) {
            (0, _) => fields.push("protocol: TCP".to_owned()),
            (1, Direction::Egress | Direction::Bind) => fields.push("protocol: UDP".to_owned()),
            _ => {}
        }
        Ok(format!("      - {{{}}}\n", fields.join(", ")))
    }

    /// One access, as the evaluator and as the kernel see it.
    fn network_case(&mut self, state: u64) -> anyhow::Result<(NetworkAccess, NetworkCase)> {
        let case = NetworkCase { state, scope: MAKING, family: 0, address: [0; 16], port: 0, protocol: 0, kind: 0 };
        if self.next(4) == 0 {
            let family = *self.choice(&[1, INET, INET, INET6, INET6, 16, 17, 21, 38, 40, 44])?;
            let kind = u32::try_from(self.next(6))? + 1;
            let protocol = *self.choice(&[0, 0, 1, 6, 12, 17, 58, 132, 136, 262])?;
            return Ok((
                NetworkAccess::Socket { family, kind, protocol },
                NetworkCase { family, protocol, kind, ..case },
            ));
        }
        let direction = *self.choice(&Direction::ALL)?;
        let address: IpAddr = self.choice(&ADDRESSES)?.parse()?;
        let (port, protocol) = (*self.choice(&ASKED)?, *self.choice(&PROTOCOLS)?);
        // The kernel sees every spelling.
        let (address, family, octets) = match address {
            IpAddr::V4(ipv4) if self.next(3) == 0 => {
                let mapped = ipv4.to_ipv6_mapped();
                (IpAddr::V6(mapped), INET6, mapped.octets())
            }
            IpAddr::V4(ipv4) => (address, INET, first_word(ipv4)),
            IpAddr::V6(ipv6) => (address, INET6, Ipv6Addr::octets(&ipv6)),
        };
        let access = NetworkAccess::Address { direction, address, port, protocol };
        let scope = direction.scope();
        Ok((access, NetworkCase { scope, family, address: octets, port: port.into(), protocol, ..case }))
    }
}

fn first_word(address: Ipv4Addr) -> [u8; 16] {
    let mut octets = [0; 16];
    for (to, from) in octets.iter_mut().zip(address.octets()) {
        *to = from;
    }
    octets
}
