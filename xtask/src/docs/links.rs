//! Links inside the checkout: the file is there, and so is the heading.

use std::path::{Component, Path, PathBuf};

use super::document::Document;

/// What is wrong with the links of `documents`, a line for each; `root` is the checkout.
pub(super) fn problems(root: &Path, documents: &[Document]) -> Vec<String> {
    let mut problems = Vec::new();
    for document in documents {
        for link in &document.links {
            if let Err(problem) = follow(root, documents, document, &link.target) {
                let path = document.path.display();
                problems.push(format!("{path}:{}: the link to `{}` leads nowhere: {problem}", link.line, link.target));
            }
        }
    }
    problems
}

/// How many links stay inside the checkout.
pub(super) fn count(documents: &[Document]) -> usize {
    documents.iter().flat_map(|document| &document.links).filter(|link| !is_elsewhere(&link.target)).count()
}

fn is_elsewhere(target: &str) -> bool {
    ["https://", "http://", "mailto:"].iter().any(|scheme| target.starts_with(scheme))
}

fn follow(root: &Path, documents: &[Document], from: &Document, target: &str) -> Result<(), String> {
    if is_elsewhere(target) {
        return Ok(());
    }
    let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() {
        from.path.clone()
    } else {
        let folder = from.path.parent().unwrap_or(Path::new(""));
        resolve(&folder.join(path)).ok_or("it leaves the checkout")?
    };
    if !root.join(&path).exists() {
        return Err(format!("there is no {}", path.display()));
    }
    if fragment.is_empty() {
        return Ok(());
    }
    let document = documents.iter().find(|document| document.path == path);
    let document = document.ok_or_else(|| format!("{} has no headings that are known", path.display()))?;
    if document.anchors.contains(fragment) {
        return Ok(());
    }
    let known: Vec<_> = document.anchors.iter().map(String::as_str).collect();
    Err(format!("{} has no heading `{fragment}`, but {}", path.display(), known.join(", ")))
}

/// Without `.` and `..`; nothing where it leaves the folder that it is relative to.
fn resolve(path: &Path) -> Option<PathBuf> {
    let mut resolved = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => resolved.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !resolved.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_leads_nowhere_is_named_with_its_line() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("docs")).unwrap();
        std::fs::write(root.path().join("docs/data.json"), "{}").unwrap();
        let good = "# Here\n[a](../README.md#top) [b](#here) [c](data.json) [d](https://example.com/x) [e](.)\n";
        let bad = "# Top\n\n[a](docs/absent.md)\n[b](docs/a.md#there)\n[c](../outside)\n[d](docs/data.json#x)\n";
        let documents = [Document::parse(Path::new("docs/a.md"), good), Document::parse(Path::new("README.md"), bad)];
        for document in &documents {
            std::fs::write(root.path().join(&document.path), "").unwrap();
        }
        let problems = problems(root.path(), &documents);
        let lines: Vec<_> = problems.iter().filter_map(|problem| problem.get(..12)).collect();
        assert_eq!(lines, ["README.md:3:", "README.md:4:", "README.md:5:", "README.md:6:"], "{problems:#?}");
        assert!(problems[1].contains("has no heading `there`, but here"), "{problems:#?}");
        assert_eq!(count(&documents), 8);
    }
}
