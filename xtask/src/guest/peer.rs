//! What Plimsoll is compared with and by: fapolicyd's trust, and a layer of programs for containers.
//!
//! On the payload disk, below `peer/`: `trust`, what fapolicyd is to trust in containers of the test image, and `layer/`, a layer on
//! top of that image: a thousand programs in `opt/compare/bin`, a script, a compiler and a source for it.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::{pins, setup};

/// Programs that differ in their last bytes alone.
const PROGRAMS: usize = 1000;
/// Functions in the source that is compiled.
const FUNCTIONS: usize = 400;
/// Lines in what the script sorts.
const LINES: u64 = 300;
/// Directories that are links into `/usr` on a Debian system; fapolicyd sees the real path.
const MERGED: [&str; 4] = ["/bin/", "/sbin/", "/lib/", "/lib64/"];
/// UnixBench's shell script (`pgms/tst.sh`), with paths of its own.
const SCRIPT: &str = "#!/bin/sh\n\
    sort > sort.$$ < /opt/compare/sort.src\n\
    od sort.$$ | sort -n -k 1 > od.$$\n\
    grep the sort.$$ | tee grep.$$ | wc > wc.$$\n\
    rm sort.$$ grep.$$ od.$$ wc.$$\n";

/// Has fapolicyd trust what dpkg installed into `tree`, a guest's root.
pub(super) fn trust_packages(tree: &Path) -> Result<()> {
    fs::write(tree.join("etc/fapolicyd/trust.d/dpkg"), trust(&[tree.to_owned()])?).context("fapolicyd is not installed")
}

/// Adds `peer/` to the payload in `tree`, which has the image already.
pub(super) fn lay_out(tree: &Path) -> Result<()> {
    let layer = tree.join("peer/layer");
    let works = layer.join("opt/compare");
    fs::create_dir_all(works.join("bin")).with_context(|| format!("cannot create {}", works.display()))?;
    programs(&tree.join("image/layers/0/usr/bin/true"), &works.join("bin"))?;
    fs::write(works.join("script.sh"), SCRIPT)?;
    fs::write(works.join("sort.src"), text())?;
    fs::write(works.join("source.c"), source())?;
    compiler(&layer)?;
    let image = tree.join("image");
    let order = fs::read_to_string(image.join("lowerdir")).context("the image has no lowerdir")?;
    let layers: Vec<PathBuf> = order.lines().map(|layer| image.join(layer)).collect();
    let mut trusted = trust(&layers)?;
    let seen = [
        (works.join("bin"), "/opt/compare/bin"),
        (layer.join("usr/bin"), "/usr/bin"),
        (tree.join("bin"), "/payload/bin"),
        // What techniques copy from here is to be denied as a copy.
        (tree.join("lib"), "/payload/lib"),
    ];
    for (folder, seen_as) in seen {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let entry = entry?;
            trusted.push_str(&line(&format!("{seen_as}/{}", entry.file_name().to_string_lossy()), &entry.path())?);
        }
    }
    fs::write(tree.join("peer/trust"), trusted).context("cannot write the trust of a peer")
}

fn programs(program: &Path, directory: &Path) -> Result<()> {
    for number in 0..PROGRAMS {
        let copy = directory.join(format!("program-{number:03}"));
        fs::copy(program, &copy).context("the image has no /usr/bin/true")?;
        OpenOptions::new().append(true).open(&copy)?.write_all(format!("{number}\n").as_bytes())?;
    }
    Ok(())
}

fn compiler(layer: &Path) -> Result<()> {
    let scratch = tempfile::tempdir_in(layer)?;
    setup::unpack(pins::SMALL_COMPILER, scratch.path())?;
    fs::create_dir_all(layer.join("usr/bin"))?;
    fs::copy(scratch.path().join("usr/bin/tcc"), layer.join("usr/bin/tcc")).context("the package has no tcc").map(drop)
}

/// Lines in no order, the same each time.
fn text() -> String {
    (0..LINES).fold(String::new(), |text, number| text + &format!("{} the line {number}\n", number * 7919 % 1009))
}

fn source() -> String {
    let function = |number: usize| {
        format!(
            "int f{number}(int a, int b) {{ int s = {number}; for (int i = 0; i < a; i++) s = s * 31 + (i ^ b); \
             return s % 2 ? s : -s; }}\n"
        )
    };
    (0..FUNCTIONS).map(function).collect()
}

/// Lines of a trust file for every file that dpkg's lists in `roots` name; the first root that has a file gives its content.
fn trust(roots: &[PathBuf]) -> Result<String> {
    let mut listed = BTreeSet::new();
    for root in roots {
        let Ok(lists) = fs::read_dir(root.join("var/lib/dpkg/info")) else { continue };
        for entry in lists {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "list") {
                listed.extend(fs::read_to_string(&path)?.lines().map(real));
            }
        }
    }
    ensure!(!listed.is_empty(), "dpkg has installed nothing in {roots:?}");
    let mut lines = String::new();
    for name in listed.iter().filter(|name| !name.contains(char::is_whitespace)) {
        let mut files = roots.iter().map(|root| root.join(name.trim_start_matches('/')));
        let found = files.find_map(|file| Some((fs::symlink_metadata(&file).ok()?, file)));
        if let Some((_, file)) = found.filter(|(metadata, _)| metadata.is_file()) {
            lines.push_str(&line(name, &file)?);
        }
    }
    Ok(lines)
}

fn real(path: &str) -> String {
    if MERGED.iter().any(|folder| path.starts_with(folder)) { format!("/usr{path}") } else { path.to_owned() }
}

/// `PATH SIZE SHA256`, as in fapolicyd.trust(5).
fn line(name: &str, file: &Path) -> Result<String> {
    let content = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(format!("{name} {} {}\n", content.len(), hex::encode(Sha256::digest(&content))))
}
