//! The answer for people.

use std::fmt::Write as _;

use super::usage::{File, Package, Usage, Use};
use crate::{events::time, output::printable};

/// The columns, by what files did.
const COLUMNS: [Use; 6] = [Use::Executed, Use::Loaded, Use::Refused, Use::Never, Use::NotSeen, Use::Unknown];

pub(super) fn table(usage: &Usage<'_>, with_files: bool) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let day = |unix_ns| time::display(unix_ns).chars().take(19).collect::<String>();
    writeln!(
        text,
        "{}, {} to {} UTC: {} events, {} allowed executions",
        printable(usage.image),
        day(usage.reading.since_unix_ns),
        day(usage.reading.until_unix_ns),
        usage.reading.events,
        usage.allowed_executions
    )?;
    writeln!(text, "the answer is {}", usage.answer.name())?;
    for why in &usage.because {
        writeln!(text, "  {}", printable(why))?;
    }
    let name = |package: &Package<'_>| match (package.name, package.version) {
        ("", _) => "(in no package)".to_owned(),
        (name, version) => printable(format!("{name} {version}").trim_end()),
    };
    let width = usage.packages.iter().map(|package| name(package).chars().count()).max().unwrap_or_default().max(7);
    write!(text, "\n{:<width$}  {:<8}", "PACKAGE", "USE")?;
    for column in COLUMNS {
        write!(text, "  {:>8}", column.name().to_uppercase())?;
    }
    writeln!(text, "  {:>10}", "EXECUTIONS")?;
    for package in &usage.packages {
        write!(text, "{:<width$}  {:<8}", name(package), package.usage.name())?;
        for column in COLUMNS {
            write!(text, "  {:>8}", package.counts.get(column.name()).copied().unwrap_or(0))?;
        }
        writeln!(text, "  {:>10}", package.facts.executed.count)?;
    }
    if with_files {
        writeln!(text, "\nFILES")?;
        usage.files.iter().try_for_each(|file| one(&mut text, file))?;
    }
    Ok(text)
}

fn one(text: &mut String, File { entry, usage, facts }: &File<'_>) -> std::fmt::Result {
    let counts = [facts.executed, facts.loaded, facts.refused];
    let count = counts.iter().fold(0_u64, |sum, seen| sum.saturating_add(seen.count));
    writeln!(text, "{:<8}  {count:>8}  {}", usage.name(), entry.path)
}
