//! Boots a Debian kernel under QEMU and runs one command in it.
//!
//! ```text
//! ttyS0  kernel console, kept in a file: oopses, and the command's status as one line that bears a random nonce
//! ttyS1  the command's standard input, output and error: streamed, or the terminal itself in an interactive guest
//! ```
//! The status goes through `/dev/kmsg`, since the kernel writes its console line by line: no output of the command can tear it,
//! and nothing the command prints can forge it.

mod accelerator;
mod console;
mod disks;
mod initramfs;
mod kernel;
mod qemu;
mod stream;

pub use accelerator::Accelerator;
pub use disks::Disks;
pub use kernel::{Kernel, KernelFiles, UnknownKernel};

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};

use console::Console;
use stream::Streamed;

/// How long a guest may run unless told otherwise.
const DEFAULT_DEADLINE: Duration = Duration::from_mins(5);
/// How often a guest is booted whose kernel does not get as far as the command.
const BOOTS: u32 = 3;
/// Memory of a guest unless told otherwise, in MiB.
const DEFAULT_MEMORY: u32 = 3072;

/// A guest to be: a kernel, disks, and how to run them. Nothing exists before [`Guest::run`], nothing is left after it.
#[derive(Debug, Clone)]
pub struct Guest {
    kernel: KernelFiles,
    disks: Disks,
    accelerator: Accelerator,
    scratch: PathBuf,
    lsm: Option<String>,
    icount: bool,
    memory: u32,
    deadline: Duration,
    prefix: String,
    hidden: Option<String>,
}

/// What came of a guest's command.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Exit status of the command; 128 + signal where a signal ended it.
    pub status: i32,
    /// Standard output and error of the command, in the order written. Empty for an interactive guest.
    pub output: String,
}

impl Guest {
    /// `scratch` is where the guest's temporary files go (removed when it ends).
    pub fn new(kernel: KernelFiles, disks: Disks, accelerator: Accelerator, scratch: impl Into<PathBuf>) -> Self {
        let prefix = format!("{} | ", kernel.name());
        Self {
            kernel,
            disks,
            accelerator,
            scratch: scratch.into(),
            lsm: None,
            icount: false,
            memory: DEFAULT_MEMORY,
            deadline: DEFAULT_DEADLINE,
            prefix,
            hidden: None,
        }
    }

    /// The kernel's `lsm=` list; `None` leaves the kernel's own, which has `bpf` in it.
    #[must_use]
    pub fn lsm(mut self, lsm: Option<&str>) -> Self {
        self.lsm = lsm.map(str::to_owned);
        self
    }

    /// Lets the guest's clock count instructions (one CPU, emulated): what it measures repeats exactly.
    #[must_use]
    pub fn icount(mut self, icount: bool) -> Self {
        self.icount = icount;
        self
    }

    /// Memory in MiB.
    #[must_use]
    pub fn memory(mut self, mebibytes: u32) -> Self {
        self.memory = mebibytes;
        self
    }

    /// How long the guest may run, boot included, before it is killed.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// What each line of the guest's output is shown with; an empty one shows nothing.
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// Lines that begin with this are in the outcome only: they are for a program.
    #[must_use]
    pub fn hidden(mut self, beginning: &str) -> Self {
        self.hidden = Some(beginning.to_owned());
        self
    }

    /// Boots, runs `command` and powers off; its output is streamed to standard output.
    ///
    /// # Errors
    /// The guest does not boot, outlives its deadline, is interrupted, ends without a status, or its kernel complains
    /// (oops, panic, warning), whatever the command's status is.
    pub fn run(&self, command: &[&str]) -> Result<Outcome> {
        let most = if self.accelerator == Accelerator::Emulated { BOOTS } else { 1 };
        let mut boots = 1;
        loop {
            let (machine, console, streamed) = self.boot(command)?;
            // An emulator of several CPUs was seen to trip over code that the kernel patches while it boots, and to hang. Nothing
            // of what is tested has run by then.
            if streamed.up || boots == most {
                return Self::settle(&machine, &console, streamed.text);
            }
            eprintln!("the guest did not get as far as its command, it boots again\n{}", console.tail());
            boots += 1;
        }
    }

    fn boot(&self, command: &[&str]) -> Result<(Machine, Console, Streamed)> {
        let machine = self.prepare(command, false)?;
        let mut process = qemu::spawn(&machine.line, false)?;
        let streamed = stream::drain(&mut process, self.deadline, &self.prefix, self.hidden.as_deref());
        drop(process);
        let console = Console::read(&machine.console)?;
        let streamed = streamed.map_err(|error| anyhow!("{error:#}\n{}", console.tail()))?;
        Ok((machine, console, streamed))
    }

    /// Boots and gives the terminal to `command`, or to a shell where it is empty. No deadline: a person is at it.
    ///
    /// # Errors
    /// As [`Guest::run`].
    pub fn interact(&self, command: &[&str]) -> Result<Outcome> {
        let machine = self.prepare(command, true)?;
        let mut process = qemu::spawn(&machine.line, true)?;
        process.wait()?;
        let console = Console::read(&machine.console)?;
        Self::settle(&machine, &console, String::new())
    }

    fn prepare(&self, command: &[&str], interactive: bool) -> Result<Machine> {
        fs::create_dir_all(&self.scratch).with_context(|| format!("cannot create {}", self.scratch.display()))?;
        let directory = tempfile::Builder::new().prefix("guest-").tempdir_in(&self.scratch)?;
        let nonce = format!("plimsoll-status-{}", directory.path().file_name().unwrap_or_default().to_string_lossy());
        let initramfs = directory.path().join("initramfs");
        fs::write(&initramfs, initramfs::build(&self.kernel, command, &nonce, interactive)?)?;
        let console = directory.path().join("console");
        let line = qemu::CommandLine {
            kernel: self.kernel.image(),
            initramfs,
            console: console.clone(),
            temporary: directory.path().to_owned(),
            disks: self.disks.clone(),
            accelerator: if self.icount { Accelerator::Emulated } else { self.accelerator },
            lsm: self.lsm.clone(),
            icount: self.icount,
            memory: self.memory,
        };
        Ok(Machine { _directory: directory, line, console, nonce })
    }

    fn settle(machine: &Machine, console: &Console, output: String) -> Result<Outcome> {
        if let Some(complaint) = console.complaint() {
            bail!("the guest's kernel complained: {complaint}\n{}", console.tail());
        }
        let Some(status) = console.status(&machine.nonce) else {
            bail!("the guest ended without a status of its command\n{}", console.tail());
        };
        Ok(Outcome { status, output })
    }
}

/// What one run of a guest holds on disk; gone when it is dropped.
struct Machine {
    _directory: tempfile::TempDir,
    line: qemu::CommandLine,
    console: PathBuf,
    nonce: String,
}
