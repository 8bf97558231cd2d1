//! QEMU's command line, and its process, which never outlives this one.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process_group, set_parent_process_death_signal};

use super::{Accelerator, Disks};

const PROGRAM: &str = "qemu-system-x86_64";

/// Everything that QEMU is told.
#[derive(Debug)]
pub(super) struct CommandLine {
    pub(super) kernel: PathBuf,
    pub(super) initramfs: PathBuf,
    /// File that the kernel's console goes to.
    pub(super) console: PathBuf,
    /// Where QEMU keeps what guests write to their disks.
    pub(super) temporary: PathBuf,
    pub(super) disks: Disks,
    pub(super) accelerator: Accelerator,
    pub(super) lsm: Option<String>,
    pub(super) icount: bool,
    /// MiB.
    pub(super) memory: u32,
}

impl CommandLine {
    fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |name: &str, value: OsString| arguments.extend([OsString::from(name), value]);
        // Emulated processors with a thread each were seen to run code that another of them had just patched away (`Oops: int3`).
        let accelerator = match self.accelerator {
            Accelerator::Kvm => Accelerator::Kvm.name(),
            Accelerator::Emulated => "tcg,thread=single",
        };
        add("-accel", accelerator.into());
        let cpu = if self.accelerator == Accelerator::Kvm { "host" } else { "max" };
        add("-cpu", cpu.into());
        add("-smp", if self.icount { "1" } else { "2" }.into());
        if self.icount {
            // An idle guest's clock jumps to its next timer instead of waiting for it in real time.
            add("-icount", "shift=0,sleep=off".into());
        }
        add("-m", self.memory.to_string().into());
        add("-kernel", self.kernel.clone().into());
        add("-initrd", self.initramfs.clone().into());
        add("-append", self.kernel_parameters().into());
        add("-display", "none".into());
        add("-monitor", "none".into());
        add("-nic", "none".into());
        add("-serial", with_path("file:", &self.console));
        // Without `signal=off` a terminal's Ctrl-C would end QEMU rather than reach the guest.
        add("-chardev", "stdio,id=command,signal=off".into());
        add("-serial", "chardev:command".into());
        for (serial, file, writable) in self.disks.attached() {
            let access = if writable { "snapshot=on" } else { "readonly=on" };
            add("-drive", with_path(&format!("if=none,id={serial},format=raw,{access},file="), file));
            add("-device", format!("virtio-blk-pci,drive={serial},serial={serial}").into());
        }
        arguments.extend(["-nodefaults", "-no-user-config", "-no-reboot"].map(OsString::from));
        arguments
    }

    /// `loglevel=5` lets warnings through and no less. The watchdogs stay off: on a busy machine an emulated CPU is late without
    /// any fault of the kernel, and the guest's own deadline catches one that hangs.
    fn kernel_parameters(&self) -> String {
        let mut parameters = String::from(
            "console=ttyS0 loglevel=5 printk.devkmsg=on panic=-1 oops=panic nowatchdog rcupdate.rcu_cpu_stall_suppress=1",
        );
        for (serial, ..) in self.disks.attached() {
            parameters.push_str(" plimsoll_");
            parameters.push_str(serial);
        }
        if let Some(lsm) = &self.lsm {
            parameters.push_str(" lsm=");
            parameters.push_str(lsm);
        }
        parameters
    }
}

fn with_path(option: &str, path: &Path) -> OsString {
    let mut text = OsString::from(option);
    text.push(path);
    text
}

/// A running QEMU in a process group of its own; killed when dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
}

/// Starts QEMU. An interactive one has this process's terminal; else its output is for [`Process::output`].
pub(super) fn spawn(line: &CommandLine, interactive: bool) -> Result<Process> {
    let mut command = Command::new(PROGRAM);
    command.args(line.arguments()).env("TMPDIR", &line.temporary);
    if !interactive {
        // In a background group a read from the terminal would stop QEMU, so an interactive one stays in ours.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped());
    }
    let die_with_parent = || set_parent_process_death_signal(Some(Signal::KILL)).map_err(std::io::Error::from);
    // SAFETY: the closure makes one system call (prctl) and touches no memory, so it is sound between fork and exec.
    unsafe { command.pre_exec(die_with_parent) };
    let child = command.spawn().with_context(|| format!("cannot start {PROGRAM}: run `cargo xtask setup`"))?;
    Ok(Process { child })
}

impl Process {
    /// The guest's command's output; `None` the second time.
    pub(super) fn output(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Waits for the guest to power off. Its command's status is not QEMU's.
    pub(super) fn wait(&mut self) -> Result<()> {
        let status = self.child.wait().context("cannot wait for QEMU")?;
        anyhow::ensure!(status.success(), "QEMU failed: {status}");
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let group = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        // An interactive QEMU leads no group.
        let killed = group.map_err(std::io::Error::from).or_else(|_no_such_group| self.child.kill());
        if let Err(error) = killed.and_then(|()| self.child.wait().map(drop)) {
            eprintln!("cannot end QEMU (process {}): {error}", self.child.id());
        }
    }
}
