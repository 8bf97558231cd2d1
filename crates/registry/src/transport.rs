//! Asks one registry, within bounds and one deadline.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use plimsoll_sbom::Sha256;
use serde::Deserialize;
use ureq::{
    Agent, Body,
    http::{Response, header},
    tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem},
};

use crate::{
    config::Config,
    credentials::{Login, login},
    error::RegistryError,
};

pub(crate) const MAX_MANIFEST: u64 = 4 << 20;
const MAX_TOKEN: u64 = 1 << 20;
/// Requests for one image.
const MAX_REQUESTS: usize = 300;

/// What every registry is asked through.
#[derive(Debug)]
pub(crate) struct Connector {
    secure: Agent,
    plain: Agent,
    insecure: Vec<String>,
    loopback_is_plain: bool,
}

/// One registry, for one image.
pub(crate) struct Transport<'c> {
    connector: &'c Connector,
    /// `host` or `host:port`, as asked.
    pub(crate) registry: String,
    pub(crate) repository: String,
    login: Login,
    deadline: Instant,
    seconds: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    authorization: Option<String>,
    requests: usize,
}

/// An answer that is no error of its own: found, or not there.
pub(crate) struct Answer {
    pub(crate) bytes: Vec<u8>,
    /// The next page, if the registry names one.
    pub(crate) next: Option<String>,
}

impl Connector {
    pub(crate) fn new(config: &Config) -> Result<Self, RegistryError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(authorities(config.ca.as_deref())?)))
            .unversioned_rustls_crypto_provider(provider)
            .build();
        let agent = |https_only: bool| {
            Agent::config_builder()
                .https_only(https_only)
                .http_status_as_error(false)
                .max_redirects(4)
                .max_response_header_size(64 << 10)
                .user_agent(concat!("plimsoll/", env!("CARGO_PKG_VERSION")))
                .tls_config(tls.clone())
                .build()
                .new_agent()
        };
        Ok(Self {
            secure: agent(true),
            plain: agent(false),
            insecure: config.insecure.clone(),
            loopback_is_plain: config.ca.is_none(),
        })
    }

    /// Plain HTTP for what is named, and for loopback unless certificate authorities are named.
    fn agent(&self, registry: &str) -> (&Agent, &'static str) {
        let named = self.insecure.iter().any(|named| named == registry);
        if named || (self.loopback_is_plain && is_loopback(registry)) {
            (&self.plain, "http")
        } else {
            (&self.secure, "https")
        }
    }

    fn scheme(&self, registry: &str) -> &'static str {
        self.agent(registry).1
    }
}

impl<'c> Transport<'c> {
    pub(crate) fn new(
        connector: &'c Connector,
        config: &Config,
        registry: &str,
        repository: &str,
        deadline: Instant,
    ) -> Result<Self, RegistryError> {
        Ok(Self {
            connector,
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            login: login(config.credentials.as_deref(), registry)?,
            deadline,
            seconds: config.timeout_seconds,
            state: Mutex::default(),
        })
    }

    /// What lies at `path` below the repository; nothing if the registry says that it is not there.
    pub(crate) fn get(&self, path: &str, accept: &str, limit: u64) -> Result<Option<Answer>, RegistryError> {
        let url =
            format!("{}://{}/v2/{}/{path}", self.connector.scheme(&self.registry), self.registry, self.repository);
        self.get_url(&url, path, accept, limit)
    }

