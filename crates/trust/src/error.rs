use plimsoll_sbom::Sha256;

/// Why a document is not believed. Each has its own remedy.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Larger than any document that is taken in.
    #[error("document of {size} bytes is larger than the limit of {limit}")]
    TooLarge {
        /// Bytes found.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The wrapping around the SBOM cannot be read.
    #[error("{what} cannot be read: {reason}")]
    Malformed {
        /// `DSSE envelope`, `in-toto statement`...
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The statement says something other than what an image contains.
    #[error("the attestation is of type `{0}`, which is neither an SBOM nor an allowlist")]
    Predicate(String),
    /// A signer's key is named, and its signature does not fit the content.
    #[error(
        "the signature names the key of `{signer}`, but does not fit: the content was changed after it was signed \
         (a tampered subject or SBOM)"
    )]
    Tampered {
        /// Whose key.
        signer: String,
    },
    /// No accepted signer made any of the signatures.
    #[error("signed with another key: none of its signatures is by {asked}")]
    UnknownSigner {
        /// The accepted signers, named.
        asked: String,
    },
    /// A certificate that was valid, of somebody else.
    #[error("signed by `{identity}`, identity issued by `{issuer}`; accepted is {asked}")]
    OtherIdentity {
        /// The certificate's identity.
        identity: String,
        /// Who vouched for it.
        issuer: String,
        /// The accepted signers, named.
        asked: String,
    },
    /// The certificate was not valid when the signature was made.
    #[error(
        "the signer's certificate had expired: it was valid until {not_after}, the signature was made at {signed_at}"
    )]
    Expired {
        /// End of the certificate, RFC 3339.
        not_after: String,
        /// When the transparency log or timestamp authority saw the signature, RFC 3339.
        signed_at: String,
    },
    /// The certificate was not valid yet.
    #[error("the signer's certificate is valid from {not_before} only, the signature was made at {signed_at}")]
    NotYetValid {
        /// Begin of the certificate, RFC 3339.
        not_before: String,
        /// When the transparency log or timestamp authority saw the signature, RFC 3339.
        signed_at: String,
    },
    /// Chain, log entry or timestamp do not hold.
    #[error("keyless signature is not proven: {0}")]
    Keyless(String),
    /// A certificate without a root to check it against.
    #[error("signed with a certificate, and no trust root is configured to check it against")]
    NoRoot,
    /// A true statement about another image.
    #[error("swapped: the document is about {subjects}, not about the image that runs, {image}")]
    OtherSubject {
        /// The image's digests.
        image: String,
        /// The statement's subjects; the first three.
        subjects: String,
    },
    /// Something signed was asked for, and this is not.
    #[error("not signed; accepted is {asked}")]
    Unsigned {
        /// The accepted signers, named.
        asked: String,
    },
    /// The allowlist inside is not one.
    #[error("cannot use the allowlist")]
    Allowlist(#[from] crate::allowlist::AllowlistError),
}

impl TrustError {
    /// The failure's name in metrics and JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too-large",
            Self::Malformed { .. } => "malformed",
            Self::Predicate(_) => "other-predicate",
            Self::Tampered { .. } => "tampered",
            Self::UnknownSigner { .. } => "wrong-key",
            Self::OtherIdentity { .. } => "wrong-identity",
            Self::Expired { .. } => "expired-certificate",
            Self::NotYetValid { .. } => "certificate-not-yet-valid",
            Self::Keyless(_) => "unproven",
            Self::NoRoot => "no-trust-root",
            Self::OtherSubject { .. } => "swapped",
            Self::Unsigned { .. } => "unsigned",
            Self::Allowlist(_) => "allowlist",
        }
    }
}

/// Digests for a message; the first three.
pub(crate) fn shown(digests: &[Sha256]) -> String {
    if digests.is_empty() {
        return "no image".to_owned();
    }
    let mut text = digests.iter().take(3).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if digests.len() > 3 {
        text.push_str(", ...");
    }
    text
}
