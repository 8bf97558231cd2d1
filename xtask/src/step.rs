//! One line for each thing that is done, with how long it took; a spinner while it is going on, where there is a terminal.

use std::{
    io::IsTerminal as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// A step shorter than this is shown without its time.
const NOTABLE: Duration = Duration::from_millis(100);
/// How much of a failed command's output is shown, in lines.
const TAIL_LINES: usize = 60;

/// Something that is being done.
#[derive(Debug)]
pub(crate) struct Step {
    label: String,
    started: Instant,
    spinner: Option<ProgressBar>,
}

impl Step {
    /// Shows that `label` has begun: a spinner on a terminal, else a line.
    pub(crate) fn start(label: impl Into<String>) -> Self {
        let label = label.into();
        let spinner = std::io::stderr().is_terminal().then(|| spinner(&label));
        if spinner.is_none() {
            println!("{:>10}  {label} ...", "doing");
        }
        Self { label, started: Instant::now(), spinner }
    }

    /// Shows that it is done, as `verb` ("installed", "built", ...).
    pub(crate) fn done(self, verb: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
        println!("{verb:>10}  {}{}", self.label, took(self.started.elapsed()));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}

fn spinner(label: &str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(label.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{spinner:>10}  {msg} ({elapsed})") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(NOTABLE);
    spinner
}

/// Shows something that needed no doing.
pub(crate) fn found(label: &str) {
    println!("{:>10}  {label}", "found");
}

/// Announces a part whose output follows.
pub(crate) fn heading(text: &str) {
    println!("\n== {text}");
}

fn took(time: Duration) -> String {
    if time < NOTABLE { String::new() } else { format!("  ({:.1} s)", time.as_secs_f64()) }
}

/// Runs `command` silently; its output is shown only if it fails.
pub(crate) fn quietly(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// The standard output of `command`, which must succeed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let result = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    let stdout = String::from_utf8_lossy(&result.stdout).into_owned();
    if result.status.success() {
        return Ok(stdout);
    }
    let all = format!("{stdout}{}", String::from_utf8_lossy(&result.stderr));
    let lines: Vec<&str> = all.lines().collect();
    let tail: Vec<&str> = lines.iter().skip(lines.len().saturating_sub(TAIL_LINES)).copied().collect();
    bail!("{command:?} failed ({}):\n{}", result.status, tail.join("\n"));
}

/// Runs `command` with its output shown as it comes, and its time after it.
pub(crate) fn shown(label: &str, command: &mut Command) -> Result<()> {
    heading(label);
    let started = Instant::now();
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{label} failed ({status})");
    }
    println!("{:>10}  {label}{}", "done", took(started.elapsed()));
    Ok(())
}
