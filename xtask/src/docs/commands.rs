//! Blocks of commands: how each is checked, and what its commands and their outputs are.

use anyhow::{Result, bail, ensure};

use super::document::Block;

/// Stands for any number of lines where it is a line of its own, for any characters of a line where it is in one.
const ANYTHING: &str = "...";

/// How a block of commands is checked. It is written behind the block's language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Check {
    /// `run`: here, in the document's scratch directory. Every command must succeed.
    Run,
    /// `guest`: as `run`, but in the checkout and only where that is asked for: it boots guests, or builds for minutes.
    Guest,
    /// `usage`: lines to choose from. Every command of ours must know its subcommands and options.
    Usage,
    /// `not-run` and why.
    NotRun(String),
}

/// One command and what it prints.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The line of the document.
    pub(super) line: usize,
    pub(super) command: String,
    /// What it prints on both of its outputs; nothing is known where the block shows commands alone.
    pub(super) output: Option<String>,
}

/// How `block` is checked; `None` where it holds no commands.
pub(super) fn check(block: &Block) -> Result<Option<Check>> {
    let mut words = block.info.split_whitespace();
    let language = words.next().unwrap_or_default();
    if !["sh", "bash", "shell", "console"].contains(&language) {
        return Ok(None);
    }
    let how = words.next().unwrap_or_default();
    let more = words.collect::<Vec<_>>().join(" ");
    ensure!(how == "not-run" || more.is_empty(), "`{more}` behind `{how}` means nothing");
    Ok(Some(match how {
        "run" => Check::Run,
        "guest" => Check::Guest,
        "usage" => Check::Usage,
        "not-run" if !more.is_empty() => Check::NotRun(more),
        "not-run" => bail!("`not-run` without a reason behind it"),
        _ => bail!(
            "nothing says how these commands are checked: write `run`, `guest`, `usage` or `not-run WHY` behind `{language}`"
        ),
    }))
}

/// The commands of `block`. In a `console` block they begin with `$ ` and are followed by what they print; else each line is one.
/// A line that ends with a backslash goes on in the next.
pub(super) fn steps(block: &Block) -> Result<Vec<Step>> {
    let console = block.info.starts_with("console");
    let mut steps: Vec<Step> = Vec::new();
    let mut open = false;
    for (line, text) in (block.line + 1..).zip(block.text.lines()) {
        let command = if console { text.strip_prefix("$ ") } else { Some(text) };
        match (steps.last_mut(), command) {
            (Some(step), _) if open => step.command = format!("{}\n{text}", step.command),
            (_, Some(command)) => {
                let output = console.then(String::new);
                steps.push(Step { line, command: command.to_owned(), output });
            }
            (Some(Step { output: Some(output), .. }), None) => {
                output.push_str(text);
                output.push('\n');
            }
            _ => bail!("line {line}: a `console` block begins with `$ ` and a command"),
        }
        open = text.ends_with('\\');
    }
    steps.retain(|step| !step.command.trim().is_empty());
    ensure!(!steps.is_empty(), "there is no command in the block");
    Ok(steps)
}

/// The commands of a line of usage that are `program`'s, without comments: `program a; program b  # both`.
pub(super) fn usages<'a>(command: &'a str, program: &str) -> Vec<&'a str> {
    let command = command.split_once(" #").map_or(command, |(command, _)| command);
    let commands = command.split([';', '|', '>']).flat_map(|command| command.split("&&")).map(str::trim);
    commands.filter(|command| command.split_whitespace().next() == Some(program)).collect()
}

/// Whether `actual` is what `expected` shows.
pub(super) fn agree(expected: &str, actual: &str) -> bool {
    let lines = |text: &str| text.trim_end().lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
    lines_agree(&lines(expected), &lines(actual))
}

fn lines_agree(expected: &[String], actual: &[String]) -> bool {
    match expected.split_first() {
        None => actual.is_empty(),
        Some((line, rest)) if line == ANYTHING => {
            (0..=actual.len()).filter_map(|skipped| actual.get(skipped..)).any(|actual| lines_agree(rest, actual))
        }
        Some((line, rest)) => {
            actual.split_first().is_some_and(|(first, actual)| line_agrees(line, first) && lines_agree(rest, actual))
        }
    }
}

/// Each part between wildcards is looked for as far left as it can be: what is to the right of it has the most room then.
fn line_agrees(expected: &str, actual: &str) -> bool {
    let Some((first, parts)) = expected.split_once(ANYTHING) else { return expected == actual };
    let Some(mut rest) = actual.strip_prefix(first) else { return false };
    let mut parts = parts.split(ANYTHING).peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(info: &str, text: &str) -> Block {
        Block { line: 10, info: info.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn every_block_of_commands_says_how_it_is_checked() {
        assert_eq!(check(&block("yaml", "")).unwrap(), None);
        assert_eq!(check(&block("sh run", "")).unwrap(), Some(Check::Run));
        assert_eq!(check(&block("console guest", "")).unwrap(), Some(Check::Guest));
        assert_eq!(check(&block("sh not-run a cluster", "")).unwrap(), Some(Check::NotRun("a cluster".to_owned())));
        for wrong in ["sh", "console", "sh later", "sh not-run", "sh run twice"] {
            assert!(check(&block(wrong, "")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_transcript_is_commands_and_their_outputs() {
        let steps = steps(&block("console run", "$ a \\\n  b\none\n\ntwo\n$ c\n")).unwrap();
        let step = |line, command: &str, output: &str| Step {
            line,
            command: command.to_owned(),
            output: Some(output.to_owned()),
        };
        assert_eq!(steps, [step(11, "a \\\n  b", "one\n\ntwo\n"), step(16, "c", "")]);
        assert!(super::steps(&block("console run", "one\n")).is_err());
        let plain = super::steps(&block("sh run", "a\n\nb  # why\n")).unwrap();
        assert_eq!(
            plain.iter().map(|step| (step.line, step.output.as_ref())).collect::<Vec<_>>(),
            [(11, None), (13, None)]
        );
    }

    #[test]
    fn wildcards_stand_for_lines_and_for_parts_of_a_line() {
        for (expected, actual) in [
            ("a\n", "a"),
            ("...", ""),
            ("a\n...\nd", "a\nb\nc\nd"),
            ("a\n...\nd", "a\nd"),
            ("took ... s", "took 1.5 s"),
            ("...b...b", "xbbyb"),
            ("a  \nb", "a\nb  \n"),
        ] {
            assert!(agree(expected, actual), "{expected:?} {actual:?}");
        }
        for (expected, actual) in
            [("a", "a\nb"), ("a\nb", "a"), ("took ... s", "took\n s"), ("a...a", "a"), ("", "a"), ("...b", "abc")]
        {
            assert!(!agree(expected, actual), "{expected:?} {actual:?}");
        }
    }

    #[test]
    fn usage_is_what_is_ours_without_comments() {
        assert_eq!(
            usages("plimsoll a; plimsoll b DIR  # not plimsoll c", "plimsoll"),
            ["plimsoll a", "plimsoll b DIR"]
        );
        assert_eq!(usages("openssl x && plimsoll a > file | cat", "plimsoll"), ["plimsoll a"]);
        assert!(usages("plimsoll-agent run", "plimsoll").is_empty());
    }
}
