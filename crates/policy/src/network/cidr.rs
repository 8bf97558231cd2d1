//! Prefixes of addresses, as `10.0.0.0/8` and `2001:db8::/32`.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use plimsoll_abi::network::{SCOPE_BITS, scope};
use serde::{Serialize, Serializer};

/// A prefix of addresses. IPv4 and IPv6 are apart: `::/0` is no IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    ipv6: bool,
    /// IPv6, or IPv4 mapped into it; zeros after the prefix.
    network: u128,
    /// Bits of `network` that count, from 0 for IPv6 and from 96 for IPv4.
    length: u32,
}

/// Why a text is no prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCidr {
    #[error("an address without the length of its prefix")]
    NoLength,
    #[error("not an address")]
    Address,
    #[error("not the length of a prefix")]
    Length,
    #[error("bits after the prefix are set")]
    HostBits(Cidr),
    #[error("an IPv4 address written as IPv6")]
    Mapped,
}

const IPV4_BITS: u32 = 32;
const IPV6_BITS: u32 = 128;
/// Where IPv4 begins in a mapped address.
const MAPPED_BITS: u32 = IPV6_BITS - IPV4_BITS;

impl Cidr {
    /// `0.0.0.0/0`
    pub const EVERY_IPV4: Self = Self::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    /// `::/0`
    pub const EVERY_IPV6: Self = Self::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
    /// `127.0.0.0/8`
    pub const LOOPBACK_IPV4: Self = Self::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8);
    /// `::1/128`
    pub const LOOPBACK_IPV6: Self = Self::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 128);

    /// The prefix of `length` bits that `address` is in; a longer length than the family has is all of it.
    pub const fn new(address: IpAddr, length: u32) -> Self {
        let (ipv6, bits, length) = match address {
            IpAddr::V4(address) => {
                let length = if length > IPV4_BITS { IPV4_BITS } else { length };
                (false, address.to_ipv6_mapped().to_bits(), MAPPED_BITS + length)
            }
            IpAddr::V6(address) => (true, address.to_bits(), if length > IPV6_BITS { IPV6_BITS } else { length }),
        };
        Self { ipv6, network: bits & mask(length), length }
    }

    /// One address.
    pub const fn host(address: IpAddr) -> Self {
        Self::new(address, IPV6_BITS)
    }

    /// Whether all of `other` lies in it.
    pub fn contains(&self, other: &Self) -> bool {
        self.ipv6 == other.ipv6 && self.length <= other.length && other.network & mask(self.length) == self.network
    }

    /// Added to a scope, for its family.
    pub fn family(&self) -> u32 {
        if self.ipv6 { scope::IPV6 } else { 0 }
    }

    /// The network's address, IPv4 mapped into IPv6.
    pub fn octets(&self) -> [u8; 16] {
        self.network.to_be_bytes()
    }

    /// Bits of a kernel's key that must match, those of its scope included.
    pub fn key_bits(&self) -> u32 {
        SCOPE_BITS + self.length
    }
}

const fn mask(length: u32) -> u128 {
    match u128::MAX.checked_shl(IPV6_BITS - length) {
        Some(mask) => mask,
        None => 0,
    }
}

impl FromStr for Cidr {
    type Err = InvalidCidr;

    fn from_str(text: &str) -> Result<Self, InvalidCidr> {
        let Some((address, length)) = text.split_once('/') else {
            return Err(if text.parse::<IpAddr>().is_ok() { InvalidCidr::NoLength } else { InvalidCidr::Address });
        };
        let Ok(address) = address.parse::<IpAddr>() else { return Err(InvalidCidr::Address) };
        if matches!(address, IpAddr::V6(ipv6) if ipv6.to_ipv4_mapped().is_some()) {
            return Err(InvalidCidr::Mapped);
        }
        let plain = length.len() <= 3
            && length.bytes().all(|digit| digit.is_ascii_digit())
            && (length == "0" || !length.starts_with('0'));
        let bits = if address.is_ipv4() { IPV4_BITS } else { IPV6_BITS };
        let length = length.parse::<u32>().ok().filter(|length| plain && *length <= bits).ok_or(InvalidCidr::Length)?;
        let cidr = Self::new(address, length);
        if Self::new(address, bits).network == cidr.network { Ok(cidr) } else { Err(InvalidCidr::HostBits(cidr)) }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = Ipv6Addr::from(self.network);
        match address.to_ipv4_mapped() {
            Some(address) if !self.ipv6 => write!(f, "{address}/{}", self.length - MAPPED_BITS),
            _ => write!(f, "{address}/{}", self.length),
        }
    }
}

impl Serialize for Cidr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_read_and_shown() {
        for text in ["0.0.0.0/0", "10.0.0.0/8", "10.1.2.3/32", "::/0", "::1/128", "2001:db8::/32", "::/64"] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), text);
        }
        let network: Cidr = "10.1.0.0/16".parse().unwrap();
        for (text, why) in [
            ("10.0.0.1", InvalidCidr::NoLength),
            ("10.0.0/8", InvalidCidr::Address),
            ("10.0.0.0/33", InvalidCidr::Length),
            ("10.0.0.0/08", InvalidCidr::Length),
            ("10.0.0.0/+8", InvalidCidr::Length),
            ("::/129", InvalidCidr::Length),
            ("10.1.2.3/16", InvalidCidr::HostBits(network)),
            ("::ffff:10.0.0.0/104", InvalidCidr::Mapped),
            ("fe80::1%eth0/64", InvalidCidr::Address),
        ] {
            assert_eq!(text.parse::<Cidr>(), Err(why), "{text}");
        }
    }

    #[test]
    fn families_do_not_contain_each_other() {
        let cidr = |text: &str| text.parse::<Cidr>().unwrap();
        assert!(!Cidr::EVERY_IPV6.contains(&cidr("10.0.0.0/8")));
        assert!(!Cidr::EVERY_IPV4.contains(&cidr("::1/128")));
        assert!(Cidr::EVERY_IPV4.contains(&cidr("10.0.0.0/8")));
        assert!(cidr("10.0.0.0/8").contains(&cidr("10.255.0.0/16")));
        assert!(!cidr("10.0.0.0/8").contains(&cidr("11.0.0.0/16")));
        assert!(!cidr("10.0.0.0/16").contains(&cidr("10.0.0.0/8")));
    }
}
