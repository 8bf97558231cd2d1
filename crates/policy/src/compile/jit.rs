//! Packages that compile while they run: without executable memory that is no file's content they do not start.
//!
//! Not here: programs that only would be faster with it and go on without. PCRE2 (grep, git, nginx), PHP and Ruby interpret where
//! the kernel refuses.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_sbom::{InodeKey, Inventory};

use super::Entry;
use crate::policy::AnonymousExec;

/// How distributions call such packages: a whole name, or with `*` its beginning.
const PACKAGES: &[&str] = &[
    // JavaScript
    "node",
    "nodejs",
    "nodejs-*",
    "libnode*",
    "deno",
    "bun",
    "libmozjs-*",
    "libjavascriptcoregtk-*",
    // Java
    "openjdk*",
    "java-*",
    "temurin-*",
    "amazon-corretto-*",
    "graalvm*",
    // .NET
    "dotnet*",
    "aspnetcore*",
    "mono-*",
    "libmono*",
    // others
    "luajit*",
    "libluajit*",
    "erlang-base*",
    "julia",
    "pypy*",
];

/// What `anonymousExec` comes to for an image, with the package that decides where the policy leaves it to the image.
///
/// A package counts only if the policy allows one of its files: what may not run needs no memory to run in.
pub(super) fn resolve(
    asked: AnonymousExec,
    inventory: &Inventory,
    entries: &BTreeMap<InodeKey, Entry>,
) -> (AnonymousExec, Option<String>) {
    if asked != AnonymousExec::Auto {
        return (asked, None);
    }
    let allowed = inventory.files.iter().filter(|file| entries.contains_key(&file.inode));
    let names = allowed.filter_map(|file| file.package.as_ref()).map(|package| package.name.as_str());
    match names.filter(|name| compiles_at_run_time(name)).min() {
        Some(name) => (AnonymousExec::Allow, Some(name.to_owned())),
        None => (AnonymousExec::Deny, None),
    }
}

/// Packages of an image that compile while they run, whether a policy allows them or not.
pub fn compiling_packages(inventory: &Inventory) -> BTreeSet<&str> {
    let names = inventory.files.iter().filter_map(|file| file.package.as_ref()).map(|package| package.name.as_str());
    names.filter(|name| compiles_at_run_time(name)).collect()
}

fn compiles_at_run_time(package: &str) -> bool {
    PACKAGES.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(beginning) => package.starts_with(beginning),
        None => package == *pattern,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_known_by_their_distributions_names() {
        for name in
            ["nodejs", "nodejs-22", "libnode108", "openjdk-17-jre-headless", "java-21-openjdk", "dotnet-8-runtime"]
        {
            assert!(compiles_at_run_time(name), "{name}");
        }
        for name in ["node-gyp-less", "python3-minimal", "libpcre2-8-0", "javascript-common", "nginx", ""] {
            assert!(!compiles_at_run_time(name), "{name}");
        }
    }
}