    /// As [`Transport::get`], and the content must have the digest.
    pub(crate) fn get_digest(
        &self,
        kind: &str,
        digest: Sha256,
        accept: &str,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, RegistryError> {
        let what = format!("{kind}/{digest}");
        let Some(answer) = self.get(&what, accept, limit)? else { return Ok(None) };
        let found = Sha256::of(&answer.bytes);
        if found == digest {
            return Ok(Some(answer.bytes));
        }
        Err(RegistryError::OtherContent { registry: self.registry.clone(), what, expected: digest, found })
    }

    /// A further page, which must be of the same registry.
    pub(crate) fn get_page(&self, link: &str, accept: &str, limit: u64) -> Result<Option<Answer>, RegistryError> {
        let base = format!("{}://{}", self.connector.scheme(&self.registry), self.registry);
        let url = if link.starts_with('/') { format!("{base}{link}") } else { link.to_owned() };
        if !url.strip_prefix(&base).is_some_and(|rest| rest.starts_with('/')) {
            return Err(self.malformed("a list of referrers", "its next page is on another host"));
        }
        self.get_url(&url, "the next page of referrers", accept, limit)
    }

    fn get_url(&self, url: &str, what: &str, accept: &str, limit: u64) -> Result<Option<Answer>, RegistryError> {
        let mut response = self.send(url, what, accept)?;
        if response.status() == 401 && self.authorize(&response)? {
            response = self.send(url, what, accept)?;
        }
        match response.status().as_u16() {
            200 => {
                let next = next_page(&response);
                Ok(Some(Answer { bytes: self.body(&mut response, what, limit)?, next }))
            }
            404 => Ok(None),
            status @ (401 | 403) => Err(self.denied(status)),
            status => Err(RegistryError::Status { registry: self.registry.clone(), status, what: format!("`{what}`") }),
        }
    }

    fn send(&self, url: &str, what: &str, accept: &str) -> Result<Response<Body>, RegistryError> {
        let authorization = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.requests += 1;
            if state.requests > MAX_REQUESTS {
                let registry = self.registry.clone();
                return Err(RegistryError::TooMany { registry, what: "documents to ask for", limit: MAX_REQUESTS });
            }
            state.authorization.clone()
        };
        let agent = self.connector.agent(&self.registry).0;
        let mut request = agent.get(url).header(header::ACCEPT, accept);
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.config().timeout_global(Some(self.left()?)).build();
        request.call().map_err(|error| self.failed(what, 0, error))
    }

