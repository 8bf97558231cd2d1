//! Debian's packages.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::step::{self, Step};

/// The package manager; its lists are fetched at most once, and only when something is missing.
#[derive(Debug, Default)]
pub(super) struct Apt {
    updated: bool,
}

impl Apt {
    /// Installs those of `packages` that are missing.
    pub(super) fn install(&mut self, packages: &[&str]) -> Result<()> {
        let missing: Vec<&str> = packages.iter().copied().filter(|package| !is_installed(package)).collect();
        if missing.is_empty() {
            step::found(&format!("{} Debian packages", packages.len()));
            return Ok(());
        }
        self.update()?;
        let step = Step::start(format!("Debian packages: {}", missing.join(" ")));
        let mut install = Command::new("apt-get");
        install.args(["install", "--yes", "--no-install-recommends"]).args(&missing);
        step::quietly(install.env("DEBIAN_FRONTEND", "noninteractive"))?;
        step.done("installed");
        Ok(())
    }

    /// Fetches `package` and unpacks it into `directory`, which must be empty.
    pub(super) fn unpack(package: &str, directory: &Path) -> Result<()> {
        let mut download = Command::new("apt-get");
        // Not as apt's own user, who may not write here.
        step::quietly(download.args(["-o", "APT::Sandbox::User=root", "download", package]).current_dir(directory))?;
        let archive = single_file(directory)?;
        step::quietly(Command::new("dpkg").arg("-x").arg(&archive).arg(directory))?;
        std::fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))
    }

    /// The package whose name starts with `prefix` that the meta-package `meta` depends on.
    pub(super) fn dependency(&mut self, meta: &str, prefix: &str) -> Result<String> {
        self.update()?;
        let listing = step::output(Command::new("apt-cache").args(["depends", "--important", meta]))?;
        let names = listing.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        let found = names.map(str::to_owned).find(|name| name.starts_with(prefix));
        found.with_context(|| {
            format!("package {meta} depends on no {prefix}*: are Debian's security updates in apt's sources?")
        })
    }

    fn update(&mut self) -> Result<()> {
        if !self.updated {
            let step = Step::start("apt's package lists");
            step::quietly(Command::new("apt-get").arg("update"))?;
            step.done("updated");
            self.updated = true;
        }
        Ok(())
    }
}

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat", "${db:Status-Status}", package]);
    step::output(&mut query).is_ok_and(|status| status == "installed")
}

fn single_file(directory: &Path) -> Result<std::path::PathBuf> {
    let mut entries = std::fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let entry = entries.next().context("apt-get downloaded nothing")?;
    Ok(entry?.path())
}
