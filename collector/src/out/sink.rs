//! Where an output's events go, and what became of them.

use std::{io, path::PathBuf, time::Duration};

use plimsoll_identity::FileError;
use tokio::{fs::OpenOptions, io::AsyncWriteExt as _};

use super::{cef, http::Http, ocsf, otlp::Otlp, syslog::Syslog, webhook::Webhook};
use crate::{config::outputs::Output, store::Stored};

/// Characters kept of what a receiver says.
const EXCERPT: usize = 300;

/// Why a sink cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("its TLS cannot be set up")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("cannot read its secret `{path}`")]
    Secret {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{path}` needs a secret in each line: `whsec_` and 24 to 64 bytes in Base64")]
    SecretForm { path: PathBuf },
    #[error("it has no kind")]
    Kind,
}

/// Why events were not taken.
#[derive(Debug)]
pub(super) enum Failure {
    /// Another time they may be; not before `after`.
    Retry { after: Option<Duration>, error: String },
    /// They never will be.
    Refused { error: String },
}

impl Failure {
    pub(super) fn retry(error: &(impl std::error::Error + ?Sized)) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Self::Retry { after: None, error: excerpt(&text) }
    }
}

/// What a receiver said, fit for a log and for JSON: short, and without control characters.
pub(super) fn excerpt(text: &str) -> String {
    text.trim().chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(EXCERPT).collect()
}

/// Where the events go.
pub(super) enum Sink {
    Webhook(Webhook),
    OcsfFile(PathBuf),
    OcsfHttp(Http),
    Cef(Syslog),
    Otlp(Otlp),
}

impl Sink {
    pub(super) fn new(name: &str, output: &Output) -> Result<Self, SinkError> {
        if let Some(webhook) = &output.webhook {
            return Ok(Self::Webhook(Webhook::new(name, webhook)?));
        }
        if let Some(ocsf) = &output.ocsf {
            return Ok(match (&ocsf.file, &ocsf.url) {
                (Some(file), _) => Self::OcsfFile(file.clone()),
                (None, Some(url)) => Self::OcsfHttp(Http::new(url, ocsf.token.clone(), ocsf.ca.as_deref())?),
                (None, None) => return Err(SinkError::Kind),
            });
        }
        if let Some(cef) = &output.cef {
            return Ok(Self::Cef(Syslog::new(cef)?));
        }
        let otlp = output.otlp.as_ref().ok_or(SinkError::Kind)?;
        Ok(Self::Otlp(Otlp::new(otlp)?))
    }

    /// Delivers events, in their order. Without an error the receiver has all of them.
    pub(super) async fn send(&mut self, events: &[Stored]) -> Result<(), Failure> {
        match self {
            Self::Webhook(webhook) => webhook.send(events).await,
            Self::OcsfFile(path) => append(path, &ocsf::lines(events)).await.map_err(|error| Failure::retry(&error)),
            Self::OcsfHttp(http) => {
                http.post(ocsf::lines(events), &[("content-type", ocsf::CONTENT_TYPE)]).await.map(drop)
            }
            Self::Cef(syslog) => syslog.send(&cef::messages(events)).await,
            Self::Otlp(otlp) => otlp.send(events).await,
        }
    }
}

/// Puts whole lines at the end of a file, on the disk before it returns. A torn line that a power cut left is ended first.
async fn append(path: &PathBuf, lines: &[u8]) -> io::Result<()> {
    use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
    let mut file = OpenOptions::new().create(true).read(true).append(true).mode(0o640).open(path).await?;
    if file.metadata().await?.len() > 0 {
        file.seek(io::SeekFrom::End(-1)).await?;
        if file.read_u8().await? != b'\n' {
            file.write_all(b"\n").await?;
        }
    }
    file.write_all(lines).await?;
    file.sync_data().await
}
