//! Shows a guest's output while it runs, and ends the guest when it must.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::ChildStdout,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::qemu::Process;

/// How often a silent guest's deadline and an interrupt are looked at.
const POLL: Duration = Duration::from_millis(100);
/// Lines in flight between the reader and the printer.
const LINES: usize = 1024;

/// Shows each line that the guest's command writes after `prefix` until the guest ends, but those that begin with `hidden`;
/// answers all of them.
pub(super) fn drain(process: &mut Process, deadline: Duration, prefix: &str, hidden: Option<&str>) -> Result<String> {
    let interrupted = interrupt_flag()?;
    let end = Instant::now() + deadline;
    let output = process.output().context("the guest's output was taken already")?;
    let (sender, receiver) = sync_channel(LINES);
    thread::spawn(move || read_lines(output, &sender));
    let mut text = String::new();
    while let Some(line) = next(&receiver, end, &interrupted)? {
        if hidden.is_none_or(|beginning| !line.starts_with(beginning)) {
            show(prefix, &line)?;
        }
        text.push_str(&line);
        text.push('\n');
    }
    process.wait()?;
    Ok(text)
}

/// The next line, or `None` when the guest has closed its output.
fn next(lines: &Receiver<String>, end: Instant, interrupted: &AtomicBool) -> Result<Option<String>> {
    loop {
        if interrupted.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        if Instant::now() >= end {
            bail!("the guest outlived its deadline and was killed");
        }
        match lines.recv_timeout(POLL) {
            Ok(line) => return Ok(Some(line)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
        }
    }
}

fn read_lines(output: ChildStdout, lines: &SyncSender<String>) {
    for line in BufReader::new(output).split(b'\n') {
        let Ok(line) = line else { return };
        let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
        if lines.send(line).is_err() {
            return;
        }
    }
}

fn show(prefix: &str, line: &str) -> Result<()> {
    if !prefix.is_empty() {
        writeln!(std::io::stdout().lock(), "{prefix}{line}").context("cannot write to standard output")?;
    }
    Ok(())
}

/// A flag that an interrupt sets, so that the guest's drop guard runs instead of this process dying at once.
fn interrupt_flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&flag)).context("cannot handle interrupts")?;
    }
    Ok(flag)
}
