//! From rules to prefixes that each say all there is to say about the addresses for which they are the longest match.

use std::collections::BTreeSet;

use plimsoll_abi::network::{AddressKey, MAX_PORT_RANGES, NO_RULE, PortRange, PortRanges};

use super::{Cidr, Direction, NetworkRule, Ports, TooManyRanges};

/// One prefix with what it and all prefixes around it permit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// What it is about.
    pub direction: Direction,
    /// Its addresses.
    pub cidr: Cidr,
    /// Its ports, in the order of the rules; at most [`MAX_PORT_RANGES`].
    pub ranges: Vec<PortRange>,
}

impl Prefix {
    /// The prefix as the kernel holds it under `allowlist`: bits that count, key, value.
    pub fn kernel(&self, allowlist: u32) -> (u32, AddressKey, PortRanges) {
        let scope = self.direction.scope() | self.cidr.family();
        let key = AddressKey { allowlist, scope, address: self.cidr.octets() };
        (self.cidr.key_bits(), key, kernel_ranges(&self.ranges))
    }
}

/// Ranges as the kernel holds them; there are at most [`MAX_PORT_RANGES`].
pub(super) fn kernel_ranges(ranges: &[PortRange]) -> PortRanges {
    let unused = PortRange { first: u16::MAX, last: 0, protocols: 0, rule: NO_RULE };
    let mut slots = [unused; MAX_PORT_RANGES];
    for (slot, range) in slots.iter_mut().zip(ranges) {
        *slot = *range;
    }
    PortRanges { count: u32::try_from(ranges.len()).unwrap_or(0), reserved: 0, ranges: slots }
}

/// Every prefix that a rule names, with the ranges of all rules that contain it.
pub(super) fn merge(rules: &[NetworkRule]) -> Result<Vec<Prefix>, TooManyRanges> {
    let parts: Vec<(usize, Direction, Cidr)> = rules
        .iter()
        .enumerate()
        .flat_map(|(index, rule)| rule.peers.prefixes().into_iter().map(move |cidr| (index, rule.direction, cidr)))
        .collect();
    let named: BTreeSet<(Direction, Cidr)> = parts.iter().map(|(_, direction, cidr)| (*direction, *cidr)).collect();
    let mut prefixes = Vec::with_capacity(named.len());
    for (direction, cidr) in named {
        let mut ranges = Vec::new();
        for (index, _, _) in parts.iter().filter(|(_, other, around)| *other == direction && around.contains(&cidr)) {
            let Some(rule) = rules.get(*index) else { continue };
            add(&mut ranges, rule, *index)?;
        }
        prefixes.push(Prefix { direction, cidr, ranges });
    }
    Ok(prefixes)
}

/// Adds a rule's ranges, but for those that an earlier rule covers already.
pub(super) fn add(ranges: &mut Vec<PortRange>, rule: &NetworkRule, index: usize) -> Result<(), TooManyRanges> {
    let too_many = TooManyRanges { rule: index };
    let number = u16::try_from(index).ok().filter(|number| *number != NO_RULE).ok_or(too_many)?;
    let protocols = rule.protocols.bits();
    let all = [Ports::ALL];
    for ports in if rule.ports.is_empty() { &all[..] } else { &rule.ports } {
        let covered = ranges
            .iter()
            .any(|range| range.first <= ports.first && ports.last <= range.last && protocols & !range.protocols == 0);
        if !covered {
            ranges.push(PortRange { first: ports.first, last: ports.last, protocols, rule: number });
        }
    }
    if ranges.len() > MAX_PORT_RANGES { Err(too_many) } else { Ok(()) }
}
