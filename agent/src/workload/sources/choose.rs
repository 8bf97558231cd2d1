//! Which of several documents is used, and what one without an accepted signature is worth.

use std::collections::HashMap;

use plimsoll_policy::{SbomTrust, Unsigned};
use plimsoll_sbom::{EvidenceClass, Sha256};
use plimsoll_trust::{Candidate, Content, Opened, Trust, TrustError};

use super::{Evidence, Found, SourceError, Sourced};

/// The best of several: a signed allowlist, else a signed SBOM, else one that nobody signed, if the policy takes that.
pub(super) fn choose(
    all: Vec<Found>,
    image: &[Sha256],
    policy: &SbomTrust,
    trust: &Trust,
) -> Result<Sourced, SourceError> {
    let (mut best, mut refused): (HashMap<u8, Sourced>, Vec<SourceError>) = (HashMap::new(), Vec::new());
    for Found { place, bytes, annotations } in all {
        let opened = trust.open(Candidate { bytes: &bytes, annotations: &annotations }, image);
        let (rank, sourced) = match opened {
            Ok(Opened { content: Content::Allowlist(list), signer: Some(signer), .. }) => {
                let evidence = Evidence::Allowlist(list);
                (0, Sourced { evidence, signer: Some(signer), cap: EvidenceClass::SbomDigest, place })
            }
            Ok(Opened { content: Content::Allowlist(_), signer: None, .. }) => {
                refused.push(SourceError::UnsignedAllowlist { place });
                continue;
            }
            Ok(Opened { content: Content::Sbom(bytes), signer: Some(signer), .. }) => {
                let evidence = Evidence::Documents(vec![bytes]);
                (1, Sourced { evidence, signer: Some(signer), cap: EvidenceClass::SbomDigest, place })
            }
            Ok(Opened { content: Content::Sbom(bytes), signer: None, .. }) => {
                let asked = || (place.clone(), TrustError::Unsigned { asked: trust.asked() });
                match unsigned(policy, asked) {
                    Ok(cap) => (2, Sourced { evidence: Evidence::Documents(vec![bytes]), signer: None, cap, place }),
                    Err(error) => {
                        refused.push(error);
                        continue;
                    }
                }
            }
            Err(source) => {
                refused.push(SourceError::Untrusted { place, source });
                continue;
            }
        };
        best.entry(rank).or_insert(sourced);
    }
    let chosen = (0..3).find_map(|rank| best.remove(&rank));
    chosen.ok_or_else(|| {
        // A signature that does not hold says more than one that is missing.
        let telling = refused.iter().position(|error| {
            matches!(error, SourceError::Untrusted { source, .. } if !matches!(source, TrustError::Unsigned { .. }))
        });
        let nothing = || SourceError::Nothing {
            digest: image.first().copied().unwrap_or(Sha256([0; 32])),
            tried: "nothing is attached to it".to_owned(),
        };
        if refused.is_empty() { nothing() } else { refused.swap_remove(telling.unwrap_or(0)) }
    })
}

/// What an SBOM is worth that no accepted signer signed.
pub(super) fn unsigned(
    policy: &SbomTrust,
    refusal: impl FnOnce() -> (String, TrustError),
) -> Result<EvidenceClass, SourceError> {
    match policy.unsigned {
        Unsigned::AtMost(class) => Ok(class),
        Unsigned::Refuse => {
            let (place, source) = refusal();
            Err(SourceError::Untrusted { place, source })
        }
    }
}
