//! A program of the image on the node.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process,
};

use anyhow::{Context as _, Result};

/// Puts `program` into `directory`. A runtime that executes it meanwhile finds the old or the new one, whole.
pub(crate) fn install(program: &Path, directory: &Path) -> Result<()> {
    let name = program.file_name().with_context(|| format!("{} names no file", program.display()))?;
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let place = directory.join(name);
    let draft = directory.join(format!(".{}.{}", name.to_string_lossy(), process::id()));
    let outcome = copy(program, &draft).and_then(|()| fs::rename(&draft, &place));
    if outcome.is_err() {
        // What is left over is of no use to anybody; that it may not be there is fine.
        drop(fs::remove_file(&draft));
    }
    outcome.with_context(|| format!("cannot put {} at {}", program.display(), place.display()))
}

fn copy(program: &Path, draft: &Path) -> io::Result<()> {
    let mut from = File::open(program)?;
    let mut to = File::create(draft)?;
    io::copy(&mut from, &mut to)?;
    to.set_permissions(Permissions::from_mode(0o755))?;
    // On disk before it has the name: after a crash the name must not be an empty file.
    to.sync_all()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_program_that_runs_is_replaced() {
        let scratch = tempfile::tempdir().unwrap();
        let node = scratch.path().join("opt/bin");
        install(Path::new("/usr/bin/sleep"), &node).unwrap();
        let mut running = Command::new(node.join("sleep")).arg("600").spawn().unwrap();
        install(Path::new("/usr/bin/sleep"), &node).unwrap();
        assert!(running.try_wait().unwrap().is_none());
        running.kill().unwrap();
        running.wait().unwrap();
        assert!(Command::new(node.join("sleep")).arg("0").status().unwrap().success());
        assert_eq!(names(&node), ["sleep"]);
    }

    #[test]
    fn what_cannot_be_put_in_place_leaves_nothing_behind() {
        let node = tempfile::tempdir().unwrap();
        let error = install(Path::new("/nonexistent/agent"), node.path()).unwrap_err();
        assert!(format!("{error:#}").contains("/nonexistent/agent"), "{error:#}");
        fs::create_dir(node.path().join("true")).unwrap();
        assert!(install(Path::new("/usr/bin/true"), node.path()).is_err());
        assert_eq!(names(node.path()), ["true"]);
    }
}
