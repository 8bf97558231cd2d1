use std::{fmt::Write as _, fs, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use plimsoll_rootfs::{Image, LayerCache};
use plimsoll_sbom::{Coverage, EvidenceClass, Gap, Inventory, Limits, Sha256};
use plimsoll_trust::{Allowlist, Content, Opened, SigningKey, Trust};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    allowlist::{OF_ANOTHER_IMAGE, is_of_another_image},
    image::index_with,
    print,
    source::{Documents, RegistryArguments, TrustArguments, image},
    verify::judge,
};
use crate::output::replace;

/// Bytes kept of layers' hashes.
const MAX_CACHE: u64 = 1 << 30;
/// Files with other content than declared that are named.
const SHOWN: usize = 20;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The image: REPOSITORY@sha256:..., or sha256:... together with --sbom.
    image: String,
    /// The image's unpacked root filesystem.
    #[arg(long, value_name = "DIR")]
    rootfs: PathBuf,
    /// The image's SBOM, bare or signed, instead of asking a registry.
    #[arg(long, value_name = "FILE", visible_alias = "file")]
    sbom: Option<PathBuf>,
    #[command(flatten)]
    trust: TrustArguments,
    #[command(flatten)]
    registry: RegistryArguments,
    /// Sign with this key: PKCS #8 in PEM, Ed25519 or ECDSA P-256.
    #[arg(long, value_name = "FILE")]
    signing_key: PathBuf,
    /// Counts up with every list for the image; nodes refuse lower ones than they have seen.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    list_version: u64,
    /// Where the signed allowlist goes.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Keep the hashes of the image's layers here: what was hashed before and did not change is not read again.
    #[arg(long, value_name = "DIR")]
    layer_cache: Option<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// What was compiled, as `--json` prints it.
#[derive(Serialize, JsonSchema)]
pub(super) struct Report {
    image: Sha256,
    sbom: Sha256,
    sbom_signer: Option<String>,
    version: u64,
    coverage: Coverage,
    /// SHA-256 of the list without its signature; the same for the same input.
    allowlist: Sha256,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let image = image(&arguments.image)?;
    let trust = arguments.trust.trust()?;
    let unusable = || format!("cannot use `{}`", arguments.signing_key.display());
    let pem = fs::read(&arguments.signing_key).with_context(unusable)?;
    let key = SigningKey::from_pem(&pem).with_context(unusable)?;
    let files: Vec<PathBuf> = arguments.sbom.iter().cloned().collect();
    let found = arguments.registry.documents(&image, &files)?;
    let Some((bytes, signer)) = choose(&trust, &found) else {
        eprintln!("plimsoll: no SBOM of {} is accepted", image.digest);
        return Ok(ExitCode::from(1));
    };
    let sbom = plimsoll_sbom::parse(&bytes, &Limits::default()).context("cannot use the SBOM")?;
    let cache = arguments.layer_cache.as_deref().map(|path| LayerCache::open(path, MAX_CACHE)).transpose()?;
    let rootfs = index_with(&arguments.rootfs, cache.as_ref())?;
    let inventory = plimsoll_sbom::inventory(&rootfs.listing, &sbom, &rootfs.databases);
    for finding in findings(&rootfs, &inventory) {
        eprintln!("plimsoll: {finding}");
    }
    if is_of_another_image(&inventory) {
        eprintln!("plimsoll: nothing is written: {OF_ANOTHER_IMAGE}");
        return Ok(ExitCode::from(1));
    }
    let list = Allowlist::of(&inventory, arguments.list_version, signer);
    let written = list.sign(image.digest, &key)?;
    replace(&arguments.output, &written)?;
    let report = Report {
        image: image.digest,
        sbom: list.sbom,
        sbom_signer: list.sbom_signer.clone(),
        version: list.version,
        coverage: inventory.coverage,
        allowlist: Sha256::of(&list.statement(image.digest)?),
    };
    print(&if arguments.json { serde_json::to_string_pretty(&report)? + "\n" } else { report.text()? })?;
    Ok(ExitCode::SUCCESS)
}

/// What whoever runs the pipeline should know of a list: what could not be read, and content that is not as declared.
fn findings(image: &Image, inventory: &Inventory) -> Vec<String> {
    let problems = image.problems.iter().map(|problem| super::printable(&problem.to_string()));
    let mismatches = inventory.files.iter().filter_map(|file| match &file.gap {
        Some(Gap::Mismatch { by, .. }) => Some(format!("{}: content is not what the {by} declares", file.path)),
        _ => None,
    });
    let mut all: Vec<String> = problems.collect();
    all.extend(mismatches.take(SHOWN));
    if let Some(more) = inventory.coverage.mismatch.checked_sub(SHOWN).filter(|more| *more > 0) {
        all.push(format!("{more} more files whose content is not as declared; `plimsoll sbom coverage` has all"));
    }
    all
}

/// The first SBOM that is accepted, and its signer; says of the others why not.
fn choose(trust: &Trust, found: &Documents) -> Option<(Vec<u8>, Option<String>)> {
    let mut refusals = Vec::new();
    for document in &found.all {
        match judge(trust, document, &found.subjects) {
            Ok(Opened { content: Content::Sbom(bytes), signer, .. }) => return Some((bytes, signer)),
            Ok(_) => refusals.push(format!("{}: an allowlist, not an SBOM", document.place)),
            Err(error) => refusals.push(format!("{}: {}", document.place, super::chain(&error))),
        }
    }
    for refusal in &refusals {
        eprintln!("plimsoll: {}", super::printable(refusal));
    }
    None
}

impl Report {
    fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        let signer = self.sbom_signer.as_deref().map_or("unsigned".to_owned(), |signer| format!("signed by {signer}"));
        writeln!(text, "allowlist {} version {} for {}", self.allowlist, self.version, self.image)?;
        writeln!(text, "from SBOM {}, {}", self.sbom, super::printable(&signer))?;
        for class in EvidenceClass::ALL.into_iter().rev() {
            writeln!(text, "{:>7} {class}", self.coverage.count(class))?;
        }
        writeln!(text, "{:>7} mismatch", self.coverage.mismatch)?;
        Ok(text)
    }
}
