//! `plimsoll audit export`: the collector's answer, byte for byte.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};

use super::Bar;
use crate::{collector::Place, output::replace_with};

/// How long the collector may take to begin.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a refusal that are read.
const REFUSAL_BYTES: u64 = 64 << 10;
/// How every whole export ends.
const LAST_LINE: &[u8] = b"{\"end\":";
/// More than the last line has.
const TAIL: usize = 128;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Only of this node.
    #[arg(long)]
    node: Option<String>,
    /// Where the events go.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    // Half an export says less than none.
    replace_with(&arguments.output, |draft| copy(arguments, draft))?;
    Ok(ExitCode::SUCCESS)
}

fn copy(arguments: &Arguments, file: &mut File) -> anyhow::Result<()> {
    let collector = arguments.place.collector.trim_end_matches('/');
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_connect(Some(PATIENCE))
        .timeout_recv_response(Some(PATIENCE))
        .http_status_as_error(false)
        .build()
        .into();
    let node = arguments.node.as_ref().map(|node| ("node", node.as_str()));
    let mut response = agent.get(format!("{collector}/audit/export")).query_pairs(node).call().with_context(|| {
        format!("cannot reach the collector at `{collector}`; is it running, and is --collector its `http` address?")
    })?;
    let status = response.status();
    if !status.is_success() {
        let answer = response.body_mut().with_config().limit(REFUSAL_BYTES).read_to_vec().unwrap_or_default();
        bail!(
            "the collector at `{collector}` refused the export ({status}): {}",
            crate::collector::explanation(&answer)
        );
    }
    let broke_off = || format!("the export of the collector at `{collector}` broke off; try again");
    let bar = Bar::new("{bytes} received, {bytes_per_sec}", 0)?;
    let (mut body, mut buffer, mut tail) = (response.into_body().into_reader(), vec![0; 256 << 10], Vec::new());
    loop {
        let length = body.read(&mut buffer).with_context(broke_off)?;
        let read = buffer.get(..length).unwrap_or_default();
        if read.is_empty() {
            break;
        }
        file.write_all(read).context("cannot write the export")?;
        tail.extend_from_slice(read);
        tail.drain(..tail.len().saturating_sub(TAIL));
        bar.add(length as u64);
    }
    bar.finish();
    let last = tail.strip_suffix(b"\n").and_then(|lines| lines.rsplit(|byte| *byte == b'\n').next());
    if !last.is_some_and(|line| line.starts_with(LAST_LINE)) {
        bail!("{}", broke_off());
    }
    Ok(())
}
