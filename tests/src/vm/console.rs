//! What a guest's kernel said.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

/// How much of the console an error shows, in lines.
const TAIL_LINES: usize = 40;
/// What a kernel prints when something is wrong with it, even if it goes on.
const COMPLAINTS: [&str; 7] = [
    "Kernel panic",
    "Oops",
    "BUG:",
    "WARNING:",
    "general protection fault",
    "------------[ cut here ]------------",
    "invoked oom-killer",
];

/// The text of a kernel's console.
#[derive(Debug)]
pub(super) struct Console(String);

impl Console {
    /// The console that QEMU wrote to `file`; empty if QEMU never opened it.
    pub(super) fn read(file: &Path) -> Result<Self> {
        match fs::read(file) {
            Ok(bytes) => Ok(Self(String::from_utf8_lossy(&bytes).replace('\r', ""))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self(String::new())),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    /// The first line in which the kernel reports a fault of its own.
    pub(super) fn complaint(&self) -> Option<&str> {
        self.0.lines().find(|line| COMPLAINTS.iter().any(|complaint| line.contains(complaint)))
    }

    /// The status in the line that bears `nonce`.
    pub(super) fn status(&self, nonce: &str) -> Option<i32> {
        let after = |line: &'_ str| line.split_once(nonce).and_then(|(_, rest)| rest.trim().parse().ok());
        self.0.lines().find_map(after)
    }

    /// The last lines, indented.
    pub(super) fn tail(&self) -> String {
        let lines: Vec<&str> = self.0.lines().collect();
        let shown = lines.iter().skip(lines.len().saturating_sub(TAIL_LINES));
        let text = shown.map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n");
        format!("the guest's console ends with:\n{text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_only_beside_its_nonce() {
        let console = Console("[1.0] boot\n[2.0] other-7 3\n[2.1] nonce-7 42\n".into());
        assert_eq!(console.status("nonce-7"), Some(42));
        assert_eq!(console.status("nonce-8"), None);
    }

    #[test]
    fn a_status_that_was_cut_off_is_none() {
        assert_eq!(Console("[2.1] nonce-7".into()).status("nonce-7"), None);
    }

    #[test]
    fn warnings_oopses_and_panics_are_complaints() {
        for line in [
            "[    3.1] WARNING: CPU: 0 PID: 1 at kernel/bpf/verifier.c:1 f+0x1/0x2",
            "[    3.1] Kernel panic - not syncing: Attempted to kill init!",
            "[    3.1] Oops: 0000 [#1] PREEMPT SMP",
            "[    3.1] BUG: kernel NULL pointer dereference, address: 0",
        ] {
            assert_eq!(Console(format!("fine\n{line}\nfine\n")).complaint(), Some(line));
        }
        assert_eq!(Console("[1.0] loading out-of-tree module\n".into()).complaint(), None);
    }
}
