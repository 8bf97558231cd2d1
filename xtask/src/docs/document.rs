//! What one Markdown file has that can be checked: headings, links, blocks of code.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// A Markdown file of the checkout.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// Relative to the checkout.
    pub(super) path: PathBuf,
    /// Fragments that lead somewhere in it, as GitHub makes them from headings.
    pub(super) anchors: BTreeSet<String>,
    pub(super) links: Vec<Link>,
    pub(super) blocks: Vec<Block>,
}

/// Where a link or an image leads.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) line: usize,
    pub(super) target: String,
}

/// A fenced block of code.
#[derive(Debug)]
pub(super) struct Block {
    /// The line of its fence, from 1.
    pub(super) line: usize,
    /// What is behind the fence: language, then how it is checked.
    pub(super) info: String,
    pub(super) text: String,
}

impl Document {
    /// Reads `path`, which is relative to `root`.
    pub(super) fn read(root: &Path, path: &Path) -> Result<Self> {
        let text = fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self::parse(path, &text))
    }

    pub(super) fn parse(path: &Path, text: &str) -> Self {
        let mut document = Self { path: path.to_owned(), ..Self::default() };
        let mut headings = Headings::default();
        let mut heading: Option<String> = None;
        let mut fenced = false;
        for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            let line = text.get(..range.start).map_or(0, |before| before.matches('\n').count()) + 1;
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    document.anchors.extend(heading.take().map(|title| headings.anchor(&title)));
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    document.links.push(Link { line, target: dest_url.into_string() });
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                    fenced = true;
                    document.blocks.push(Block { line, info: info.into_string(), text: String::new() });
                }
                Event::End(TagEnd::CodeBlock) => fenced = false,
                Event::Text(part) | Event::Code(part) => {
                    if let Some(title) = &mut heading {
                        title.push_str(&part);
                    } else if fenced && let Some(block) = document.blocks.last_mut() {
                        block.text.push_str(&part);
                    }
                }
                _ => {}
            }
        }
        document
    }
}

/// Anchors of the headings so far: a title that comes again gets a number.
#[derive(Debug, Default)]
struct Headings(BTreeMap<String, usize>);

impl Headings {
    fn anchor(&mut self, title: &str) -> String {
        let kept = title.chars().filter(|character| character.is_alphanumeric() || " -_".contains(*character));
        let anchor = kept.collect::<String>().to_lowercase().replace(' ', "-");
        let times = self.0.entry(anchor.clone()).or_default();
        *times += 1;
        if *times == 1 { anchor } else { format!("{anchor}-{}", *times - 1) }
    }
}

/// All Markdown files in `places`, relative to `root`, each a file or a folder with everything below it.
pub(super) fn find(root: &Path, places: &[&str]) -> Result<Vec<Document>> {
    let mut paths = BTreeSet::new();
    for place in places {
        collect(root, Path::new(place), &mut paths)?;
    }
    paths.iter().map(|path| Document::read(root, path)).collect()
}

fn collect(root: &Path, path: &Path, found: &mut BTreeSet<PathBuf>) -> Result<()> {
    let full = root.join(path);
    if !full.is_dir() {
        if path.extension().is_some_and(|extension| extension == "md") {
            found.insert(path.to_owned());
        }
        return Ok(());
    }
    for entry in fs::read_dir(&full).with_context(|| format!("cannot read {}", path.display()))? {
        collect(root, &path.join(entry?.file_name()), found)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_links_and_blocks_are_found_with_their_lines() {
        let text = "# A `b`, c!\n\n[x](y.md#z)\n\n## Twice\n\n## Twice\n\n```sh run\ncd\nls\n```\n\n    [no](link)\n";
        let document = Document::parse(Path::new("a.md"), text);
        assert_eq!(document.anchors, ["a-b-c", "twice", "twice-1"].map(str::to_owned).into());
        assert_eq!(document.links.len(), 1);
        assert_eq!((document.links[0].line, document.links[0].target.as_str()), (3, "y.md#z"));
        assert_eq!(document.blocks.len(), 1);
        assert_eq!((document.blocks[0].line, document.blocks[0].info.as_str()), (9, "sh run"));
        assert_eq!(document.blocks[0].text, "cd\nls\n");
    }
}
