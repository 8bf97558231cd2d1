//! Names in rules, as `api.example.com` and `*.example.com`.

use std::{collections::BTreeSet, fmt, net::IpAddr, str::FromStr};

use plimsoll_abi::{NameKey, PathKey, name_kind, network::PortRanges};
use serde::{Serialize, Serializer};

use super::{NetworkRule, Peers, TooManyRanges, prefixes};

/// Bytes that a name may have.
const MAX_NAME: usize = 253;
/// Bytes that one of its labels may have.
const MAX_LABEL: usize = 63;

/// A name, or all names below one. Shown as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamePattern {
    /// In lower case, without a dot at its end.
    name: String,
    below: bool,
}

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    #[error("it is an address")]
    Address,
    #[error("a `*` may only stand for the first labels")]
    Wildcard,
    #[error("it is every name there is")]
    Everything,
    #[error("names are written in lower case, without a dot at their end")]
    Spelling(String),
    #[error("not a name")]
    Syntax,
}

impl NamePattern {
    /// Whether a name is meant: in any case, without a dot at its end.
    pub fn matches(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        if self.below { is_below(&name, &self.name) } else { name == self.name }
    }

    /// Whether whatever `other` means is meant too.
    fn covers(&self, other: &Self) -> bool {
        match (self.below, other.below) {
            (false, _) => self == other,
            (true, false) => is_below(&other.name, &self.name),
            (true, true) => self.name == other.name || is_below(&other.name, &self.name),
        }
    }

    /// As the kernel holds it under `allowlist`.
    fn kernel(&self, key: &PathKey, allowlist: u32) -> NameKey {
        let kind = if self.below { name_kind::BELOW } else { name_kind::EXACT };
        NameKey { hash: key.domain(&self.name), allowlist, kind }
    }
}

fn is_below(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

impl FromStr for NamePattern {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.parse::<IpAddr>().is_ok() {
            return Err(InvalidName::Address);
        }
        let (name, below) = text.strip_prefix("*.").map_or((text, false), |name| (name, true));
        match name {
            "*" | "" if below || text == "*" => return Err(InvalidName::Everything),
            _ if name.contains('*') => return Err(InvalidName::Wildcard),
            _ => {}
        }
        let plain = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        if plain.len() > MAX_NAME || !plain.split('.').all(is_label) {
            return Err(InvalidName::Syntax);
        }
        let pattern = Self { name: plain, below };
        if pattern.to_string() == text { Ok(pattern) } else { Err(InvalidName::Spelling(pattern.to_string())) }
    }
}

fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    (1..=MAX_LABEL).contains(&label.len()) && label.bytes().all(inner)
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.below { "*." } else { "" }, self.name)
    }
}

impl Serialize for NamePattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A name with what the rules for it and for all names around it permit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pattern: NamePattern,
    ranges: PortRanges,
}

impl Name {
    /// As the kernel holds it under `allowlist`.
    pub fn kernel(&self, key: &PathKey, allowlist: u32) -> (NameKey, PortRanges) {
        (self.pattern.kernel(key, allowlist), self.ranges)
    }
}

/// Every name that a rule has, with the ranges of all rules that cover it: the closest name alone decides.
pub(super) fn merge(rules: &[NetworkRule]) -> Result<Vec<Name>, TooManyRanges> {
    let named: Vec<(usize, &NetworkRule, &NamePattern)> = rules
        .iter()
        .enumerate()
        .filter_map(|(index, rule)| match &rule.peers {
            Peers::Name(pattern) => Some((index, rule, pattern)),
            _ => None,
        })
        .collect();
    let patterns: BTreeSet<&NamePattern> = named.iter().map(|(_, _, pattern)| *pattern).collect();
    let mut merged = Vec::with_capacity(patterns.len());
    for pattern in patterns {
        let mut ranges = Vec::new();
        for (index, rule, _) in named.iter().filter(|(_, _, around)| around.covers(pattern)) {
            prefixes::add(&mut ranges, rule, *index)?;
        }
        merged.push(Name { pattern: pattern.clone(), ranges: prefixes::kernel_ranges(&ranges) });
    }
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> NamePattern {
        text.parse().unwrap()
    }

    #[test]
    fn names_are_read_and_shown() {
        for text in ["api.example.com", "*.example.com", "db", "_dns.x-y.example", "*.com"] {
            assert_eq!(pattern(text).to_string(), text);
        }
        for (text, why) in [
            ("10.0.0.1", InvalidName::Address),
            ("::1", InvalidName::Address),
            ("*", InvalidName::Everything),
            ("*.", InvalidName::Everything),
            ("a.*.example", InvalidName::Wildcard),
            ("*api.example", InvalidName::Wildcard),
            ("API.example.", InvalidName::Spelling("api.example".to_owned())),
            ("a..example", InvalidName::Syntax),
            ("https://a.example", InvalidName::Syntax),
            ("", InvalidName::Syntax),
        ] {
            assert_eq!(text.parse::<NamePattern>(), Err(why), "{text}");
        }
        assert_eq!("a".repeat(64).parse::<NamePattern>(), Err(InvalidName::Syntax));
    }

    #[test]
    fn a_wildcard_is_for_what_is_below() {
        let below = pattern("*.example.com");
        for (name, meant) in [
            ("a.example.com", true),
            ("A.b.EXAMPLE.com", true),
            ("example.com", false),
            (".example.com", false),
            ("badexample.com", false),
        ] {
            assert_eq!(below.matches(name), meant, "{name}");
        }
        assert!(
            below.covers(&pattern("*.a.example.com"))
                && below.covers(&below)
                && !pattern("*.a.example.com").covers(&below)
        );
        assert!(pattern("a.b").matches("A.b") && !pattern("a.b").covers(&pattern("*.a.b")));
    }
}
