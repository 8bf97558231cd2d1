//! What programs of an image need to start, found in the image's files alone: interpreters of scripts, the dynamic linker, and
//! libraries with all that these need. What a script runs, and what a program loads by name while it runs, is not there.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt,
};

use plimsoll_sbom::{ExecKind, display_path};

use super::{
    command::Command,
    elf::{self, Object},
    libraries::{Asking, Search},
    root::Root,
};

/// Files of a closure, and objects of one program.
const MAX_FILES: usize = 10_000;
/// Bytes of a script's first line, as in the kernel.
const MAX_LINE: u64 = 256;

/// Programs and all that they need.
#[derive(Default)]
pub(super) struct Closure {
    /// By their real paths in the image.
    pub(super) files: BTreeMap<Vec<u8>, Member>,
    /// What could not be found or read: the closure may lack something.
    pub(super) problems: BTreeSet<String>,
}

/// Why a file is in the closure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) role: Role,
    /// Whose, as people write the path; empty for an entrypoint.
    pub(super) of: String,
}

/// What a file is to whoever needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// What the container starts.
    Entrypoint,
    /// Runs a script.
    Interpreter,
    /// The dynamic linker, which is mapped.
    Loader,
    /// Is mapped.
    Library,
}

impl Role {
    /// Whether the kernel is asked to execute the file.
    pub(super) fn is_executed(self) -> bool {
        matches!(self, Self::Entrypoint | Self::Interpreter)
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.role {
            Role::Entrypoint => f.write_str("entrypoint"),
            Role::Interpreter => write!(f, "runs the script {}", self.of),
            Role::Loader => write!(f, "dynamic linker of {}", self.of),
            Role::Library => write!(f, "library of {}", self.of),
        }
    }
}

/// Follows everything that the command starts with.
pub(super) fn closure(root: &mut Root<'_>, command: &Command) -> anyhow::Result<Closure> {
    let search = Search::new(root, &command.library_path)?;
    let preloaded = preloaded(root, command)?;
    let mut walk = Walk { root, command, search, preloaded, closure: Closure::default(), programs: HashSet::new() };
    let mut pending = Vec::new();
    for path in &command.programs {
        pending.push((path.clone(), Member { role: Role::Entrypoint, of: String::new() }));
    }
    while let Some((path, member)) = pending.pop() {
        pending.extend(walk.program(&path, member)?);
    }
    walk.closure.problems.extend(walk.search.problems);
    Ok(walk.closure)
}

/// Libraries that every program gets.
fn preloaded(root: &mut Root<'_>, command: &Command) -> anyhow::Result<Vec<Vec<u8>>> {
    let file = match root.resolve(b"etc/ld.so.preload") {
        Some(real) => root.head(&real, 64 << 10)?,
        None => Vec::new(),
    };
    let all = [command.preload.as_slice(), b" ", &file].concat();
    let names = all.split(|byte| byte.is_ascii_whitespace() || *byte == b':').filter(|name| !name.is_empty());
    Ok(names.map(<[u8]>::to_vec).collect())
}

struct Walk<'r, 't, 'c> {
    root: &'r mut Root<'t>,
    command: &'c Command,
    search: Search,
    preloaded: Vec<Vec<u8>>,
    closure: Closure,
    /// Those that were followed, by their real paths.
    programs: HashSet<Vec<u8>>,
}

/// An object in a program's memory.
struct Loaded {
    object: Object,
    /// The directory it was found in, links and all; a program's real one, as the kernel tells it.
    at: Vec<u8>,
    /// As people write its path.
    shown: String,
    /// Who loaded it, by number.
    by: Option<usize>,
}

