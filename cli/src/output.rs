//! Writing what a person or a pipe reads.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use anyhow::{Context as _, ensure};

/// Writes a finished report. A reader that has seen enough, such as `head`, is no error.
pub(crate) fn print(report: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(report.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}

/// Text from a document, unable to move a terminal's cursor.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

/// Writes a file whole or not at all.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    replace_with(path, |draft| draft.write_all(bytes).with_context(|| unwritable(path)))
}

/// Has `write` fill a draft beside the file, which then takes its name; if that fails, nothing is left of it. What was there
/// keeps its permissions; a link stays a link.
pub(crate) fn replace_with(path: &Path, write: impl FnOnce(&mut File) -> anyhow::Result<()>) -> anyhow::Result<()> {
    ensure!(!path.is_dir(), "`{}` is a directory; name a file", path.display());
    let unwritable = || unwritable(path);
    let real = if path.is_symlink() { fs::canonicalize(path).with_context(unwritable)? } else { path.to_owned() };
    let directory = real.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Narrowed by the umask, as for every new file.
    let usual = fs::Permissions::from_mode(0o666);
    let mut draft = tempfile::Builder::new()
        .prefix(".plimsoll-")
        .permissions(usual)
        .tempfile_in(directory)
        .with_context(unwritable)?;
    write(draft.as_file_mut())?;
    if let Ok(known) = fs::metadata(&real) {
        draft.as_file().set_permissions(known.permissions()).with_context(unwritable)?;
    }
    draft.as_file().sync_all().with_context(unwritable)?;
    draft.persist(&real).with_context(unwritable)?;
    Ok(())
}

fn unwritable(path: &Path) -> String {
    format!("cannot write `{}`", path.display())
}
