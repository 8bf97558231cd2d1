//! Reads the directory of policies: all of it, or nothing.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use plimsoll_policy::{Diagnostic, Diagnostics, Limits, Policy};

/// Why no policy of a directory was taken.
#[derive(Debug, thiserror::Error)]
pub enum PoliciesError {
    #[error("cannot read `{path}`")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{}", Many(.0))]
    Wrong(Vec<Diagnostics>),
    #[error("{}", Many(.0))]
    Duplicate(Vec<Diagnostic>),
}

struct Many<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Many<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(index, one)| {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{one}")
        })
    }
}

/// Every policy of every `*.yaml` and `*.yml` file, in the order of the file names. Reports all problems of all files.
pub fn read(directory: &Path) -> Result<Vec<Policy>, PoliciesError> {
    let (mut policies, mut wrong) = (Vec::new(), Vec::new());
    for path in files(directory)? {
        let text = read_bounded(&path, Limits::default().max_bytes)?;
        match plimsoll_policy::parse_all(&path.display().to_string(), &text, &Limits::default()) {
            Ok(parsed) => policies.extend(parsed),
            Err(diagnostics) => wrong.push(diagnostics),
        }
    }
    if !wrong.is_empty() {
        return Err(PoliciesError::Wrong(wrong));
    }
    let duplicates = plimsoll_policy::duplicate_names(&policies);
    if duplicates.is_empty() { Ok(policies) } else { Err(PoliciesError::Duplicate(duplicates)) }
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, PoliciesError> {
    let failed = |source| PoliciesError::Read { path: directory.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// One byte more than allowed is read, so that the parser says that it is too large.
fn read_bounded(path: &Path, limit: usize) -> Result<Vec<u8>, PoliciesError> {
    let failed = |source| PoliciesError::Read { path: path.to_owned(), source };
    let mut text = Vec::new();
    File::open(path).map_err(failed)?.take(limit as u64 + 1).read_to_end(&mut text).map_err(failed)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "apiVersion: plimsoll.dev/v1alpha1\nkind: EnforcementPolicy\nmetadata:\n  name: NAME\n\
                        spec:\n  selector:\n    namespace: shop\n  mode: Enforce\n";

    fn directory(files: &[(&str, String)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    fn good(name: &str) -> String {
        GOOD.replace("NAME", name)
    }

    #[test]
    fn other_files_are_not_policies() {
        let directory = directory(&[("a.yaml", good("a")), ("b.yml", good("b")), ("notes.txt", "x".to_owned())]);
        let names: Vec<_> = read(directory.path()).unwrap().into_iter().map(|policy| policy.name).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn one_wrong_file_means_none_is_taken_and_all_problems_are_told() {
        let directory = directory(&[("a.yaml", good("a")), ("b.yaml", "kind: x".into()), ("c.yaml", "[".into())]);
        let message = read(directory.path()).unwrap_err().to_string();
        assert!(message.contains("b.yaml:") && message.contains("c.yaml:"), "{message}");
    }

    #[test]
    fn a_name_may_be_used_once() {
        let directory = directory(&[("a.yaml", good("same")), ("b.yaml", good("same"))]);
        assert!(matches!(read(directory.path()), Err(PoliciesError::Duplicate(_))));
    }
}
