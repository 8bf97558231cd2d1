//! Formats of executables that a process registers with the kernel: `binfmt_misc`.

use std::{fs, path::Path};

use anyhow::{Context as _, ensure};

use crate::{Attempt, execute, wrapper};

const NAME: &str = "plimsoll-actor";
const MOUNT: &str = "/proc/sys/fs/binfmt_misc";
/// Where an ELF file has the address of its first instruction, which tells one program from others.
const ENTRY: std::ops::Range<usize> = 24..32;

/// Has `interpreter` executed whenever `program` is. `flags` are those of the registration.
pub(crate) fn registered(flags: &str, interpreter: &str, program: &str) -> Attempt {
    let content = fs::read(program).with_context(|| format!("cannot read `{program}`"))?;
    let entry = content.get(ENTRY).context("not an ELF file")?;
    let magic = entry.iter().fold(String::new(), |magic, byte| magic + &format!("\\x{byte:02x}"));
    wrapper::enter_mount_namespace(&format!("mount -t binfmt_misc none {MOUNT}"))?;
    let line = format!(":{NAME}:M:{}:{magic}::{interpreter}:{flags}", ENTRY.start);
    fs::write(Path::new(MOUNT).join("register"), line).context("cannot register")?;
    let attempt = execute::path(program, &[]);
    // It holds for the whole machine: it must not outlive the attempt.
    fs::write(Path::new(MOUNT).join(NAME), "-1").context("cannot remove the registration")?;
    ensure!(!Path::new(MOUNT).join(NAME).exists(), "the registration is still there");
    attempt
}
