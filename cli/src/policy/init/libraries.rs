//! Where the image's dynamic linker looks for libraries: ld.so(8) of glibc, and musl's.

use object::elf;
use plimsoll_sbom::{Node, display_path};

use super::{
    elf::{Machine, Object},
    root::Root,
};

/// Files that `ld.so.conf` includes, bytes of each, and includes inside each other.
const MAX_INCLUDES: usize = 256;
const MAX_CONFIG: u64 = 64 << 10;
const MAX_NESTED: usize = 8;

/// What is the same for all programs of an image.
pub(super) struct Search {
    /// `LD_LIBRARY_PATH`, as the image sets it.
    environment: Vec<u8>,
    /// Directories of `ld.so.conf`.
    configured: Vec<Vec<u8>>,
    /// What could not be read.
    pub(super) problems: Vec<String>,
}

/// A library that was asked for, and who loaded whoever asks.
pub(super) struct Asking<'a> {
    /// The object that asks, then the one that loaded it, up to the program; with the directory each was found in.
    pub(super) chain: Vec<(&'a Object, &'a [u8])>,
    pub(super) machine: Machine,
    /// The architecture's name in musl's dynamic linker's; nothing for glibc.
    pub(super) musl: Option<&'a [u8]>,
}

impl Search {
    pub(super) fn new(root: &mut Root<'_>, environment: &[u8]) -> anyhow::Result<Self> {
        let mut new = Self { environment: environment.to_vec(), configured: Vec::new(), problems: Vec::new() };
        let mut left = MAX_INCLUDES;
        new.include(root, b"etc/ld.so.conf", 0, &mut left)?;
        Ok(new)
    }

    fn include(&mut self, root: &mut Root<'_>, path: &[u8], nested: usize, left: &mut usize) -> anyhow::Result<()> {
        let Some(real) = root.resolve(path) else { return Ok(()) };
        if nested > MAX_NESTED || *left == 0 {
            self.problems.push(format!("`{}`: too many files include each other", display_path(path)));
            return Ok(());
        }
        *left = left.saturating_sub(1);
        let text = root.head(&real, MAX_CONFIG)?;
        for line in text.split(|byte| *byte == b'\n') {
            let line = line.split(|byte| *byte == b'#').next().unwrap_or_default().trim_ascii();
            let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            match words.next() {
                Some(b"include") => {
                    for included in words.flat_map(|pattern| matching(root, pattern)).collect::<Vec<_>>() {
                        self.include(root, &included, nested.saturating_add(1), left)?;
                    }
                }
                Some(b"hwcap") | None => {}
                Some(_) => {
                    let parts = line.split(|byte| b" \t:,".contains(byte));
                    // `directory=libc6` is an old way to say for which C library.
                    let parts = parts.map(|part| part.split(|byte| *byte == b'=').next().unwrap_or_default());
                    self.configured.extend(parts.filter(|part| part.starts_with(b"/")).map(<[u8]>::to_vec));
                }
            }
        }
        Ok(())
    }

    /// The directories in which a library is looked for, in their order.
    pub(super) fn directories(&self, root: &mut Root<'_>, asking: &Asking<'_>) -> anyhow::Result<Vec<Vec<u8>>> {
        let Some((object, at)) = asking.chain.first() else { return Ok(Vec::new()) };
        let environment = list(&self.environment, at, asking.machine);
        let inherited = |(object, at): &(&Object, &[u8])| list(&object.rpath, at, asking.machine);
        let own = object.runpath.as_deref().map(|runpath| list(runpath, at, asking.machine)).unwrap_or_default();
        let mut directories = Vec::new();
        if let Some(architecture) = asking.musl {
            let both = |one: &(&Object, &[u8])| {
                let runpath = one.0.runpath.as_deref().unwrap_or_default();
                [list(runpath, one.1, asking.machine), inherited(one)].concat()
            };
            directories.extend(environment);
            directories.extend(asking.chain.iter().flat_map(both));
            directories.extend(musl_path(root, architecture)?);
        } else {
            if object.runpath.is_none() {
                directories.extend(asking.chain.iter().flat_map(inherited));
            }
            directories.extend(environment);
            directories.extend(own);
            directories.extend(self.configured.iter().cloned());
            directories.extend(defaults(asking.machine));
        }
        Ok(directories)
    }
}

