//! Races between a check and what is checked: one thread changes files, another executes them.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::{fs::symlink, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context as _, bail, ensure};

use crate::Attempt;

/// How executions of a file ended.
#[derive(Debug, Default)]
struct Ends {
    /// As the listed content does.
    listed: u32,
    /// As the other content does, or half of it: by a signal.
    changed: u32,
    denied: u32,
    /// Open for writing, or gone for a moment.
    busy: u32,
}

impl Ends {
    /// Executes `file` once. The listed content ends with 0, the other with 1.
    fn execute(&mut self, file: &Path) -> anyhow::Result<()> {
        match Command::new(file).arg("--version").stdout(std::process::Stdio::null()).status() {
            Ok(status) if status.success() => self.listed += 1,
            Ok(status) if status.code() == Some(1) || status.signal().is_some() => self.changed += 1,
            Ok(status) => bail!("{} ended with {status}", file.display()),
            Err(error) => match error.raw_os_error() {
                Some(libc::EPERM) => self.denied += 1,
                Some(libc::ETXTBSY | libc::ENOENT | libc::ENOEXEC | libc::EIO) => self.busy += 1,
                _ => return Err(error).with_context(|| format!("{}", file.display())),
            },
        }
        Ok(())
    }

    /// One execution of the other content is success, whatever else happened.
    fn verdict(&self) -> Attempt {
        println!("{self:?}");
        match (self.changed, self.denied) {
            (1.., _) => Ok(Ok(())),
            (0, 1..) => Ok(Err(io::Error::from_raw_os_error(libc::EPERM))),
            (0, 0) => bail!("nothing was executed but what is listed"),
        }
    }
}

/// Listed files are overwritten with `other` while they are executed. Each is good for one round: it stays changed.
pub(crate) fn copy_up(other: &str, victims: &[&str]) -> Attempt {
    let content = fs::read(other).with_context(|| format!("cannot read `{other}`"))?;
    let mut ends = Ends::default();
    for victim in victims {
        round(Path::new(victim), &content, &mut ends)?;
    }
    ends.verdict()
}

fn round(victim: &Path, content: &[u8], ends: &mut Ends) -> anyhow::Result<()> {
    let written = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| -> anyhow::Result<()> {
            // A file that is being executed cannot be opened for writing.
            let mut file = loop {
                match OpenOptions::new().write(true).truncate(true).open(victim) {
                    Ok(file) => break file,
                    Err(error) if error.raw_os_error() == Some(libc::ETXTBSY) => std::thread::yield_now(),
                    Err(error) => return Err(error).with_context(|| format!("cannot open {}", victim.display())),
                }
            };
            let done = file.write_all(content);
            drop(file);
            written.store(true, Ordering::Release);
            done.context("cannot write")
        });
        while !written.load(Ordering::Acquire) {
            ends.execute(victim)?;
        }
        ends.execute(victim)?;
        match writer.join() {
            Ok(result) => result,
            Err(_) => bail!("the writer panicked"),
        }
    })
}

/// A symbolic link points at `listed` and at `other` in turn while it is executed.
pub(crate) fn link(listed: &str, other: &str, directory: &str, times: &str) -> Attempt {
    let (link, draft): (PathBuf, PathBuf) = (Path::new(directory).join("link"), Path::new(directory).join("draft"));
    symlink(listed, &link).context("cannot make the link")?;
    let over = AtomicBool::new(false);
    let mut ends = Ends::default();
    std::thread::scope(|scope| {
        let flipper = scope.spawn(|| -> io::Result<()> {
            for target in [other, listed].into_iter().cycle() {
                if over.load(Ordering::Acquire) {
                    return Ok(());
                }
                symlink(target, &draft)?;
                fs::rename(&draft, &link)?;
            }
            Ok(())
        });
        let executed = (0..times.parse::<u32>()?).try_for_each(|_| ends.execute(&link));
        over.store(true, Ordering::Release);
        ensure!(matches!(flipper.join(), Ok(Ok(()))), "the link could not be changed");
        executed
    })?;
    ends.verdict()
}
