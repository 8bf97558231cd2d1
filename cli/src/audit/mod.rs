//! `plimsoll audit`: stored events in a file, and whether they are what the nodes sent.

mod export;
mod verify;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Write stored events to a file, as nodes sent them, with what proves it.
    ///
    /// Exit status: 0 the file is whole, 2 the command line is wrong, 3 the collector could not be reached, or broke off.
    Export(export::Arguments),
    /// Check such a file, without a collector: events, order, completeness, signatures. Names the first thing that is wrong.
    ///
    /// Exit status: 0 all is as the nodes sent it, 1 something is not, or is missing, 2 the command line is wrong, 3 a file
    /// could not be read.
    Verify(verify::Arguments),
}

pub(crate) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Export(arguments) => export::run(arguments),
        Command::Verify(arguments) => verify::run(arguments),
    }
}

/// How long something takes before a bar shows how far it is.
const PATIENCE: Duration = Duration::from_secs(2);

/// A bar of bytes on standard error that only long work shows.
struct Bar {
    bar: ProgressBar,
    started: Instant,
}

impl Bar {
    /// `template` is indicatif's.
    fn new(template: &str, bytes: u64) -> anyhow::Result<Self> {
        let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::hidden());
        bar.set_style(ProgressStyle::with_template(template)?);
        Ok(Self { bar, started: Instant::now() })
    }

    fn add(&self, bytes: u64) {
        if self.bar.is_hidden() && self.started.elapsed() >= PATIENCE {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.inc(bytes);
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
