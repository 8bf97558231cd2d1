//! `plimsoll policy bundle`: policies signed together, with a version and an end.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use plimsoll_policy::{Limits, duplicate_names, parse_all};
use plimsoll_trust::{BundledPolicy, Memory, PolicyBundle, Proof, PublicKey, Signer, SigningKey};
use serde::Serialize;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Check policies, and sign them together.
    ///
    /// Nodes that take bundles refuse a version lower than one they had, other content under the version they have, and a
    /// bundle whose time is over. Exit status: 1 if a policy is wrong.
    Sign(SignArguments),
    /// Say who signed a bundle, and what is in it.
    ///
    /// Exit status: 0 if nodes with these keys would take it, 1 if not.
    Verify(VerifyArguments),
}

#[derive(clap::Args)]
pub(crate) struct SignArguments {
    /// Policy documents.
    #[arg(required = true, value_name = "FILE")]
    paths: Vec<PathBuf>,
    /// What the bundle is called; versions of one name are compared.
    #[arg(long)]
    name: String,
    /// Higher than that of the bundle before.
    #[arg(long, value_name = "NUMBER")]
    bundle_version: u64,
    /// When its time is over: `2027-01-31T00:00:00Z`, or days from now: `90d`.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    expires: Timestamp,
    /// PKCS #8 in PEM, Ed25519 or ECDSA P-256; `openssl genpkey -algorithm ed25519` makes one.
    #[arg(long, value_name = "FILE")]
    signing_key: PathBuf,
    /// Where the bundle goes; nodes read files named `*.bundle.json`.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

#[derive(clap::Args)]
pub(crate) struct VerifyArguments {
    /// The bundle.
    file: PathBuf,
    /// Public key in PEM; may be given several times.
    #[arg(long, required = true, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Remember versions here, and refuse lower ones, as a node does.
    #[arg(long, value_name = "FILE")]
    remember: Option<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// A bundle that is accepted, as `--json` prints it.
#[derive(Serialize)]
struct Report {
    name: String,
    version: u64,
    expires: Timestamp,
    signer: String,
    policies: Vec<String>,
}

pub(super) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Sign(arguments) => sign(arguments),
        Command::Verify(arguments) => verify(arguments),
    }
}

fn sign(arguments: &SignArguments) -> anyhow::Result<ExitCode> {
    let key = fs::read(&arguments.signing_key)
        .map_err(anyhow::Error::from)
        .and_then(|pem| Ok(SigningKey::from_pem(&pem)?))
        .with_context(|| format!("cannot use `{}`", arguments.signing_key.display()))?;
    let (mut policies, mut parsed, mut wrong) = (Vec::new(), Vec::new(), false);
    for path in &arguments.paths {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        match parse_all(&path.display().to_string(), text.as_bytes(), &Limits::default()) {
            Ok(found) => parsed.extend(found),
            Err(problems) => {
                eprintln!("{problems}");
                wrong = true;
            }
        }
        let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        policies.push(BundledPolicy { file, text });
    }
    for problem in duplicate_names(&parsed) {
        eprintln!("{problem}");
        wrong = true;
    }
    if wrong {
        return Ok(ExitCode::from(1));
    }
    ensure!(arguments.expires > Timestamp::now(), "`--expires {}` is over already", arguments.expires);
    let bundle = PolicyBundle {
        name: arguments.name.clone(),
        version: arguments.bundle_version,
        expires: arguments.expires,
        policies,
    };
    let written = bundle.sign(&key)?;
    fs::write(&arguments.output, written).with_context(|| format!("cannot write `{}`", arguments.output.display()))?;
    println!("{} version {} with {} policies, until {}", bundle.name, bundle.version, parsed.len(), bundle.expires);
    Ok(ExitCode::SUCCESS)
}

fn verify(arguments: &VerifyArguments) -> anyhow::Result<ExitCode> {
    let signers = arguments.key.iter().map(|path| signer(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let bytes = fs::read(&arguments.file).with_context(|| format!("cannot read `{}`", arguments.file.display()))?;
    let mut memory = arguments.remember.as_deref().map(Memory::open).transpose()?;
    match accepted(&bytes, &signers, memory.as_mut()) {
        Ok(report) if arguments.json => println!("{}", serde_json::to_string_pretty(&report)?),
        Ok(report) => {
            println!(
                "{} version {} until {}, signed by {}",
                report.name, report.version, report.expires, report.signer
            );
            report.policies.iter().for_each(|name| println!("  {name}"));
        }
        Err(error) => {
            eprintln!("plimsoll: {}: {error:#}", arguments.file.display());
            return Ok(ExitCode::from(1));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Everything a node asks of a bundle that it does not have yet.
fn accepted(bytes: &[u8], signers: &[Signer], memory: Option<&mut Memory>) -> anyhow::Result<Report> {
    let (bundle, signer) = PolicyBundle::open(bytes, signers)?;
    bundle.check_expiry(Timestamp::now())?;
    let mut policies = Vec::new();
    for policy in &bundle.policies {
        let found = parse_all(&policy.file, policy.text.as_bytes(), &Limits::default())?;
        policies.extend(found.into_iter().map(|policy| policy.name));
    }
    if let Some(memory) = memory {
        memory.accept(&format!("policy bundle {}", bundle.name), bundle.version, bundle.digest()?)?;
    }
    let PolicyBundle { name, version, expires, .. } = bundle;
    Ok(Report { name, version, expires, signer, policies })
}

fn signer(path: &Path) -> anyhow::Result<Signer> {
    let unusable = || format!("cannot use `{}`", path.display());
    let key = PublicKey::from_pem(&fs::read_to_string(path).with_context(unusable)?).with_context(unusable)?;
    let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Ok(Signer { name, proof: Proof::Key(key) })
}

fn moment(text: &str) -> Result<Timestamp, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
    match days {
        Some(days) => {
            let later = Timestamp::now().checked_add(Duration::from_secs(days.saturating_mul(86_400)));
            later.map_err(|error| error.to_string())
        }
        None => text.parse().map_err(|_unread| "write `2027-01-31T00:00:00Z`, or days from now as `90d`".to_owned()),
    }
}
