//! `plimsoll audit verify`: a file of `plimsoll audit export`, line by line.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use jiff::Timestamp;
use plimsoll_proof::export::{Broken, Cause, Coverage, Fault, Gap, LINE_BYTES, Report, Verifier};

use super::Bar;
use crate::output::{print, printable};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What `plimsoll audit export` wrote; `-` is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Authorities of the nodes' certificates, in PEM. Without them a signature proves only that all of it is by one signer.
    #[arg(long, value_name = "PEM")]
    trust_bundle: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let authorities = match &arguments.trust_bundle {
        Some(path) => plimsoll_identity::certificates(path)?,
        None => Vec::new(),
    };
    let trusted = !authorities.is_empty();
    let name = arguments.file.display();
    match check(&arguments.file, Verifier::new(authorities)).with_context(|| format!("cannot read `{name}`"))? {
        Ok(report) => {
            let sound = report.unexplained().next().is_none();
            print(&text(&report, trusted)?)?;
            Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Err(Broken { fault: fault @ (Fault::NoExport | Fault::Version(_)), .. }) => {
            Err(fault).with_context(|| format!("cannot read `{name}`"))
        }
        Err(broken) => {
            let reason = std::error::Error::source(&broken.fault).map_or(String::new(), |source| format!(": {source}"));
            print(&format!("broken: {name}, {}\n", printable(&format!("{broken}{reason}"))))?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn check(path: &Path, verifier: Verifier) -> io::Result<Result<Report, Broken>> {
    if path.as_os_str() == "-" {
        return lines(io::stdin().lock(), verifier, 0);
    }
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    lines(BufReader::with_capacity(1 << 20, file), verifier, length)
}

/// Reads no more of a line than a line may have.
fn lines(mut input: impl BufRead, mut verifier: Verifier, length: u64) -> io::Result<Result<Report, Broken>> {
    let bar = Bar::new("checked {bytes}/{total_bytes}, {bytes_per_sec}", length).map_err(io::Error::other)?;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = input.by_ref().take(LINE_BYTES as u64 + 2).read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        bar.add(read as u64);
        if let Err(broken) = verifier.line(&line) {
            bar.finish();
            return Ok(Err(broken));
        }
    }
    bar.finish();
    Ok(verifier.finish())
}

/// What is proven of each numbering, and what is not.
fn text(report: &Report, trusted: bool) -> anyhow::Result<String> {
    let mut text = String::new();
    for coverage in &report.numberings {
        let numbering = &coverage.numbering;
        let [node, boot, spool] =
            [&numbering.node, &numbering.boot_id, &numbering.spool_id].map(|name| printable(name));
        writeln!(text, "node {node}, boot {boot}, spool {spool}: {} events", coverage.events)?;
        proven(coverage, &mut text)?;
        if coverage.removed > 0 {
            writeln!(text, "  {} older ones were removed by retention", coverage.removed)?;
        }
        for Gap { first, last, cause } in &coverage.gaps {
            writeln!(text, "  {first} to {last} are missing: {}", words(*cause))?;
        }
    }
    for loss in report.losses.iter().filter(|loss| loss.count > 0) {
        writeln!(text, "node {} counted as lost: {} {}", printable(&loss.node), loss.count, printable(&loss.cause))?;
    }
    let sum = |count: fn(&Coverage) -> u64| report.numberings.iter().map(count).sum::<u64>();
    let (events, signed) = (sum(|coverage| coverage.events), sum(|coverage| coverage.signed));
    writeln!(text, "{events} events, {signed} of them signed by their nodes")?;
    if signed > 0 && !trusted {
        writeln!(text, "who vouches for the signers was not checked; name their authorities with --trust-bundle")?;
    }
    let missing = report.unexplained().count();
    writeln!(
        text,
        "{}",
        if missing == 0 { "nothing is wrong".to_owned() } else { format!("{missing} gaps are unexplained") }
    )?;
    Ok(text)
}

fn proven(coverage: &Coverage, text: &mut String) -> anyhow::Result<()> {
    let Some(newest) = &coverage.newest else {
        let chained = coverage.numbering.chained;
        let words = if chained {
            "by the chain alone: the node signed nothing, as without TLS"
        } else {
            "not at all: the agent kept no chain"
        };
        writeln!(text, "  proven {words}")?;
        return Ok(());
    };
    let time = Timestamp::from_nanosecond(newest.time_unix_ns.into())?;
    let id = printable(&newest.id);
    writeln!(
        text,
        "  {} signed, up to {} at {time:.0} by {id}; {} checkpoints",
        coverage.signed, newest.sequence, coverage.checkpoints
    )?;
    let rest = coverage.events - coverage.signed;
    if rest > 0 {
        writeln!(text, "  {rest} by the chain alone")?;
    }
    Ok(())
}

fn words(cause: Cause) -> &'static str {
    match cause {
        Cause::Retention => "removed by retention",
        Cause::SpoolCorrupt => "the node counted a stretch of its spool as lost",
        Cause::Missing => "they never came, and the node did not say why",
        Cause::Refused => "the collector refused them for good",
    }
}
