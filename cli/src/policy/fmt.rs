//! `plimsoll policy fmt`: documents in their canonical layout.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use plimsoll_policy::{Limits, format};

use super::check;
use crate::output::{print, printable, replace};

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Policy documents, or directories of them, which are changed in place; `-` alone formats standard input to standard
    /// output.
    #[arg(required = true, value_name = "FILE")]
    paths: Vec<PathBuf>,
    /// Change nothing, and name the files that are not formatted.
    #[arg(long)]
    check: bool,
}

const EXAMPLES: &str = "\
Examples:
  plimsoll policy fmt policies/                 # every document below the directory
  plimsoll policy fmt --check policies/         # for CI: names what is not formatted
  plimsoll policy fmt - < policy.yaml           # for editors";

/// What became of one document.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Well,
    /// It is wrong, would lose something, or `--check` found that it is not formatted.
    Refused,
    Unreadable,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut worst = Outcome::Well;
    if arguments.paths == [Path::new("-")] {
        worst = standard_input(arguments.check)?;
    } else {
        let (files, unreadable) = check::documents(&arguments.paths);
        for problem in unreadable {
            eprintln!("{}", printable(&problem));
            worst = Outcome::Unreadable;
        }
        for file in files {
            worst = worst.max(one(&file, arguments.check)?);
        }
    }
    Ok(ExitCode::from(match worst {
        Outcome::Well => 0,
        Outcome::Refused => 1,
        Outcome::Unreadable => 3,
    }))
}

fn standard_input(check_only: bool) -> anyhow::Result<Outcome> {
    let limits = Limits::default();
    let bound = u64::try_from(limits.max_bytes)?.saturating_add(1);
    let mut text = Vec::new();
    io::stdin().lock().take(bound).read_to_end(&mut text).context("cannot read standard input")?;
    match format("-", &text, &limits) {
        Ok(formatted) if check_only && formatted.as_bytes() == text => Ok(Outcome::Well),
        Ok(_) if check_only => {
            println!("-");
            Ok(Outcome::Refused)
        }
        Ok(formatted) => print(&formatted).map(|()| Outcome::Well),
        Err(error) => {
            eprintln!("{error}");
            Ok(Outcome::Refused)
        }
    }
}

fn one(file: &Path, check_only: bool) -> anyhow::Result<Outcome> {
    let limits = Limits::default();
    let text = match check::read(file, limits.max_bytes) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("{}: error: {error}", printable(&file.to_string_lossy()));
            return Ok(Outcome::Unreadable);
        }
    };
    match format(&file.to_string_lossy(), &text, &limits) {
        Ok(formatted) if formatted.as_bytes() == text => Ok(Outcome::Well),
        Ok(_) if check_only => {
            println!("{}", printable(&file.to_string_lossy()));
            Ok(Outcome::Refused)
        }
        Ok(formatted) => {
            replace(file, formatted.as_bytes())?;
            println!("{}", printable(&file.to_string_lossy()));
            Ok(Outcome::Well)
        }
        Err(error) => {
            eprintln!("{error}");
            Ok(Outcome::Refused)
        }
    }
}
