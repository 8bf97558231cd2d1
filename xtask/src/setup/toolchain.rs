//! The compiler for kernel programs: Debian's, which comes with `core`'s source, under a name that rustup knows.

use std::process::Command;

use anyhow::Result;

use crate::{
    pins,
    step::{self, Step},
};

/// Makes `cargo +bpf` mean Debian's compiler.
pub(super) fn link() -> Result<()> {
    let listing = step::output(Command::new("rustup").args(["toolchain", "list", "--verbose"]))?;
    let linked = listing.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some(pins::BPF_TOOLCHAIN) && words.last() == Some(pins::BPF_TOOLCHAIN_ROOT)
    });
    let label = format!("toolchain `{}` for kernel programs", pins::BPF_TOOLCHAIN);
    if linked {
        step::found(&label);
        return Ok(());
    }
    let step = Step::start(label);
    step::quietly(Command::new("rustup").args(["toolchain", "link", pins::BPF_TOOLCHAIN, pins::BPF_TOOLCHAIN_ROOT]))?;
    step.done("linked");
    Ok(())
}

/// The standard library for `target`, of the compiler that is the default.
pub(super) fn add_target(target: &str) -> Result<()> {
    let listing = step::output(Command::new("rustup").args(["target", "list", "--installed"]))?;
    if listing.lines().any(|line| line == target) {
        step::found(&format!("standard library for {target}"));
        return Ok(());
    }
    let step = Step::start(format!("standard library for {target}"));
    step::quietly(Command::new("rustup").args(["target", "add", target]))?;
    step.done("installed");
    Ok(())
}
