//! Whether guests run on KVM or are emulated. `/dev/kvm` proves nothing: nested ones may exist and hang, so a guest is tried.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};

use super::{Disks, Guest, KernelFiles};

/// How a guest's instructions are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// By the processor, through `/dev/kvm`.
    Kvm,
    /// By QEMU's emulator (TCG).
    Emulated,
}

impl Accelerator {
    /// QEMU's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Emulated => "tcg",
        }
    }

    /// What an earlier probe wrote to `file` on this boot of this machine.
    pub fn remembered(file: &Path) -> Option<Self> {
        let text = fs::read_to_string(file).ok()?;
        let (name, machine) = text.split_once('\n')?;
        let known = [Self::Kvm, Self::Emulated].into_iter().find(|accelerator| accelerator.name() == name)?;
        (machine == boot_id().ok()?).then_some(known)
    }

    /// Boots every kernel on KVM with `deadline` each, and remembers in `file` whether all of them came up.
    ///
    /// # Errors
    /// The answer cannot be written. A guest that does not boot is an answer.
    pub fn probe(kernels: &[KernelFiles], scratch: &Path, deadline: Duration, file: &Path) -> Result<Self> {
        let boots = |kernel: &KernelFiles| {
            let guest = Guest::new(kernel.clone(), Disks::default(), Self::Kvm, scratch);
            guest.deadline(deadline).prefix("").run(&["true"]).is_ok_and(|outcome| outcome.status == 0)
        };
        let works = Path::new("/dev/kvm").exists() && kernels.iter().all(boots);
        let answer = if works { Self::Kvm } else { Self::Emulated };
        let text = format!("{}\n{}", answer.name(), boot_id()?);
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(answer)
    }
}

fn boot_id() -> Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").context("cannot read the machine's boot id")
}
