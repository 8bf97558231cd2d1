use std::{io, path::PathBuf};

use plimsoll_sbom::Sha256;

/// Why a registry's answer cannot be used, or there is none.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No connection, no TLS, or no answer.
    #[error("cannot reach registry `{registry}`: {reason}")]
    Unreachable {
        /// Its name.
        registry: String,
        /// The HTTP client's words.
        reason: String,
    },
    /// The whole took too long.
    #[error("registry `{registry}` took longer than {seconds} s (`timeoutSeconds`)")]
    Slow {
        /// Its name.
        registry: String,
        /// Seconds allowed.
        seconds: u64,
    },
    /// It wants to know who asks.
    #[error("registry `{registry}` does not let us read `{repository}` ({status}): {hint}")]
    Denied {
        /// Its name.
        registry: String,
        /// What was asked for.
        repository: String,
        /// HTTP's status.
        status: u16,
        /// What to do.
        hint: &'static str,
    },
    /// The image is not there.
    #[error("registry `{registry}` has no `{repository}@{digest}`")]
    NoImage {
        /// Its name.
        registry: String,
        /// Where.
        repository: String,
        /// Which image.
        digest: Sha256,
    },
    /// The image is there, and nothing is attached to it.
    #[error("registry `{registry}` has no SBOM, attestation or allowlist for `{repository}@{digest}`")]
    Nothing {
        /// Its name.
        registry: String,
        /// Where.
        repository: String,
        /// Which image.
        digest: Sha256,
    },
    /// Any other answer.
    #[error("registry `{registry}` answered {status} to {what}")]
    Status {
        /// Its name.
        registry: String,
        /// HTTP's status.
        status: u16,
        /// What was asked for.
        what: String,
    },
    /// Content under a digest that it does not have.
    #[error("registry `{registry}` gave other content for {what} than its digest {expected} (it has {found})")]
    OtherContent {
        /// Its name.
        registry: String,
        /// What was asked for.
        what: String,
        /// The digest asked for.
        expected: Sha256,
        /// The digest of what came.
        found: Sha256,
    },
    /// More bytes than any such document has.
    #[error("registry `{registry}` gave more than {limit} bytes for {what}")]
    TooLarge {
        /// Its name.
        registry: String,
        /// What was asked for.
        what: String,
        /// Bytes allowed.
        limit: u64,
    },
    /// More of them than any image has.
    #[error("registry `{registry}` has more than {limit} {what} for the image")]
    TooMany {
        /// Its name.
        registry: String,
        /// Of what.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
    /// Not what the specification says.
    #[error("registry `{registry}` gave {what} that cannot be read: {reason}")]
    Malformed {
        /// Its name.
        registry: String,
        /// What was asked for.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// Plain HTTP or another host where neither may be.
    #[error("registry `{registry}` wants the password sent to `{realm}`, which is not `https://`")]
    InsecureLogin {
        /// Its name.
        registry: String,
        /// Where the password would go.
        realm: String,
    },
    /// The login could not be found out.
    #[error("cannot use the login for `{registry}` in `{}`: {reason}", path.display())]
    Credentials {
        /// The registry's name.
        registry: String,
        /// The docker configuration.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file of the configuration or the cache.
    #[error("cannot use `{}`", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// What is kept on disk is not what was put there.
    #[error("`{}` is damaged; remove it, and it is fetched again", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
    },
    /// No registry may be asked, and nothing is kept.
    #[error(
        "offline, and nothing is kept for `{digest}`; fetch it with `plimsoll sbom fetch` while the registry can be reached"
    )]
    Offline {
        /// Which image.
        digest: Sha256,
    },
}

impl RegistryError {
    /// The failure's name in metrics and JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::Slow { .. } => "slow",
            Self::Denied { .. } => "denied",
            Self::NoImage { .. } => "no-image",
            Self::Nothing { .. } => "nothing",
            Self::Status { .. } => "status",
            Self::OtherContent { .. } => "other-content",
            Self::TooLarge { .. } => "too-large",
            Self::TooMany { .. } => "too-many",
            Self::Malformed { .. } => "malformed",
            Self::InsecureLogin { .. } => "insecure-login",
            Self::Credentials { .. } => "credentials",
            Self::File { .. } => "file",
            Self::Damaged { .. } => "damaged",
            Self::Offline { .. } => "offline",
        }
    }

    /// Whether another registry with the same content may still have an answer.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Slow { .. }
                | Self::Denied { .. }
                | Self::NoImage { .. }
                | Self::Nothing { .. }
                | Self::Status { .. }
        )
    }
}
