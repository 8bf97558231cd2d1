//! Root file systems from Debian's packages.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use crate::{pins, step};

/// What no guest and no image needs.
const LEFT_OUT: [&str; 4] = ["/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*"];

/// Installs the essential packages of a Debian `release` and `packages` into `directory`, from where this machine's apt gets its
/// own.
pub(super) fn install(directory: &Path, release: &str, packages: &[&str]) -> Result<()> {
    let sources = directory.with_extension("sources.list");
    fs::write(&sources, apt_sources(release)?).with_context(|| format!("cannot write {}", sources.display()))?;
    let mut bootstrap = Command::new("mmdebstrap");
    bootstrap.args(["--quiet", "--mode=root", "--variant=essential", &format!("--include={}", packages.join(","))]);
    bootstrap.args(LEFT_OUT.map(|pattern| format!("--dpkgopt=path-exclude={pattern}")));
    let installed = step::quietly(bootstrap.arg(release).arg(directory).arg(&sources).stdin(Stdio::null()));
    fs::remove_file(&sources).with_context(|| format!("cannot remove {}", sources.display()))?;
    installed
}

/// This machine's sources of Debian's own packages, as lines of a `sources.list`; of another release than this machine's, what that
/// was released with.
fn apt_sources(release: &str) -> Result<String> {
    let format = "deb $(REPO_URI) $(RELEASE) $(COMPONENT)";
    let filters = ["Created-By: Packages", "Origin: Debian"];
    let mut query = Command::new("apt-get");
    let listing = step::output(query.args(["indextargets", "--format", format]).args(filters))?;
    anyhow::ensure!(!listing.trim().is_empty(), "apt has no source of Debian's packages: run `apt-get update`");
    if release == pins::DEBIAN {
        return Ok(listing);
    }
    let own = format!(" {} ", pins::DEBIAN);
    let of_release = listing.lines().filter(|line| line.contains(&own));
    Ok(of_release.map(|line| line.replace(&own, &format!(" {release} ")) + "\n").collect())
}
