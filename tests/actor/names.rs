//! Files with names that programs stumble over.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, bail, ensure};

use crate::{Attempt, execute};

/// Longest name of one file.
const NAME: usize = 255;

/// A copy of `file` in `directory` under a name of some `kind`.
pub(crate) fn odd(kind: &str, file: &str, directory: &str) -> Attempt {
    let name: OsString = match kind {
        "newline" => "two\nlines".into(),
        "not-text" => OsStr::from_bytes(b"\xff\xfe\x80").to_owned(),
        "longest" => "n".repeat(NAME).into(),
        "dash" => "-rf".into(),
        "escape" => "\x1b[2J".into(),
        _ => bail!("unknown kind of name `{kind}`"),
    };
    let copy = Path::new(directory).join(name);
    fs::copy(file, &copy).context("cannot copy")?;
    execute::run(&mut Command::new(copy))
}

/// A copy of `file` so deep below `directory` that no path of it is short enough for any system call.
pub(crate) fn deep(levels: &str, name: &str, file: &str, directory: &str) -> Attempt {
    let content = fs::read(file).with_context(|| format!("cannot read `{file}`"))?;
    std::env::set_current_dir(directory).with_context(|| format!("cannot enter `{directory}`"))?;
    for _ in 0..levels.parse::<u32>()? {
        fs::create_dir_all(name).context("cannot create a directory")?;
        std::env::set_current_dir(name).context("cannot enter it")?;
    }
    fs::write("x", content).context("cannot write the copy")?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions("x", mode).context("cannot change its mode")?;
    execute::run(&mut Command::new("./x"))
}

/// After two files have changed places in one step.
pub(crate) fn exchanged(one: &str, other: &str) -> Attempt {
    let (one_path, other_path) = (std::ffi::CString::new(one)?, std::ffi::CString::new(other)?);
    let (here, exchange) = (libc::AT_FDCWD, libc::RENAME_EXCHANGE);
    // SAFETY: both paths are NUL-terminated.
    let done = unsafe { libc::renameat2(here, one_path.as_ptr(), here, other_path.as_ptr(), exchange) };
    ensure!(done == 0, "renameat2: {}", io::Error::last_os_error());
    execute::path(one, &[])
}

/// Under another name in `argv[0]`, and in the process's own name.
pub(crate) fn masked(file: &str, name: &str) -> Attempt {
    execute::run(Command::new(file).arg0(name))
}