/// Paths of a list, with what the dynamic linker puts in for `$ORIGIN`, `$LIB` and `$PLATFORM`. What is relative to the
/// working directory is left out.
fn list(text: &[u8], at: &[u8], machine: Machine) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(text);
    let origin = String::from_utf8_lossy(at);
    let (triplet, platform) = names(machine);
    let libraries = [format!("lib/{triplet}"), "lib64".to_owned(), "lib".to_owned()];
    let mut directories = Vec::new();
    for part in text.split([':', ';']) {
        let part = part.replace("${", "$").replace('}', "");
        let part = part.replace("$ORIGIN", &format!("/{origin}")).replace("$PLATFORM", platform);
        if part.contains("$LIB") {
            directories.extend(libraries.iter().map(|library| part.replace("$LIB", library)));
        } else {
            directories.push(part);
        }
    }
    directories.into_iter().filter(|directory| directory.starts_with('/')).map(String::into_bytes).collect()
}

/// Debian's name for the machine's directories, and the kernel's for the machine.
fn names(machine: Machine) -> (&'static str, &'static str) {
    match machine.code {
        elf::EM_X86_64 => ("x86_64-linux-gnu", "x86_64"),
        elf::EM_386 => ("i386-linux-gnu", "i686"),
        elf::EM_AARCH64 => ("aarch64-linux-gnu", "aarch64"),
        elf::EM_ARM => ("arm-linux-gnueabihf", "v7l"),
        elf::EM_RISCV => ("riscv64-linux-gnu", "riscv64"),
        elf::EM_PPC64 => ("powerpc64le-linux-gnu", "power8"),
        elf::EM_S390 => ("s390x-linux-gnu", "z900"),
        _ => ("none", "none"),
    }
}

/// What glibc looks into after its configuration.
fn defaults(machine: Machine) -> Vec<Vec<u8>> {
    let triplet = names(machine).0;
    let word = if machine.is_64 { "64" } else { "32" };
    [
        format!("/lib/{triplet}"),
        format!("/usr/lib/{triplet}"),
        format!("/lib{word}"),
        format!("/usr/lib{word}"),
        "/lib".to_owned(),
        "/usr/lib".to_owned(),
    ]
    .map(String::into_bytes)
    .to_vec()
}

fn musl_path(root: &mut Root<'_>, architecture: &[u8]) -> anyhow::Result<Vec<Vec<u8>>> {
    let path = [b"etc/ld-musl-", architecture, b".path"].concat();
    let text = match root.resolve(&path) {
        Some(real) => root.head(&real, MAX_CONFIG)?,
        None => b"/lib:/usr/local/lib:/usr/lib".to_vec(),
    };
    let parts = text.split(|byte| matches!(byte, b':' | b'\n'));
    Ok(parts.filter(|part| part.starts_with(b"/")).map(<[u8]>::to_vec).collect())
}

/// Files that a pattern with `*` in its last component names, sorted; a pattern without a slash in front is below `/etc`.
fn matching(root: &Root<'_>, pattern: &[u8]) -> Vec<Vec<u8>> {
    let pattern = if pattern.starts_with(b"/") { pattern.to_vec() } else { [b"/etc/", pattern].concat() };
    let slash = pattern.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    let (directory, name) = (pattern.get(..slash).unwrap_or_default(), pattern.get(slash.saturating_add(1)..));
    let name = name.unwrap_or_default();
    let Some(star) = name.iter().position(|byte| *byte == b'*') else { return vec![pattern] };
    let (before, after) =
        (name.get(..star).unwrap_or_default(), name.get(star.saturating_add(1)..).unwrap_or_default());
    let Some(directory) = root.listing.resolve(directory) else { return Vec::new() };
    let fits = |found: &[u8]| {
        found.len() >= before.len().saturating_add(after.len()) && found.starts_with(before) && found.ends_with(after)
    };
    let names = root.listing.names(&directory).filter(|(found, node)| !matches!(node, Node::Directory) && fits(found));
    names.map(|(found, _)| [directory.as_slice(), b"/", found].concat()).collect()
}
