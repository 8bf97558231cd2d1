//! Answers of resolvers, right ones and broken ones: what the kernel takes from them, and what a reader that is written
//! straight from RFC 1035 does.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use anyhow::Context as _;
use plimsoll_policy::{Limits, compile, parse};

use crate::{
    agree::{Random, inventory},
    program::{AnswerCase, Programs},
};

/// Under it lie the names of all cases.
const ALLOWLIST: u32 = 9000;
const POLICY: &str = "apiVersion: plimsoll.dev/v1alpha1\nkind: EnforcementPolicy\nmetadata:\n  name: answers\nspec:\n  selector:\n    \
                      namespace: x\n  mode: Enforce\n  network:\n    resolvers: [10.0.0.1]\n    egress:\n      \
                      - dns: api.example.test\n      - dns: \"*.shop.test\"\n      - dns: db\n";
const NAMES: [&str; 12] = [
    "api.example.test",
    "API.Example.tesT",
    "a.shop.test",
    "a.b.C.shop.test",
    "db",
    "shop.test",
    "xshop.test",
    "api.example.test.shop",
    "example.test",
    "x.db",
    "a.very-long-label-that-has-more-than-thirty-two-bytes.shop.test",
    "1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.shop.test",
];
const ADDRESSES: [&str; 12] = [
    "10.1.2.3",
    "10.1.2.4",
    "192.0.2.1",
    "169.254.169.254",
    "127.0.0.1",
    "0.0.0.0",
    "255.255.255.255",
    "fd00::1",
    "2001:db8::2",
    "fe80::1",
    "::1",
    "::ffff:10.1.2.5",
];

pub(crate) fn run(programs: &mut Programs, cases: u32, seed: u64) -> anyhow::Result<()> {
    let policy =
        parse("answers.yaml", POLICY.as_bytes(), &Limits::default()).context("the test's own policy is wrong")?;
    let policy = compile(&policy, &inventory())?;
    programs.allow_network(ALLOWLIST, policy.network.as_ref().context("no rules")?)?;
    let state = policy.state(ALLOWLIST);
    let pool: Vec<IpAddr> = ADDRESSES.iter().map(|address| address.parse()).collect::<Result<_, _>>()?;
    let mut random = Random(seed.max(1).wrapping_mul(0x2545_f491_4f6c_dd1d));
    let (mut given, mut none) = (0_u64, 0);
    for slot in 1..=cases {
        let message = random.message()?;
        let expected = addresses(&message);
        programs.run("answer_case", &AnswerCase { state, slot, message: message.clone() }, 1)?;
        for address in expected.iter().chain(&pool) {
            let learnt = programs.has_learnt(slot, *address)?;
            anyhow::ensure!(
                learnt == expected.contains(&address.to_canonical()),
                "case {slot} of seed {seed}: {address} learnt: {learnt}, from {message:02x?}"
            );
        }
        given += expected.len() as u64;
        none += u64::from(expected.is_empty());
    }
    anyhow::ensure!(
        given > u64::from(cases) / 4 && none > u64::from(cases) / 4,
        "{given} addresses, {none} answers without"
    );
    println!("{cases} answers of resolvers agree: {given} addresses, none in {none} of the answers");
    Ok(())
}

impl Random {
    fn message(&mut self) -> anyhow::Result<Vec<u8>> {
        let count = u8::try_from(self.next(6))?;
        let mut message = vec![1, 2, 0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0];
        message.extend(wire(self.choice(&NAMES)?));
        message.extend([0, 1, 0, 1]);
        for _ in 0..count {
            self.record(&mut message)?;
        }
        if self.next(3) == 0 {
            for _ in 0..=self.next(3) {
                let place = usize::try_from(self.next(message.len() as u64))?;
                if let Some(byte) = message.get_mut(place) {
                    *byte = u8::try_from(self.next(256))?;
                }
            }
        }
        if self.next(8) == 0 {
            message.truncate(1 + usize::try_from(self.next(message.len() as u64))?);
        }
        Ok(message)
    }

