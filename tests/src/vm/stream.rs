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

/// How long a guest may take until it starts its command: one whose boot hangs need not be waited for any longer.
const BOOT: Duration = Duration::from_mins(4);
/// The line that says that the command is about to start; it is not part of its output.
const UP: &str = "plimsoll-up";

/// What a guest wrote.
#[derive(Default)]
pub(super) struct Streamed {
    /// Whether it got as far as its command.
    pub(super) up: bool,
    /// What that wrote.
    pub(super) text: String,
}

/// Shows each line that the guest's command writes after `prefix` until the guest ends, but those that begin with `hidden`;
/// answers all of them. A guest that does not get as far as its command in time is given up.
pub(super) fn drain(process: &mut Process, deadline: Duration, prefix: &str, hidden: Option<&str>) -> Result<Streamed> {
    let interrupted = interrupt_flag()?;
    let started = Instant::now();
    let output = process.output().context("the guest's output was taken already")?;
    let (sender, receiver) = sync_channel(LINES);
    thread::spawn(move || read_lines(output, &sender));
    let mut streamed = Streamed::default();
    loop {
        let patience = if streamed.up { deadline } else { deadline.min(BOOT) };
        match next(&receiver, started + patience, &interrupted)? {
            Next::Line(line) if line == UP => streamed.up = true,
            Next::Line(line) => {
                if hidden.is_none_or(|beginning| !line.starts_with(beginning)) {
                    show(prefix, &line)?;
                }
                streamed.text.push_str(&line);
                streamed.text.push('\n');
            }
            Next::Closed => break,
            Next::Late if streamed.up => bail!("the guest outlived its deadline and was killed"),
            Next::Late => return Ok(streamed),
        }
    }
    process.wait()?;
    Ok(streamed)
}

enum Next {
    Line(String),
    /// The guest has closed its output.
    Closed,
    Late,
}

fn next(lines: &Receiver<String>, end: Instant, interrupted: &AtomicBool) -> Result<Next> {
    loop {
        if interrupted.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        if Instant::now() >= end {
            return Ok(Next::Late);
        }
        match lines.recv_timeout(POLL) {
            Ok(line) => return Ok(Next::Line(line)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(Next::Closed),
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
