//! Debian's fapolicyd: configured by its own recommendation, started as its unit does.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::{
    container::{ACTOR, Container},
    daemon::wait_for,
    technique::DENIED,
};

const CONFIGURATION: &str = "/etc/fapolicyd/fapolicyd.conf";
const SAMPLES: &str = "/usr/share/fapolicyd/sample-rules";
const RULES: &str = "/etc/fapolicyd/rules.d";
/// Trust in what is in containers of the test image, beside what dpkg has installed on the host.
const TRUST: &str = "/payload/peer/trust";
const PROCESS: &str = "/run/fapolicyd.pid";
/// The rules that its README and README-rules recommend ("known-libs").
const RECOMMENDED: [&str; 11] = [
    "10-languages",
    "20-dracut",
    "21-updaters",
    "30-patterns",
    "40-bad-elf",
    "41-shared-obj",
    "42-trusted-elf",
    "70-trusted-lang",
    "72-shell",
    "90-deny-execute",
    "95-allow-open",
];
/// The one of these that lets whatever root's trusted programs do pass.
const ROOT_IS_EXEMPT: &str = "20-dracut";
/// Neither root nor an owner of anything.
const NOBODY: &str = "65534";

/// How it is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strictness {
    /// The recommended rules.
    Recommended,
    /// The same without the exemption of root, and with every trusted file's content compared.
    Strictest,
}

/// A running fapolicyd; ended when it is dropped.
pub(super) struct Peer {
    pid: u32,
}

impl Peer {
    /// Starts it, and waits until it denies a dropped program in `witness`. It is told to watch what containers are made of: as it
    /// comes, it does not see them.
    pub(super) fn start(strictness: Strictness, witness: &Container) -> Result<Self> {
        configure(strictness)?;
        // What systemd-tmpfiles makes at boot.
        succeed("install", &["-d", "-o", "fapolicyd", "-g", "fapolicyd", "/run/fapolicyd", "/var/lib/fapolicyd"])?;
        succeed("/usr/sbin/fagenrules", &[])?;
        succeed("/usr/sbin/fapolicyd", &[])?;
        let pid = wait_for("fapolicyd's process id", || Ok(fs::read_to_string(PROCESS)?.trim().parse()?))?;
        let peer = Self { pid };
        wait_for("a denial of fapolicyd", || denies_a_dropped_program(witness))?;
        Ok(peer)
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let ended = succeed("kill", &[&self.pid.to_string()]).and_then(|()| {
            wait_for("the end of fapolicyd", || {
                ensure!(!Path::new(&format!("/proc/{}", self.pid)).exists(), "it runs");
                Ok(())
            })
        });
        if let Err(error) = ended {
            eprintln!("cannot end fapolicyd: {error:#}");
        }
    }
}

/// That a program which was just copied into the container is not executed, as a user who is not exempt.
pub(super) fn denies_a_dropped_program(container: &Container) -> Result<()> {
    let copied = container.exec(&["/bin/sh", "-c", "cp /usr/bin/true /tmp/witness"])?;
    ensure!(copied.status == 0, "{copied:?}");
    let tried = container.exec(&[ACTOR, "as-user", NOBODY, "exec", "/tmp/witness"])?;
    ensure!(tried.status == DENIED, "a dropped program is not denied: {tried:?}");
    Ok(())
}

fn configure(strictness: Strictness) -> Result<()> {
    for entry in fs::read_dir(RULES).context("fapolicyd is not installed")? {
        fs::remove_file(entry?.path())?;
    }
    for name in RECOMMENDED.into_iter().filter(|name| strictness == Strictness::Recommended || *name != ROOT_IS_EXEMPT)
    {
        let file = format!("{name}.rules");
        fs::copy(Path::new(SAMPLES).join(&file), Path::new(RULES).join(&file)).with_context(|| file)?;
    }
    fs::copy(TRUST, "/etc/fapolicyd/trust.d/containers").context("the payload has no trust")?;
    let text = fs::read_to_string(CONFIGURATION)?;
    let setting = |line: &str| {
        Some(match line.split_once(" = ")?.0 {
            // This build has no other.
            "trust" => "trust = file".to_owned(),
            "watch_fs" if !line.ends_with(",overlay") => format!("{line},overlay"),
            "allow_filesystem_mark" => "allow_filesystem_mark = 1".to_owned(),
            "integrity" => match strictness {
                Strictness::Recommended => "integrity = none".to_owned(),
                Strictness::Strictest => "integrity = sha256".to_owned(),
            },
            _ => return None,
        })
    };
    let lines: Vec<String> = text.lines().map(|line| setting(line).unwrap_or_else(|| line.to_owned())).collect();
    Ok(fs::write(CONFIGURATION, lines.join("\n") + "\n")?)
}

fn succeed(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("cannot run {program}"))?;
    ensure!(output.status.success(), "{program}: {output:?}");
    Ok(())
}