    fn record(&mut self, message: &mut Vec<u8>) -> anyhow::Result<()> {
        match self.next(4) {
            0 => message.extend(wire(self.choice(&NAMES)?)),
            1 => message.extend([1, b'x', 0xc0, 12]),
            _ => message.extend([0xc0, 12]),
        }
        let (kind, data) = match self.choice(&ADDRESSES)?.parse()? {
            _ if self.next(6) == 0 => (5, wire(self.choice(&NAMES)?)),
            IpAddr::V4(address) => (1, address.octets().to_vec()),
            IpAddr::V6(address) => (28, address.octets().to_vec()),
        };
        let class = if self.next(16) == 0 { 3 } else { 1 };
        message.extend([0, kind, 0, class, 0, 0, 0, 60, 0, u8::try_from(data.len())?]);
        message.extend(data);
        Ok(())
    }
}

fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter_map(|label| Some((u8::try_from(label.len()).ok()?, label)));
    labels.flat_map(|(length, label)| [&[length], label.as_bytes()].concat()).chain([0]).collect()
}

/// The addresses that an answer gives for a name of [`POLICY`].
fn addresses(message: &[u8]) -> BTreeSet<IpAddr> {
    let mut found = BTreeSet::new();
    let is_answer =
        matches!(message, [_, _, flags, code, 0, 1, ..] if flags & 0xf8 == 0x80 && code.trailing_zeros() >= 4);
    let (Some((labels, end)), true) = (question(message), is_answer) else { return found };
    if !is_in_rules(&labels) || message.len() < end + 4 {
        return found;
    }
    let mut at = end + 4;
    for _ in 0..short(message, 6).unwrap_or(0).min(64) {
        let Some((address, next)) = record(message, at) else { break };
        found.extend(address.map(|address| address.to_canonical()).filter(may_be_given));
        at = next;
    }
    found
}

/// The labels of the question's name, and where what follows it begins.
fn question(message: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            // 255 bytes, the last length of 0 among them.
            return (at - 12 <= 255 && !labels.is_empty()).then_some((labels, at));
        }
        if length > 63 {
            return None;
        }
        labels.push(message.get(at..at + length)?.to_ascii_lowercase());
        at += length;
    }
}

fn is_in_rules(labels: &[Vec<u8>]) -> bool {
    let is = |name: &[&str]| {
        labels.len() == name.len() && labels.iter().zip(name).all(|(label, name)| label == name.as_bytes())
    };
    let below =
        labels.len() > 2 && labels.iter().rev().zip(["test", "shop"]).all(|(label, name)| label == name.as_bytes());
    below || is(&["api", "example", "test"]) || is(&["db"])
}

/// The address in a record, if it has one, and where the next record begins.
fn record(message: &[u8], at: usize) -> Option<(Option<IpAddr>, usize)> {
    let mut at = at;
    let mut steps = 0;
    loop {
        let length = usize::from(*message.get(at)?);
        steps += 1;
        match length {
            _ if steps > 16 => return None,
            0 => break at += 1,
            1..64 => at += length + 1,
            64..192 => return None,
            _ => break at += 2,
        }
    }
    let length = usize::from(short(message, at + 8)?);
    let data = message.get(at + 10..at + 10 + length)?;
    let address = match (short(message, at)?, short(message, at + 2)?) {
        (1, 1) => <[u8; 4]>::try_from(data).ok().map(|octets| IpAddr::V4(Ipv4Addr::from(octets))),
        (28, 1) => <[u8; 16]>::try_from(data).ok().map(|octets| IpAddr::V6(Ipv6Addr::from(octets))),
        _ => None,
    };
    Some((address, at + 10 + length))
}

fn short(message: &[u8], at: usize) -> Option<u16> {
    message.get(at..at + 2).map(|bytes| bytes.iter().fold(0, |number, byte| number << 8 | u16::from(*byte)))
}

/// Not the machine itself, its link, groups or nobody.
fn may_be_given(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            !(first == 0 || first == 127 || first >= 224 || (first, second) == (169, 254))
        }
        // The first sixteen bits are zeros for the machine itself and for IPv4 in other forms.
        IpAddr::V6(address) => {
            address.segments()[0] != 0 && !address.is_multicast() && !address.is_unicast_link_local()
        }
    }
}
