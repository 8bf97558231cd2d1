//! Reads the directory of policies: all of it, or nothing.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use plimsoll_policy::{Authority, Diagnostic, Diagnostics, Limits, Policy};
use plimsoll_trust::{BundleError, MAX_DOCUMENT, Memory, MemoryError, PolicyBundle, Seen};

use crate::{
    config::{Config, PolicyBundles},
    workload::sources::{SourceError, keys_of},
};

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
    #[error("bundle `{path}` is refused")]
    Bundle {
        path: PathBuf,
        #[source]
        source: BundleError,
    },
    #[error("bundle `{path}` is refused")]
    Version {
        path: PathBuf,
        #[source]
        source: MemoryError,
    },
    #[error("`{0}` holds no `*.bundle.json`")]
    NoBundle(PathBuf),
    #[error("`{0}` holds no key `*.pub`, so no bundle can be checked")]
    NoKey(PathBuf),
    #[error(transparent)]
    Keys(#[from] SourceError),
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

/// The policies that `config` says are in force: plain files, or signed bundles.
pub fn load(config: &Config) -> Result<Vec<Policy>, PoliciesError> {
    match &config.policy_bundles {
        Some(bundles) => read_bundles(bundles, &config.state.join("bundle-versions.json"), Timestamp::now()),
        None => read(&config.policies),
    }
}

/// Every policy of every `*.bundle.json`, all or none. A bundle must be signed, not be older than one that was in force,
/// and not be over, unless it is the one in force: expiry keeps old bundles from coming, not the agent from starting.
fn read_bundles(bundles: &PolicyBundles, memory: &Path, now: Timestamp) -> Result<Vec<Policy>, PoliciesError> {
    let signers = keys_of(&bundles.keys)?;
    if signers.is_empty() {
        return Err(PoliciesError::NoKey(bundles.keys.clone()));
    }
    let paths = files(&bundles.directory, &[".bundle.json"])?;
    if paths.is_empty() {
        return Err(PoliciesError::NoBundle(bundles.directory.clone()));
    }
    let version = |path: &Path, source| PoliciesError::Version { path: path.to_owned(), source };
    let mut memory = Memory::open(memory).map_err(|source| version(memory, source))?;
    let (mut taken, mut texts) = (Vec::new(), Vec::new());
    for path in paths {
        let refused = |source| PoliciesError::Bundle { path: path.clone(), source };
        let (bundle, signer) = PolicyBundle::open(&read_bounded(&path, MAX_DOCUMENT)?, &signers).map_err(refused)?;
        let (name, digest) = (format!("policy bundle {}", bundle.name), bundle.digest().map_err(refused)?);
        let seen = memory.check(&name, bundle.version, digest).map_err(|source| version(&path, source))?;
        match (bundle.check_expiry(now), seen) {
            (Ok(()), _) => {}
            (Err(error), Seen::Same) => tracing::warn!(bundle = %path.display(), %error, "kept, since it is in force"),
            (Err(error), Seen::New) => return Err(refused(error)),
        }
        tracing::info!(bundle = %path.display(), version = bundle.version, %signer, "policies are signed");
        taken.push((path.clone(), name, bundle.version, digest));
        texts.extend(
            bundle
                .policies
                .into_iter()
                .map(|policy| (format!("{}:{}", path.display(), policy.file), policy.text.into_bytes())),
        );
    }
    let mut policies = parsed(texts)?;
    for policy in &mut policies {
        policy.authority = Authority::Bundle;
    }
    // Only what is right is in force, and counts from then on.
    for (path, name, number, digest) in taken {
        memory.accept(&name, number, digest).map_err(|source| version(&path, source))?;
    }
    Ok(policies)
}

/// Every policy of every `*.yaml` and `*.yml` file, in the order of the file names. Reports all problems of all files.
pub fn read(directory: &Path) -> Result<Vec<Policy>, PoliciesError> {
    let mut texts = Vec::new();
    for path in files(directory, &[".yaml", ".yml"])? {
        texts.push((path.display().to_string(), read_bounded(&path, Limits::default().max_bytes)?));
    }
    parsed(texts)
}

fn parsed(texts: Vec<(String, Vec<u8>)>) -> Result<Vec<Policy>, PoliciesError> {
    let (mut policies, mut wrong) = (Vec::new(), Vec::new());
    for (name, text) in texts {
        match plimsoll_policy::parse_all(&name, &text, &Limits::default()) {
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

/// Files whose names end so, in the order of their names.
fn files(directory: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, PoliciesError> {
    let failed = |source| PoliciesError::Read { path: directory.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.file_name().is_some_and(|name| is_one_of(&name.to_string_lossy(), endings)) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn is_one_of(name: &str, endings: &[&str]) -> bool {
    endings.iter().any(|ending| name.ends_with(ending))
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
    use plimsoll_trust::{BundledPolicy, SigningKey};

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

    const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
                       MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
                       -----END PRIVATE KEY-----\n";

    fn bundles(root: &Path, version: u64, text: &str) -> PolicyBundles {
        let key = SigningKey::from_pem(KEY.as_bytes()).unwrap();
        let bundles = PolicyBundles { directory: root.join("bundles"), keys: root.join("keys") };
        fs::create_dir_all(&bundles.directory).unwrap();
        fs::create_dir_all(&bundles.keys).unwrap();
        fs::write(bundles.keys.join("security.pub"), key.public().unwrap().to_pem()).unwrap();
        let bundle = PolicyBundle {
            name: "fleet".into(),
            version,
            expires: at("2030-01-01T00:00:00Z"),
            policies: vec![BundledPolicy { file: "a.yaml".into(), text: text.to_owned() }],
        };
        fs::write(bundles.directory.join("fleet.bundle.json"), bundle.sign(&key).unwrap()).unwrap();
        bundles
    }

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    #[test]
    fn signed_policies_come_in_ever_higher_versions() {
        let (root, now) = (tempfile::tempdir().unwrap(), at("2029-01-01T00:00:00Z"));
        let memory = root.path().join("state/versions.json");
        let take = |version, text: &str| read_bundles(&bundles(root.path(), version, text), &memory, now);
        let taken = take(2, &good("a")).unwrap();
        assert_eq!(taken.iter().map(|policy| policy.authority).collect::<Vec<_>>(), [Authority::Bundle]);
        assert!(matches!(
            take(1, &good("a")),
            Err(PoliciesError::Version { source: MemoryError::RolledBack { .. }, .. })
        ));
        assert!(matches!(
            take(2, &good("b")),
            Err(PoliciesError::Version { source: MemoryError::SameVersion { .. }, .. })
        ));
        assert!(matches!(take(3, "kind: x"), Err(PoliciesError::Wrong(_))));
        assert_eq!(take(3, &good("c")).unwrap().len(), 1, "a wrong version 3 was never in force");
    }

    #[test]
    fn expiry_keeps_old_bundles_from_coming_and_not_the_agent_from_starting() {
        let (root, late) = (tempfile::tempdir().unwrap(), at("2031-01-01T00:00:00Z"));
        let memory = root.path().join("versions.json");
        let bundles = bundles(root.path(), 1, &good("a"));
        assert!(matches!(
            read_bundles(&bundles, &memory, late),
            Err(PoliciesError::Bundle { source: BundleError::Expired { .. }, .. })
        ));
        read_bundles(&bundles, &memory, at("2029-01-01T00:00:00Z")).unwrap();
        read_bundles(&bundles, &memory, late).expect("it is in force");
    }

    #[test]
    fn an_unsigned_or_missing_bundle_means_no_policies_not_all_of_them() {
        let (root, now) = (tempfile::tempdir().unwrap(), at("2029-01-01T00:00:00Z"));
        let memory = root.path().join("versions.json");
        let bundles = bundles(root.path(), 1, &good("a"));
        let path = bundles.directory.join("fleet.bundle.json");
        let signed = fs::read_to_string(&path).unwrap();
        fs::write(&path, signed.replacen("\"sig\":\"", "\"sig\":\"AAAA", 1)).unwrap();
        assert!(matches!(read_bundles(&bundles, &memory, now), Err(PoliciesError::Bundle { .. })));
        fs::remove_file(&path).unwrap();
        assert!(matches!(read_bundles(&bundles, &memory, now), Err(PoliciesError::NoBundle(_))));
        fs::remove_file(bundles.keys.join("security.pub")).unwrap();
        assert!(matches!(read_bundles(&bundles, &memory, now), Err(PoliciesError::NoKey(_))));
    }
}