impl Walk<'_, '_, '_> {
    /// Takes a program in; gives back the programs that it needs to run at all.
    fn program(&mut self, path: &[u8], member: Member) -> anyhow::Result<Vec<(Vec<u8>, Member)>> {
        let shown = display_path(path);
        let Some(real) = self.root.resolve(path) else {
            self.problem(format!("{member} `{shown}` is not in the image"));
            return Ok(Vec::new());
        };
        if !self.programs.insert(real.clone()) || !self.add(&real, member) {
            return Ok(Vec::new());
        }
        match self.root.kind(&real) {
            Some(ExecKind::Script) => self.script(&real),
            Some(ExecKind::Elf) => self.elf(&real).map(|()| Vec::new()),
            Some(ExecKind::Other) | None => {
                self.problem(format!("`{shown}` is neither a script nor an ELF program; what it needs is not known"));
                Ok(Vec::new())
            }
        }
    }

    fn problem(&mut self, text: String) {
        if self.closure.problems.len() < MAX_FILES {
            self.closure.problems.insert(text);
        }
    }

    /// Whether there is room; a file keeps the first reason it came for, or one for which it is executed.
    fn add(&mut self, real: &[u8], member: Member) -> bool {
        if self.closure.files.len() >= MAX_FILES {
            self.problem(format!("more than {MAX_FILES} files; what the others need was not followed"));
            return false;
        }
        let known = self.closure.files.entry(real.to_vec()).or_insert_with(|| member.clone());
        if member.role.is_executed() && !known.role.is_executed() {
            *known = member;
        }
        true
    }

    fn script(&mut self, real: &[u8]) -> anyhow::Result<Vec<(Vec<u8>, Member)>> {
        let head = self.root.head(real, MAX_LINE)?;
        let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = line.strip_prefix(b"#!").unwrap_or_default().trim_ascii();
        let mut words = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
        let Some(interpreter) = words.next() else {
            self.problem(format!("`{}` names no interpreter after `#!`", display_path(real)));
            return Ok(Vec::new());
        };
        let member = Member { role: Role::Interpreter, of: display_path(real) };
        let mut found = vec![(interpreter.to_vec(), member.clone())];
        if interpreter.rsplit(|byte| *byte == b'/').next() == Some(b"env") {
            let name = words.find(|word| !word.starts_with(b"-") && !word.contains(&b'='));
            match name.and_then(|name| self.command.find(self.root, name)) {
                Some(path) => found.push((path, member)),
                None => self.problem(format!("what `env` runs for `{}` is not in the image", display_path(real))),
            }
        }
        Ok(found)
    }

    fn elf(&mut self, real: &[u8]) -> anyhow::Result<()> {
        let Some(object) = self.object(real)? else { return Ok(()) };
        let shown = display_path(real);
        let mut names = HashSet::new();
        let mut musl = None;
        if let Some(interpreter) = object.interpreter.clone() {
            let member = Member { role: Role::Loader, of: shown.clone() };
            match self.root.resolve(&interpreter) {
                Some(loader) => {
                    self.add(&loader, member);
                    // The dynamic linker is there before anybody asks for it.
                    names.extend(self.object(&loader)?.and_then(|loader| loader.soname));
                }
                None => self.problem(format!("{member}, `{}`, is not in the image", display_path(&interpreter))),
            }
            let name = interpreter.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            let architecture = name.strip_prefix(b"ld-musl-").and_then(|rest| rest.strip_suffix(b".so.1"));
            musl = architecture.map(<[u8]>::to_vec);
        }
        if object.interpreter.is_none() && object.needed.is_empty() {
            return Ok(());
        }
        let mut loaded = vec![Loaded { object, at: parent(real).to_vec(), shown, by: None }];
        let mut next = 0;
        while let Some(current) = loaded.get(next) {
            let preloaded = if next == 0 { self.preloaded.clone() } else { Vec::new() };
            let needed = preloaded.into_iter().chain(current.object.needed.iter().cloned()).collect::<Vec<_>>();
            for name in needed.into_iter().filter(|name| names.insert(name.clone())).collect::<Vec<_>>() {
                for found in self.library(&name, &loaded, next, musl.as_deref())? {
                    names.extend(found.object.soname.clone());
                    loaded.push(found);
                }
            }
            next = next.saturating_add(1);
        }
        Ok(())
    }

    fn object(&mut self, real: &[u8]) -> anyhow::Result<Option<Object>> {
        let file = self.root.open(real)?;
        match elf::read(file) {
            Ok(object) => Ok(Some(object)),
            Err(error) => {
                self.problem(format!(
                    "`{}` is broken ELF, and what it needs is not known: {error:#}",
                    display_path(real)
                ));
                Ok(None)
            }
        }
    }

    /// The library that an object gets for a name, with its variants for newer processors: any node may have one.
    fn library(
        &mut self,
        name: &[u8],
        loaded: &[Loaded],
        by: usize,
        musl: Option<&[u8]>,
    ) -> anyhow::Result<Vec<Loaded>> {
        let chain: Vec<&Loaded> =
            std::iter::successors(loaded.get(by), |one| one.by.and_then(|by| loaded.get(by))).collect();
        let Some(asking) = chain.first() else { return Ok(Vec::new()) };
        let machine = asking.object.machine;
        let member = Member { role: Role::Library, of: asking.shown.clone() };
        let directories = if name.contains(&b'/') {
            Vec::new()
        } else {
            let chain = chain.iter().map(|one| (&one.object, one.at.as_slice())).collect();
            self.search.directories(self.root, &Asking { chain, machine, musl })?
        };
        let mut candidates: Vec<Vec<Vec<u8>>> = directories.iter().map(|at| self.variants(at, name)).collect();
        if name.starts_with(b"/") {
            candidates.push(vec![name.to_vec()]);
        }
        for candidate in candidates {
            let mut found = Vec::new();
            for path in candidate {
                let Some(real) = self.root.resolve(&path) else { continue };
                if self.root.kind(&real) != Some(ExecKind::Elf) {
                    continue;
                }
                let Some(object) = self.object(&real)? else { continue };
                if object.machine == machine && self.add(&real, member.clone()) {
                    found.push(Loaded { object, at: parent(&path).to_vec(), shown: display_path(&real), by: Some(by) });
                }
            }
            if !found.is_empty() {
                return Ok(found);
            }
        }
        self.problem(format!("{member}, `{}`, is not in the image", String::from_utf8_lossy(name)));
        Ok(Vec::new())
    }

    /// A name in a directory, and in the directories for newer processors below it.
    fn variants(&self, at: &[u8], name: &[u8]) -> Vec<Vec<u8>> {
        let newer = [at, b"/glibc-hwcaps"].concat();
        let levels = self.root.listing.resolve(&newer).into_iter().flat_map(|real| {
            let names: Vec<Vec<u8>> = self.root.listing.names(&real).map(|(level, _)| level.to_vec()).collect();
            names
        });
        let newer = levels.map(|level| [newer.as_slice(), b"/", &level, b"/", name].concat());
        newer.chain([[at, b"/", name].concat()]).collect()
    }
}

/// The directory of a path, without slashes at its ends.
fn parent(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    let directory = path.get(..end).unwrap_or_default();
    directory.strip_prefix(b"/").unwrap_or(directory)
}
