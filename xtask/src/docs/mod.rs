//! `cargo xtask docs`: whether the documents are true. Links lead somewhere, what is shown to be typed prints what is shown, and
//! policies pass their check.

mod commands;
mod document;
mod links;
mod policies;
mod session;

use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::{build, step, workspace::Workspace};

use commands::Check;
use document::{Block, Document};
use session::Session;

/// What a reader is given.
const PLACES: [&str; 5] = ["README.md", "ARCHITECTURE.md", "docs", "policies", "deploy"];
/// The program that lines of usage are about; the daemons are started by units and tests.
const PROGRAM: &str = "plimsoll";

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Also run what boots guests, which takes minutes
    #[arg(long)]
    guest: bool,
}

/// What was looked at.
#[derive(Debug, Default)]
struct Tally {
    links: usize,
    policies: usize,
    cases: usize,
    commands: usize,
    usages: usize,
    in_guests: usize,
    left_to_guests: usize,
    not_run: Vec<String>,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<ExitCode> {
    build::command_line(workspace)?;
    all(workspace, arguments.guest)?;
    Ok(ExitCode::SUCCESS)
}

/// What can be said without a program: links and the marks of commands.
pub(crate) fn read(workspace: &Workspace) -> Result<()> {
    step::heading("documents: links");
    let documents = document::find(workspace.root(), &PLACES)?;
    let mut problems = links::problems(workspace.root(), &documents);
    for document in &documents {
        let wrong = |block| Some(problem(document, block, &commands::check(block).err()?));
        problems.extend(document.blocks.iter().filter_map(wrong));
    }
    conclude(&problems)?;
    println!("{:>10}  {} links of {} documents lead somewhere", "done", links::count(&documents), documents.len());
    Ok(())
}

/// Everything, with `plimsoll` as it is built in the release profile; what boots guests only where `guest` says so.
pub(crate) fn all(workspace: &Workspace, guest: bool) -> Result<()> {
    step::heading("documents");
    let documents = document::find(workspace.root(), &PLACES)?;
    let mut problems = links::problems(workspace.root(), &documents);
    let mut tally = Tally { links: links::count(&documents), ..Tally::default() };
    for document in &documents {
        let session = Session::new(workspace)?;
        for block in &document.blocks {
            let checked = check(&session, document, block, guest, &mut tally);
            problems.extend(checked.err().map(|error| problem(document, block, &error)));
        }
        let (policies, wrong) = policies::check(&session, document)?;
        let (cases, failed) = policies::test(&session, document);
        tally.policies += policies;
        tally.cases += cases;
        problems.extend(wrong.into_iter().chain(failed));
    }
    report(&tally, documents.len());
    conclude(&problems)
}

fn check(session: &Session, document: &Document, block: &Block, guest: bool, tally: &mut Tally) -> Result<()> {
    session.save(&block.info, &block.text)?;
    let Some(check) = commands::check(block)? else { return Ok(()) };
    let steps = commands::steps(block)?;
    match check {
        Check::Run => {
            tally.commands += steps.len();
            steps.iter().try_for_each(|step| session.run(step))
        }
        Check::Guest if guest => {
            tally.in_guests += steps.len();
            steps.iter().try_for_each(|step| session.run_in_checkout(step))
        }
        Check::Guest => {
            tally.left_to_guests += steps.len();
            Ok(())
        }
        Check::Usage => {
            let usages: Vec<_> = steps.iter().flat_map(|step| commands::usages(&step.command, PROGRAM)).collect();
            ensure!(!usages.is_empty(), "no command of `{PROGRAM}` is in this block of usage");
            tally.usages += usages.len();
            usages.iter().try_for_each(|command| session.is_understood(command))
        }
        Check::NotRun(why) => {
            tally.not_run.push(format!("{}:{}: {} commands: {why}", document.path.display(), block.line, steps.len()));
            Ok(())
        }
    }
}

fn problem(document: &Document, block: &Block, error: &anyhow::Error) -> String {
    format!("{}:{}: {error:#}", document.path.display(), block.line)
}

fn report(tally: &Tally, documents: usize) {
    println!("{:>6} links of {documents} documents", tally.links);
    println!("{:>6} policies checked, {} folders of cases tested", tally.policies, tally.cases);
    println!("{:>6} commands run, their outputs compared where they are shown", tally.commands);
    println!("{:>6} commands whose subcommands and options are known", tally.usages);
    match tally.left_to_guests {
        0 => println!("{:>6} commands run that boot guests or build", tally.in_guests),
        left => println!("{left:>6} commands that boot guests or build, not run: `cargo xtask docs --guest` does"),
    }
    println!("{:>6} blocks not run", tally.not_run.len());
    for block in &tally.not_run {
        println!("        {block}");
    }
}

fn conclude(problems: &[String]) -> Result<()> {
    for problem in problems {
        println!("\n{problem}");
    }
    ensure!(problems.is_empty(), "{} things in the documents are not so", problems.len());
    Ok(())
}
