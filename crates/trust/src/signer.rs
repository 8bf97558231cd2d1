//! Who must have signed.

use std::fmt;

use crate::key::PublicKey;

/// Somebody whose word counts.
#[derive(Clone, Debug)]
pub struct Signer {
    /// The signer's name in policies, reports and errors.
    pub name: String,
    /// What shows that it was this signer.
    pub proof: Proof,
}

/// What shows who signed.
#[derive(Clone, Debug)]
pub enum Proof {
    /// This key did.
    Key(PublicKey),
    /// A certificate names this identity, vouched for by this issuer.
    Identity {
        /// The certificate's subject alternative name: an e-mail address or URI.
        identity: IdentityPattern,
        /// The OpenID Connect issuer, compared as it is.
        issuer: String,
    },
}

/// An identity, or all that begin alike: `https://forge.example/team/*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdentityPattern(String);

impl IdentityPattern {
    /// Takes `text` as it is, a `*` at its end as anything. `None` if it is empty, `*` alone, or has a `*` elsewhere.
    pub fn new(text: &str) -> Option<Self> {
        let fixed = text.strip_suffix('*').unwrap_or(text);
        (!fixed.is_empty() && !fixed.contains('*')).then(|| Self(text.to_owned()))
    }

    /// Whether `identity` is meant.
    pub fn matches(&self, identity: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => identity.starts_with(prefix),
            None => self.0 == identity,
        }
    }
}

impl fmt::Display for IdentityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Signers for a message.
pub(crate) fn named(signers: &[Signer]) -> String {
    let names: Vec<_> = signers.iter().take(5).map(|signer| format!("`{}`", signer.name)).collect();
    let more = if signers.len() > 5 { " or others" } else { "" };
    format!("{}{more}", names.join(" or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_only_at_the_end() {
        for wrong in ["", "*", "a*b", "**"] {
            assert_eq!(IdentityPattern::new(wrong), None, "{wrong}");
        }
        let prefix = IdentityPattern::new("https://forge.example/team/*").unwrap();
        assert!(prefix.matches("https://forge.example/team/app@refs/tags/v1"));
        assert!(!prefix.matches("https://forge.example/teams/app"));
        assert!(!IdentityPattern::new("a@b.example").unwrap().matches("a@b.example.org"));
    }
}