    /// Gets what the registry asks for, once. False if there is nothing more to show than was shown.
    fn authorize(&self, response: &Response<Body>) -> Result<bool, RegistryError> {
        let challenges = response.headers().get_all(header::WWW_AUTHENTICATE).iter();
        let challenges: Vec<&str> = challenges.filter_map(|value| value.to_str().ok()).collect();
        let mut parsed = challenges.iter().flat_map(|text| http_auth::parser::ChallengeParser::new(text)).flatten();
        let authorization = match parsed.find(|one| ["bearer", "basic"].contains(&&*one.scheme.to_ascii_lowercase())) {
            Some(challenge) if challenge.scheme.eq_ignore_ascii_case("bearer") => {
                let parameters: HashMap<String, String> = challenge
                    .params
                    .iter()
                    .map(|(name, value)| (name.to_ascii_lowercase(), value.to_unescaped()))
                    .collect();
                Some(format!("Bearer {}", self.token(&parameters)?))
            }
            Some(_) => basic(&self.login),
            None => None,
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let new = authorization.is_some() && authorization != state.authorization;
        state.authorization = authorization;
        Ok(new)
    }

    /// The token that the registry's `realm` gives out.
    fn token(&self, challenge: &HashMap<String, String>) -> Result<String, RegistryError> {
        let what = "its token service";
        let realm = challenge.get("realm").ok_or_else(|| self.malformed("a login challenge", "it has no `realm`"))?;
        let host = realm.split_once("://").map_or("", |(_, rest)| rest.split(['/', '?']).next().unwrap_or_default());
        let (agent, scheme) = self.connector.agent(host);
        // A registry that is spoken to by TLS may not have the password sent in the clear, not even to loopback.
        let may_be_plain = scheme == "http" && self.connector.scheme(&self.registry) == "http";
        if !(realm.starts_with("https://") || may_be_plain && realm.starts_with("http://")) {
            return Err(RegistryError::InsecureLogin { registry: self.registry.clone(), realm: cut(realm) });
        }
        let service = challenge.get("service").map_or("", String::as_str);
        let scope = format!("repository:{}:pull", self.repository);
        let timeout = Some(self.left()?);
        let response = if let Login::Identity(token) = &self.login {
            let form = [
                ("grant_type", "refresh_token"),
                ("service", service),
                ("client_id", "plimsoll"),
                ("scope", &scope),
                ("refresh_token", token),
            ];
            agent.post(realm).config().timeout_global(timeout).build().send_form(form)
        } else {
            let mut request = agent.get(realm).query("service", service).query("scope", &scope);
            if let Some(basic) = basic(&self.login) {
                request = request.header(header::AUTHORIZATION, basic);
            }
            request.config().timeout_global(timeout).build().call()
        };
        let mut response = response.map_err(|error| self.failed(what, 0, error))?;
        match response.status().as_u16() {
            200 => {}
            status @ (400 | 401 | 403) => return Err(self.denied(status)),
            status => {
                return Err(RegistryError::Status { registry: self.registry.clone(), status, what: what.to_owned() });
            }
        }
        let bytes = self.body(&mut response, what, MAX_TOKEN)?;
        let token: Token =
            serde_json::from_slice(&bytes).map_err(|error| self.malformed("a token", &error.to_string()))?;
        token.token.or(token.access_token).ok_or_else(|| self.malformed("a token", "there is none in it"))
    }

    fn body(&self, response: &mut Response<Body>, what: &str, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let read = response.body_mut().with_config().limit(limit).read_to_vec();
        read.map_err(|error| self.failed(what, limit, error))
    }

    fn left(&self) -> Result<Duration, RegistryError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(self.slow()) } else { Ok(left) }
    }

    fn failed(&self, what: &str, limit: u64, error: ureq::Error) -> RegistryError {
        let registry = self.registry.clone();
        match error {
            ureq::Error::BodyExceedsLimit(_) => RegistryError::TooLarge { registry, what: what.to_owned(), limit },
            ureq::Error::Timeout(_) => self.slow(),
            error => RegistryError::Unreachable { registry, reason: error.to_string() },
        }
    }

    fn slow(&self) -> RegistryError {
        RegistryError::Slow { registry: self.registry.clone(), seconds: self.seconds }
    }

    fn denied(&self, status: u16) -> RegistryError {
        let hint = match self.login {
            Login::Anonymous => "no login for it is configured; name a docker `config.json`",
            _ => "the login that is configured was not accepted",
        };
        RegistryError::Denied { registry: self.registry.clone(), repository: self.repository.clone(), status, hint }
    }

    pub(crate) fn malformed(&self, what: &str, reason: &str) -> RegistryError {
        RegistryError::Malformed { registry: self.registry.clone(), what: what.to_owned(), reason: reason.to_owned() }
    }
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

fn basic(login: &Login) -> Option<String> {
    match login {
        Login::Password(name, password) => Some(format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))),
        Login::Anonymous | Login::Identity(_) => None,
    }
}

/// The system's certificate authorities and those of a file.
fn authorities(file: Option<&Path>) -> Result<Vec<Certificate<'static>>, RegistryError> {
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::debug!(%error, "a certificate authority of the system cannot be used");
    }
    let mut all: Vec<_> = system.certs.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    let Some(path) = file else { return Ok(all) };
    let failed = |source| RegistryError::File { path: path.to_owned(), source };
    let pem = std::fs::read(path).map_err(failed)?;
    let before = all.len();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => all.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(failed(std::io::Error::other(error))),
        }
    }
    if all.len() == before {
        return Err(failed(std::io::Error::other("it has no certificate in PEM")));
    }
    Ok(all)
}

/// `localhost`, `127.x.y.z` or `[::1]`, with or without a port.
fn is_loopback(registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => registry,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// `Link: </v2/...>; rel="next"`
fn next_page(response: &Response<Body>) -> Option<String> {
    let link = response.headers().get(header::LINK)?.to_str().ok()?;
    let (target, parameters) = link.strip_prefix('<')?.split_once('>')?;
    parameters.contains("next").then(|| target.to_owned())
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_loopback() {
        for yes in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000", "[::1]"] {
            assert!(is_loopback(yes), "{yes}");
        }
        for no in ["registry.example", "localhost.example:5000", "127.0.0.1.example", "10.0.0.1:5000", "[::2]:1", ""] {
            assert!(!is_loopback(no), "{no}");
        }
    }
}
