//! `plimsoll policy init`: a policy to start from, out of an image's SBOM, its files and what its entrypoint needs.

mod closure;
mod command;
mod elf;
mod libraries;
mod root;
mod starting;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail, ensure};
use plimsoll_policy::{Limits, Mode, compile, parse};
use plimsoll_rootfs::databases;
use plimsoll_sbom::{inventory, undeclared_packages};

use self::{root::Root, starting::Starting};
use super::{cases, draft::Selector};
use crate::{
    output::{print, printable, replace},
    sbom,
};

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The image that the policy is for: NAME:TAG, NAME@sha256:... or sha256:...
    #[arg(required_unless_present = "namespace")]
    image: Option<String>,
    /// The image's unpacked root filesystem; of several layers, the top one first.
    #[arg(long, required = true, value_name = "DIR", num_args = 1..)]
    rootfs: Vec<PathBuf>,
    /// The image's SBOM.
    #[arg(long, value_name = "FILE")]
    sbom: PathBuf,
    /// The image's configuration, as `crane config IMAGE` prints it: what it starts, and with which environment.
    #[arg(long, value_name = "FILE", required_unless_present = "entrypoint")]
    config: Option<PathBuf>,
    /// A program that the container starts with, instead of what the configuration says; may be given several times.
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Vec<String>,
    /// The namespace that the policy is for.
    #[arg(long)]
    namespace: Option<String>,
    /// The policy's name [default: from the image or the namespace]
    #[arg(long)]
    name: Option<String>,
    /// Report deviations and let them go ahead, or deny them.
    #[arg(long, value_name = "MODE", default_value = "Monitor", value_parser = mode)]
    mode: Mode,
    /// Write policy.yaml and cases.yaml into this directory, which is made; without it, the policy is printed.
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Replace a policy and cases that are in the directory.
    #[arg(long, requires = "output")]
    force: bool,
}

const EXAMPLES: &str = "\
Examples:
  crane export registry.example/shop/cart:2 - | tar -x -C rootfs
  crane config registry.example/shop/cart:2 > config.json
  plimsoll policy init registry.example/shop/cart:2 --rootfs rootfs --sbom sbom.json --config config.json -o cart
  plimsoll policy test cart

  plimsoll policy init --namespace shop --rootfs rootfs --sbom sbom.json --entrypoint /usr/bin/cart";

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let selector = selector(arguments)?;
    let document = match sbom::load(&arguments.sbom)? {
        Ok(document) => document,
        Err(error) => return Ok(sbom::refuse(&arguments.sbom, &error)),
    };
    let tree = sbom::tree(&arguments.rootfs)?;
    let mut problems = tree.problems.clone();
    let databases = databases(&mut tree.files(), &tree.listing, &plimsoll_rootfs::Options::default(), &mut problems)?;
    let inventory = inventory(&tree.listing, &document, &databases);
    if sbom::is_of_another_image(&inventory) {
        eprintln!("plimsoll: nothing is written: {}", sbom::OF_ANOTHER_IMAGE);
        return Ok(ExitCode::from(1));
    }
    let mut root = Root { listing: &tree.listing, files: tree.files() };
    let command = command::command(&root, arguments.config.as_deref(), &arguments.entrypoint)?;
    let mut closure = closure::closure(&mut root, &command)?;
    closure.problems.extend(problems.iter().map(ToString::to_string));
    let starting = Starting {
        name: name(arguments, &selector)?,
        selector,
        mode: arguments.mode,
        undeclared: undeclared_packages(&document, &databases),
        inventory: &inventory,
        closure: &closure,
    };
    let (policy, refused) = starting.policy();
    let cases = starting.cases(&refused);
    checked(&policy, &cases, &inventory)?;
    match &arguments.output {
        Some(directory) => write(directory, &policy, &cases, arguments.force)?,
        None => print(&policy)?,
    }
    for problem in closure.problems.iter().cloned().chain(refused.iter().map(ToString::to_string)) {
        eprintln!("plimsoll: {}", printable(&problem));
    }
    Ok(if closure.problems.is_empty() && refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// A digest says more than the name beside it.
fn selector(arguments: &Arguments) -> anyhow::Result<Selector> {
    let namespace = arguments.namespace.clone();
    let Some(image) = arguments.image.as_deref() else { return Ok(Selector { namespace, ..Selector::default() }) };
    if let Some(digest) =
        image.strip_prefix("sha256:").map(|_| image).or(image.split_once('@').map(|(_, digest)| digest))
    {
        return Ok(Selector { digest: Some(digest.to_owned()), namespace, ..Selector::default() });
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    let reference = if last.contains(':') { image.to_owned() } else { format!("{image}:latest") };
    ensure!(!image.is_empty(), "an image's name is empty");
    Ok(Selector { reference: Some(reference), namespace, ..Selector::default() })
}

/// The last part of the image's name, or the namespace, as a policy may be called.
fn name(arguments: &Arguments, selector: &Selector) -> anyhow::Result<String> {
    if let Some(name) = &arguments.name {
        return Ok(name.clone());
    }
    let named = arguments.image.as_deref().filter(|image| !image.starts_with("sha256:"));
    let last =
        named.and_then(|image| image.rsplit('/').next()).map(|last| last.split([':', '@']).next().unwrap_or(last));
    let Some(text) = last.or(selector.namespace.as_deref()) else {
        bail!("a digest makes no name; give the policy one with --name")
    };
    let allowed = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c) { c } else { '-' };
    Ok(text.to_lowercase().chars().map(allowed).collect::<String>().trim_matches(['-', '.']).to_owned())
}

fn mode(text: &str) -> Result<Mode, String> {
    let modes = [Mode::Monitor, Mode::Enforce];
    modes.into_iter().find(|mode| mode.to_string() == text).ok_or_else(|| "write Monitor or Enforce".to_owned())
}

/// What is written passes `policy check` and `policy test`, and allows what it says.
fn checked(policy: &str, cases: &str, inventory: &plimsoll_sbom::Inventory) -> anyhow::Result<()> {
    let parsed = parse("policy.yaml", policy.as_bytes(), &Limits::default())?;
    let compiled = compile(&parsed, inventory)?;
    if let Some(warning) = compiled.warnings.first() {
        bail!("the policy that was made does not do what it says: {warning}");
    }
    let failed = cases::failures(&parsed, cases, Path::new("cases.yaml"))?;
    ensure!(failed.is_empty(), "the cases that were made do not pass: {}", failed.join("; "));
    Ok(())
}

fn write(directory: &Path, policy: &str, cases: &str, force: bool) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make `{}`", directory.display()))?;
    let files = [(directory.join("policy.yaml"), policy), (directory.join("cases.yaml"), cases)];
    if let Some((there, _)) = files.iter().find(|(path, _)| !force && path.exists()) {
        bail!("`{}` is there already; --force replaces it", there.display());
    }
    for (path, text) in files {
        replace(&path, text.as_bytes())?;
        println!("{}", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
