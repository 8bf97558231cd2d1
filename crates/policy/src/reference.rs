//! Image references, and the patterns that select them.

use std::{cmp::Reverse, fmt};

use serde::Serialize;

/// A pattern of image references: `*` stands for any characters, `/` and `:` included; everything else for itself.
///
/// A pattern and a reference are completed alike before they are compared, as container tools do it: `nginx:1.27` is
/// `docker.io/library/nginx:1.27`, and a reference without a tag has the tag `latest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct ReferencePattern {
    written: String,
    #[serde(skip)]
    completed: String,
}

/// What keeps a text from being a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidReference {
    /// Empty, too long, or with characters no reference has.
    #[error("an image reference has up to {} letters, digits and any of `.-_/:*`", ReferencePattern::MAX_CHARS)]
    Spelling,
    /// `@sha256:...` in it.
    #[error("a digest in an image reference")]
    Digest,
    /// No tag and no wildcard at its end.
    #[error("the image reference has no tag")]
    NoTag,
}

impl ReferencePattern {
    /// Longest pattern, in characters; longer than any reference a registry takes.
    pub(crate) const MAX_CHARS: usize = 512;

    /// Reads a pattern.
    pub(crate) fn new(text: &str) -> Result<Self, InvalidReference> {
        if text.contains('@') {
            return Err(InvalidReference::Digest);
        }
        let spelled = text.chars().all(|c| c.is_ascii_alphanumeric() || ".-_/:*".contains(c));
        if text.is_empty() || text.len() > Self::MAX_CHARS || !spelled {
            return Err(InvalidReference::Spelling);
        }
        let last = text.rsplit('/').next().unwrap_or(text);
        if !last.contains(':') && !last.ends_with('*') {
            return Err(InvalidReference::NoTag);
        }
        Ok(Self { written: text.to_owned(), completed: with_registry(text) })
    }

    /// Whether `reference`, as the container runtime gives it, is meant. A digest at its end is not looked at.
    pub fn matches(&self, reference: &str) -> bool {
        let tagged = reference.split_once('@').map_or(reference, |(tagged, _)| tagged);
        let mut completed = with_registry(tagged);
        if !completed.rsplit('/').next().unwrap_or_default().contains(':') {
            completed.push_str(":latest");
        }
        matches_glob(self.completed.as_bytes(), completed.as_bytes())
    }

    /// Orders patterns from general to specific: by more literal characters, then by fewer wildcards. `None` if the
    /// pattern matches everything.
    pub(crate) fn specificity(&self) -> Option<(usize, Reverse<usize>)> {
        let wildcards = self.completed.bytes().filter(|byte| *byte == b'*').count();
        let literals = self.completed.len().saturating_sub(wildcards);
        (literals > 0).then_some((literals, Reverse(wildcards)))
    }
}

impl fmt::Display for ReferencePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// Puts Docker Hub's name before a reference that names no registry.
fn with_registry(reference: &str) -> String {
    match reference.split_once('/') {
        // A wildcard may stand for a registry's name.
        Some((first, _)) if first.contains(['.', ':', '*']) || first == "localhost" => reference.to_owned(),
        None if reference.starts_with('*') => reference.to_owned(),
        Some(_) => format!("docker.io/{reference}"),
        None => format!("docker.io/library/{reference}"),
    }
}

/// Compares by going back to the last `*` only, so the cost is at most the product of both lengths.
fn matches_glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut position) = (0_usize, 0_usize);
    let mut resume: Option<(usize, usize)> = None;
    while position < text.len() {
        let (expected, found) = (pattern.get(at), text.get(position));
        if expected == Some(&b'*') {
            resume = Some((at, position));
            at = at.saturating_add(1);
        } else if expected.is_some() && expected == found {
            at = at.saturating_add(1);
            position = position.saturating_add(1);
        } else if let Some((star, from)) = resume {
            let next = from.saturating_add(1);
            resume = Some((star, next));
            at = star.saturating_add(1);
            position = next;
        } else {
            return false;
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, reference: &str, expected: bool) {
        let pattern = ReferencePattern::new(pattern).unwrap();
        assert_eq!(pattern.matches(reference), expected, "{pattern} against {reference}");
    }

    #[test]
    fn patterns_match_completed_references() {
        check("nginx:1.27", "docker.io/library/nginx:1.27", true);
        check("nginx:*", "nginx", true);
        check("nginx:latest", "nginx", true);
        check("nginx:1.27", "nginx", false);
        check("team/app:*", "docker.io/team/app:2", true);
        check("registry.example/shop/*", "registry.example/shop/cart/api:3", true);
        check("registry.example/shop/*", "registry.example.evil/shop/cart:3", false);
        check("localhost/demo:*", "localhost/demo:1", true);
        check("localhost:5000/demo:*", "localhost:5000/demo", true);
        check("*/cart:*", "registry.example/shop/cart:3", true);
        check("*", "anything/at/all", true);
        check("registry.example/app:1", "registry.example/app:1@sha256:00", true);
        check("registry.example/app:1", "registry.example/app:11", false);
    }

    #[test]
    fn a_pattern_that_cannot_be_meant_is_refused() {
        assert_eq!(ReferencePattern::new("registry.example/app"), Err(InvalidReference::NoTag));
        assert_eq!(ReferencePattern::new("registry.example:5000/app"), Err(InvalidReference::NoTag));
        assert_eq!(ReferencePattern::new("app@sha256:00"), Err(InvalidReference::Digest));
        assert_eq!(ReferencePattern::new(""), Err(InvalidReference::Spelling));
        assert_eq!(ReferencePattern::new("app :1"), Err(InvalidReference::Spelling));
        assert_eq!(ReferencePattern::new(&"a*".repeat(257)), Err(InvalidReference::Spelling));
    }

    #[test]
    fn many_wildcards_stay_cheap() {
        let pattern = ReferencePattern::new(&format!("x/{}b:*", "a*".repeat(250))).unwrap();
        let started = std::time::Instant::now();
        assert!(!pattern.matches(&format!("docker.io/x/{}", "a".repeat(100_000))));
        assert!(started.elapsed() < std::time::Duration::from_secs(5));
    }
}
