//! The name a certificate gives its owner: `spiffe://<trust domain>/plimsoll/node/<name>`.

use spiffe::SpiffeId;
pub use spiffe::TrustDomain;
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
};

/// Between the trust domain and the node's name.
const PREFIX: &str = "/plimsoll/node/";

/// Why a certificate names no node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error("the certificate cannot be parsed")]
    Malformed,
    #[error("the certificate has {count} URIs among its names; a SPIFFE certificate has exactly one")]
    NotOneUri { count: usize },
    #[error("`{uri}` is no SPIFFE ID")]
    NotSpiffe { uri: String },
    #[error("`{uri}` names no node; expected spiffe://<trust domain>{PREFIX}<node>")]
    NotANode { uri: String },
}

/// A node, and the trust domain that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    id: SpiffeId,
    /// When the certificate ends, in seconds since 1970.
    expires: i64,
}

impl NodeIdentity {
    /// Reads the name out of a certificate in DER. Whether anyone vouches for it is not looked at.
    pub fn of(certificate: &[u8]) -> Result<Self, IdentityError> {
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return Err(IdentityError::Malformed) };
        let Ok(names) = parsed.subject_alternative_name() else { return Err(IdentityError::Malformed) };
        let uris: Vec<&str> = names
            .iter()
            .flat_map(|names| &names.value.general_names)
            .filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None })
            .collect();
        let [uri] = uris[..] else { return Err(IdentityError::NotOneUri { count: uris.len() }) };
        let Ok(id) = SpiffeId::new(uri) else { return Err(IdentityError::NotSpiffe { uri: uri.to_owned() }) };
        let name = id.path().strip_prefix(PREFIX).filter(|name| !name.is_empty() && !name.contains('/'));
        if name.is_none() {
            return Err(IdentityError::NotANode { uri: uri.to_owned() });
        }
        Ok(Self { id, expires: parsed.validity().not_after.timestamp() })
    }

    /// The node's name.
    pub fn node(&self) -> &str {
        self.id.path().strip_prefix(PREFIX).unwrap_or_default()
    }

    /// Whose authorities must have signed.
    pub fn trust_domain(&self) -> &str {
        self.id.trust_domain_name()
    }

    /// The SPIFFE ID.
    pub fn id(&self) -> String {
        self.id.to_string()
    }

    /// When the certificate ends, in seconds since 1970.
    pub fn expires(&self) -> i64 {
        self.expires
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn of(uris: &[&str]) -> Result<NodeIdentity, IdentityError> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        NodeIdentity::of(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
    }

    #[test]
    fn a_node_has_a_name_and_a_domain() {
        let identity = of(&["spiffe://a.example/plimsoll/node/n-1.b"]).unwrap();
        assert_eq!((identity.node(), identity.trust_domain()), ("n-1.b", "a.example"));
    }

    #[test]
    fn whatever_else_a_certificate_says_names_no_node() {
        assert_eq!(of(&[]).unwrap_err(), IdentityError::NotOneUri { count: 0 });
        let one = "spiffe://a.example/plimsoll/node/n";
        assert_eq!(of(&[one, one]).unwrap_err(), IdentityError::NotOneUri { count: 2 });
        for uri in ["https://a.example/plimsoll/node/n", "spiffe://a%2fb/plimsoll/node/n", "spiffe:///node"] {
            assert!(matches!(of(&[uri]), Err(IdentityError::NotSpiffe { .. })), "{uri}");
        }
        for uri in ["spiffe://a", "spiffe://a/plimsoll/node", "spiffe://a/plimsoll/node/n/m", "spiffe://a/node/n"] {
            assert!(matches!(of(&[uri]), Err(IdentityError::NotANode { .. })), "{uri}");
        }
        assert_eq!(NodeIdentity::of(b"x").unwrap_err(), IdentityError::Malformed);
    }
}
