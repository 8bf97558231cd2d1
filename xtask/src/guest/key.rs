//! When something built is still good: a file beside it says what it was built from.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// Whether `product` exists and was built from `key`.
pub(super) fn is_fresh(product: &Path, key: &str) -> bool {
    product.exists() && fs::read_to_string(key_file(product)).is_ok_and(|built_from| built_from == key)
}

/// Forgets what `product` was built from, and removes it: done before it is built anew, so that a build that is cut short
/// leaves nothing that looks good.
pub(super) fn forget(product: &Path) -> Result<()> {
    for path in [key_file(product), product.to_owned()] {
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Says that `product` is built, from `key`.
pub(super) fn remember(product: &Path, key: &str) -> Result<()> {
    let file = key_file(product);
    fs::write(&file, key).with_context(|| format!("cannot write {}", file.display()))
}

fn key_file(product: &Path) -> PathBuf {
    let mut name = product.as_os_str().to_owned();
    name.push(".key");
    PathBuf::from(name)
}
