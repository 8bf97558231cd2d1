//! The first file system of a guest: a static busybox, the kernel's modules, and two scripts. Written as a `newc` archive here,
//! which takes a page of code, so that a change of either script needs no tool and no rebuild of a disk.

use std::fs;

use anyhow::{Context as _, Result};

use super::KernelFiles;

const BUSYBOX: &str = "/bin/busybox";
const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;

/// The archive's bytes. `/init` mounts what there is and hands over to `/plimsoll/start`, which runs `command`.
pub(super) fn build(kernel: &KernelFiles, command: &[&str], nonce: &str, interactive: bool) -> Result<Vec<u8>> {
    let busybox = fs::read(BUSYBOX).with_context(|| format!("cannot read {BUSYBOX}: run `cargo xtask setup`"))?;
    let mut archive = Archive::default();
    for directory in ["bin", "dev", "proc", "sys", "modules", "newroot", "plimsoll", "run", "tmp"] {
        archive.add(directory, DIRECTORY, &[])?;
    }
    archive.add("bin/busybox", PROGRAM, &busybox)?;
    archive.add("init", PROGRAM, include_bytes!("init.sh"))?;
    archive.add("plimsoll/start", PROGRAM, include_bytes!("start.sh"))?;
    archive.add("plimsoll/command", FILE, quoted(command).as_bytes())?;
    archive.add("plimsoll/nonce", FILE, nonce.as_bytes())?;
    if interactive {
        archive.add("plimsoll/interactive", FILE, &[])?;
    }
    for (name, bytes) in kernel.modules()? {
        archive.add(&format!("modules/{name}"), FILE, &bytes)?;
    }
    archive.finish()
}

/// `command` as a line of shell.
fn quoted(command: &[&str]) -> String {
    let words: Vec<String> = command.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
    words.join(" ")
}

/// A cpio archive in the format that kernels unpack (Documentation/driver-api/early-userspace/buffer-format.rst).
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn add(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.entries += 1;
        let size = u32::try_from(content.len()).with_context(|| format!("{path} is too big for an initramfs"))?;
        let name_size = u32::try_from(path.len() + 1).context("a path is too long for an initramfs")?;
        let links = if mode == DIRECTORY { 2 } else { 1 };
        let fields = [self.entries, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Result<Vec<u8>> {
        self.add("TRAILER!!!", 0, &[])?;
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(quoted(&["sh", "-c", "echo 'a b' $x"]), r"'sh' '-c' 'echo '\''a b'\'' $x'");
        assert_eq!(quoted(&[]), "");
    }

    #[test]
    fn entries_are_aligned_to_four_bytes() {
        let mut archive = Archive::default();
        archive.add("a", FILE, b"xyz").unwrap();
        // A header is 110 bytes; with `a\0` it ends at 112.
        assert_eq!(archive.bytes.len(), 116);
        assert_eq!(&archive.bytes[112..], b"xyz\0");
    }
}
