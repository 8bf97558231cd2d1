use std::{fmt::Write as _, fs, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use plimsoll_sbom::{Limits, Sha256};
use plimsoll_trust::{Content, Memory, MemoryError, Opened, Trust, TrustError};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    print, printable,
    source::{Attached, RegistryArguments, TrustArguments, image},
};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The image: REPOSITORY@sha256:..., or sha256:... together with --file.
    image: String,
    /// Take this document instead of asking a registry; may be given several times.
    #[arg(long, value_name = "FILE", visible_alias = "sbom")]
    file: Vec<PathBuf>,
    #[command(flatten)]
    trust: TrustArguments,
    #[command(flatten)]
    registry: RegistryArguments,
    /// Remember the versions of compiled allowlists here, and refuse lower ones than were accepted before.
    #[arg(long, value_name = "FILE")]
    remember: Option<PathBuf>,
    /// Write the SBOM that was accepted here.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// What every document is worth, as `--json` prints it.
#[derive(Serialize, JsonSchema)]
pub(super) struct Report {
    image: Sha256,
    from: String,
    /// Whether a document was accepted.
    accepted: bool,
    documents: Vec<Line>,
}

#[derive(Serialize, JsonSchema)]
struct Line {
    place: String,
    digest: Sha256,
    /// `sbom` or `allowlist`, if it could be opened.
    content: Option<&'static str>,
    signer: Option<String>,
    subject: Option<Sha256>,
    /// Name of the failure, as in docs/trust.md.
    failure: Option<&'static str>,
    /// The failure in words.
    reason: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let image = image(&arguments.image)?;
    let trust = arguments.trust.trust()?;
    let found = arguments.registry.documents(&image, &arguments.file)?;
    let mut memory = arguments.remember.as_deref().map(Memory::open).transpose()?;
    let mut outcomes = Vec::new();
    for one in &found.all {
        let outcome = judge(&trust, one, &found.subjects).map_err(Refusal::Trust);
        outcomes.push((one, outcome.and_then(|opened| not_rolled_back(opened, image.digest, memory.as_mut()))));
    }
    let accepted = outcomes.iter().find_map(|(_, outcome)| outcome.as_ref().ok());
    if let (Some(path), Some(Opened { content: Content::Sbom(bytes), .. })) = (&arguments.output, accepted) {
        fs::write(path, bytes).with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    let report = Report {
        image: image.digest,
        from: found.from,
        accepted: accepted.is_some(),
        documents: outcomes.iter().map(|(one, outcome)| line(one, outcome)).collect(),
    };
    print(&if arguments.json { serde_json::to_string_pretty(&report)? + "\n" } else { report.text()? })?;
    Ok(if report.accepted { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Signed by whom it must be, about the image, and an SBOM that can be read.
pub(super) fn judge(trust: &Trust, document: &Attached, image: &[Sha256]) -> Result<Opened, TrustError> {
    let opened = trust.open(document.candidate(), image)?;
    if trust.asks_for_signatures() && opened.signer.is_none() {
        return Err(TrustError::Unsigned { asked: trust.asked() });
    }
    if let Content::Sbom(bytes) = &opened.content {
        plimsoll_sbom::parse(bytes, &Limits::default())
            .map_err(|error| TrustError::Malformed { what: "SBOM", reason: error.to_string() })?;
    }
    Ok(opened)
}

/// Why a document is not accepted.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Trust(TrustError),
    #[error(transparent)]
    Version(MemoryError),
}

impl Refusal {
    fn name(&self) -> &'static str {
        match self {
            Self::Trust(error) => error.name(),
            Self::Version(error) => error.name(),
        }
    }
}

fn not_rolled_back(opened: Opened, image: Sha256, memory: Option<&mut Memory>) -> Result<Opened, Refusal> {
    if let (Content::Allowlist(list), Some(memory)) = (&opened.content, memory) {
        list.remember(image, memory).map_err(Refusal::Version)?;
    }
    Ok(opened)
}

fn line(document: &Attached, outcome: &Result<Opened, Refusal>) -> Line {
    let opened = outcome.as_ref().ok();
    Line {
        place: document.place.clone(),
        digest: document.digest,
        content: opened.map(|opened| match opened.content {
            Content::Sbom(_) => "sbom",
            Content::Allowlist(_) => "allowlist",
        }),
        signer: opened.and_then(|opened| opened.signer.clone()),
        subject: opened.and_then(|opened| opened.subject),
        failure: outcome.as_ref().err().map(Refusal::name),
        reason: outcome.as_ref().err().map(|error| super::chain(error)),
    }
}

impl Report {
    fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        writeln!(text, "{} documents for {} from {}", self.documents.len(), self.image, printable(&self.from))?;
        for line in &self.documents {
            let digest: String = line.digest.hex().chars().take(12).collect();
            write!(text, "  {:<16}  {digest}  ", printable(&line.place))?;
            match (&line.reason, &line.signer) {
                (Some(reason), _) => writeln!(text, "refused: {}", printable(reason))?,
                (None, Some(signer)) => {
                    writeln!(text, "accepted: {} signed by {}", line.content.unwrap_or("-"), printable(signer))?;
                }
                (None, None) => writeln!(
                    text,
                    "accepted: {}, whoever wrote it, since no --key or --identity was given",
                    line.content.unwrap_or("-")
                )?,
            }
        }
        if !self.accepted {
            writeln!(text, "none is accepted")?;
        }
        Ok(text)
    }
}
