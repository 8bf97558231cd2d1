//! Logins from a docker `config.json`. Credential helpers are programs that the configuration names.

use std::{fs::File, io::Read as _, path::Path, sync::mpsc, thread, time::Duration};

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};

use crate::error::RegistryError;

const MAX_CONFIG: u64 = 4 << 20;
/// How long a credential helper may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How to introduce oneself.
#[derive(Clone)]
pub(crate) enum Login {
    Anonymous,
    Password(String, String),
    /// An OAuth 2 refresh token.
    Identity(String),
}

/// The login for `registry`; anonymous if the configuration has none.
pub(crate) fn login(path: Option<&Path>, registry: &str) -> Result<Login, RegistryError> {
    let Some(path) = path else { return Ok(Login::Anonymous) };
    let failed =
        |reason: String| RegistryError::Credentials { registry: registry.to_owned(), path: path.to_owned(), reason };
    let mut text = Vec::new();
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    file.take(MAX_CONFIG).read_to_end(&mut text).map_err(|error| failed(error.to_string()))?;
    let (sender, answer) = mpsc::sync_channel(1);
    let server = registry.to_owned();
    // A helper that hangs keeps its thread; the caller goes on.
    thread::spawn(move || sender.send(get_credential_from_reader(text.as_slice(), &server)));
    match answer.recv_timeout(PATIENCE) {
        Ok(Ok(DockerCredential::UsernamePassword(name, password))) => Ok(Login::Password(name, password)),
        Ok(Ok(DockerCredential::IdentityToken(token))) => Ok(Login::Identity(token)),
        Ok(Err(CredentialRetrievalError::NoCredentialConfigured)) => Ok(Login::Anonymous),
        // The helper's output may hold the secret; it is not repeated.
        Ok(Err(CredentialRetrievalError::HelperFailure { helper, .. })) => Err(failed(format!("`{helper}` failed"))),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_timeout) => Err(failed("the credential helper gave no answer in 10 s".to_owned())),
    }
}
